"""Limbs to their joints, pelves of two halves, and limbs of which one is unlike the other."""

import numpy as np
import pytest

from musclesense.phantom.anatomy import ends
from musclesense.phantom.anatomy.limbs import Body, LimbAnatomy, drawn_range_mm, sample_limbs, sample_poses
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.anatomy.templates import TEMPLATES, every_value
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import Infiltration, sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.slices import PlacedLimb, draw_slice, every_muscle
from musclesense.vocabulary import Region, Side

STACK = Stack(rows=110, columns=190, voxel_mm=2.5, slices=1, slice_mm=3.0, points=1)


def limbs_of(seed: int, region: Region = Region.THIGH) -> tuple[LimbAnatomy, LimbAnatomy]:
    rng = np.random.default_rng(seed)
    right, left = sample_limbs(rng, Body.sample(rng), region)
    return ends.to_the_joints(right), ends.to_the_joints(left)


def draw(limbs: list[PlacedLimb]) -> Drawing:
    return draw_slice(STACK, limbs, 0.0)


def healthy(region: Region) -> list[Infiltration]:
    states = sample_infiltration(np.random.default_rng(0), PATTERNS["control"], 0.0, region)
    return [state.of_every(region) for state in states]


@pytest.mark.parametrize("seed", range(4))
def test_a_pelvis_is_one_body_with_muscles_of_both_sides(seed: int) -> None:
    halves = ends.sample_pelvis(np.random.default_rng(seed), limbs_of(seed))
    placed = [PlacedLimb(*half, state) for half, state in zip(halves, healthy(Region.THIGH), strict=True)]
    drawing = draw(placed)
    tissue, compartment = drawing.tissue[0], drawing.compartment[0]
    x = (np.arange(STACK.columns) - (STACK.columns - 1) / 2) * STACK.voxel_mm
    middle = placed[0].pose.contact_mm
    assert middle is not None
    assert not (compartment[:, x > middle][compartment[:, x > middle] > 0] < 100).any()
    assert not (compartment[:, x < middle][compartment[:, x < middle] > 0] > 100).any()
    column = tissue[:, np.abs(x - middle).argmin()]  # no air, nor skin, within the body's midline
    inside = column[np.flatnonzero(column)[0] + 6 : np.flatnonzero(column)[-1] - 5]
    assert not np.isin(inside, (Tissue.AIR, Tissue.SKIN)).any()
    names = dict(zip(every_value(Region.THIGH, Side.RIGHT), TEMPLATES[Region.THIGH].every, strict=True))
    there = {names[value] for value in np.unique(compartment) if value in names}
    assert {"gluteus_maximus", "iliopsoas", "sartorius"} <= there
    kinds = every_muscle(compartment, STACK.voxel_mm)
    assert (kinds[np.isin(compartment, every_value(Region.THIGH, Side.LEFT)[12:])] == 2).mean() > 0.9


@pytest.mark.parametrize("level", [-0.16, -0.1, -0.04])
def test_the_knee_of_a_thigh_holds_heads_of_gastrocnemius_as_muscle(level: float) -> None:
    right, left = (ends.at_joint(limb) for limb in limbs_of(1))
    limbs = right, left
    poses = sample_poses(np.random.default_rng(0), limbs, (level - 0.5) * right.length_mm)
    drawing = draw([PlacedLimb(*limb) for limb in zip(limbs, poses, healthy(Region.THIGH), strict=True)])
    heads = np.isin(drawing.compartment[0], (48, 49, 148, 149))
    assert heads.any()
    assert (every_muscle(drawing.compartment[0], STACK.voxel_mm)[heads] == 1).all()


def test_limbs_reach_the_joints_and_usual_ones_end_as_before() -> None:
    rng = np.random.default_rng(0)
    usual, _ = sample_limbs(rng, Body.sample(rng), Region.THIGH)
    far = ends.to_the_joints(usual)
    assert drawn_range_mm(usual) == (-0.5 * usual.length_mm, 0.5 * usual.length_mm)
    assert drawn_range_mm(far)[0] < drawn_range_mm(usual)[0]
    assert len(far.growth_mm) == len(TEMPLATES[Region.THIGH].every) > len(usual.growth_mm)
    calf = sample_limbs(rng, Body.sample(rng), Region.CALF)[0]
    assert drawn_range_mm(ends.to_the_joints(calf)) == drawn_range_mm(calf)


def test_of_unlike_limbs_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "UNLIKE", 1.0)
    changed = set()
    for seed in range(8):
        before = limbs_of(seed)
        after = ends.sample_unlike(np.random.default_rng(seed), before)
        assert [limb.side for limb in after] == [Side.RIGHT, Side.LEFT]
        other = [number for number in range(2) if before[number] is not after[number]]
        assert len(other) == 1
        assert after[other[0]].radius_mm != before[other[0]].radius_mm
        changed.add(other[0])
    assert changed == {0, 1}
    monkeypatch.setattr(ends, "UNLIKE", 0.0)
    assert ends.sample_unlike(np.random.default_rng(0), before) is before
