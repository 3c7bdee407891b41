"""Builds of subjects: each within its ranges, and lean limbs without fat between their muscles."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage

from musclesense.phantom.anatomy.builds import BUILDS, sample_build, vary_muscles
from musclesense.phantom.anatomy.limbs import Body, Packing, sample_limbs, sample_poses
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.slices import PlacedLimb, draw_slice, every_muscle
from musclesense.vocabulary import Region


def test_shares_are_all_subjects() -> None:
    assert sum(build.share for build in BUILDS.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", BUILDS)
def test_what_is_drawn_lies_in_its_range(name: str) -> None:
    for number in range(20):
        rng = np.random.default_rng(number)
        drawn, build = sample_build(rng, Body.sample(rng), name), BUILDS[name]
        for fields, ranges in ((asdict(drawn.body), build.body), (asdict(drawn.packing), build.packing)):
            assert all(low <= fields[key] <= high for key, (low, high) in ranges.items())
        assert set(build.packing) == set(asdict(drawn.packing))
        assert (drawn.body.age < 18) == (build.children is not None)


def widest_fat_mm(packing: Packing, region: Region, **body: float) -> float:
    """The radius of the largest disc of fat between muscles at mid-level, over some healthy subjects."""
    radii = []
    for number in range(3):
        rng = np.random.default_rng(number)
        limbs = sample_limbs(rng, replace(Body.sample(rng), **body), region)  # type: ignore[arg-type]
        limb = replace(limbs[0], packing=packing, calibre=0.7)
        state = sample_infiltration(rng, PATTERNS["control"], 0.0, region, 30.0)[0]
        pose = replace(sample_poses(rng, limbs)[0], centre_mm=(0.0, 0.0), contact_mm=None)
        stack = Stack(rows=140, columns=140, voxel_mm=1.25, slices=1, slice_mm=3.0, points=1)
        drawing = draw_slice(stack, [PlacedLimb(limb, pose, state)], 0.0)
        between = np.isin(drawing.tissue[0], (Tissue.INTERMUSCULAR_FAT, Tissue.BLOOD, Tissue.NERVE))
        between &= every_muscle(drawing.compartment[0], 1.25) == 0
        radii.append(1.25 * ndimage.distance_transform_edt(between).max())
    return float(np.mean(radii))


def test_bundles_in_lean_calves_are_a_few_millimetres_wide() -> None:
    """Around and medial of the fibula, where the cohorts have a fatty bundle."""
    lean = Packing(slack=8, corner=0.7, sleeve=0.3, fascia=0.3, skin=1.2, least_fat=1.0)
    tight = widest_fat_mm(lean, Region.CALF, septum_mm=0.05, adiposity=0.3)
    assert tight < 2.5
    assert widest_fat_mm(Packing(), Region.CALF, septum_mm=0.4, adiposity=1.0) > 1.3 * tight


@pytest.mark.parametrize("region", Region)
def test_muscles_differ_more_than_in_the_cohorts_and_alike_on_both_sides(region: Region) -> None:
    usual, varied, sides = [], [], []
    for number in range(60):
        rng = np.random.default_rng(number)
        limbs = sample_limbs(rng, Body.sample(rng), region)
        right, left = vary_muscles(np.random.default_rng(number), limbs)
        usual.append(limbs[0].growth_mm)
        varied.append(right.growth_mm)
        sides.append(np.corrcoef(right.growth_mm, left.growth_mm)[0, 1])
        assert right.growth_mm.dtype == np.float32 and right.septa is limbs[0].septa
    assert (np.std(varied, axis=0) > 1.5 * np.std(usual, axis=0)).all()
    assert np.min(varied) >= -2 and np.max(varied) > 10
    assert np.mean(sides) > 0.8


def test_no_muscle_of_the_thigh_gives_way_to_its_neighbours_in_most_limbs() -> None:
    shares = []
    for number in range(12):
        rng = np.random.default_rng(number)
        body = Body.sample(rng)
        right, left = vary_muscles(rng, sample_limbs(rng, body, Region.THIGH))
        state, _ = sample_infiltration(rng, PATTERNS["control"], 0.0, Region.THIGH, 40.0)
        pose = replace(sample_poses(rng, (right, left))[0], centre_mm=(0.0, 0.0), contact_mm=None)
        stack = Stack(rows=100, columns=100, voxel_mm=2.0, slices=1, points=1)
        drawn = draw_slice(stack, [PlacedLimb(right, pose, state)], 0.0).compartment
        shares.append(np.bincount(drawn.ravel(), minlength=13)[1:13])
    assert (np.mean(np.array(shares) > 10, axis=0) > 0.8).all()
    parts = np.array(shares) / np.sum(shares, axis=1, keepdims=True)
    assert 0.015 < np.median(parts[:, 5]) < 0.05, "gracilis"
