"""Builds of subjects: each within its ranges, and lean limbs without fat between their muscles."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage

from musclesense.phantom.anatomy.builds import BUILDS, sample_build
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
