"""Cross-sections of limbs: what is there, where, how large, and how it changes."""

import numpy as np
import pytest

from musclesense.cohort.table import Limbs, Region
from musclesense.phantom.anatomy import (
    Body,
    Limb,
    Pose,
    Section,
    Tissue,
    draw_section,
    reach_mm,
    sample_limbs,
    sample_poses,
)
from musclesense.phantom.templates import TEMPLATES

UPRIGHT = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.0, level_mm=0.0)
STEP_MM = 1.0


def limbs_of(region: Region, seed: int = 0) -> tuple[Limb, Limb]:
    rng = np.random.default_rng(seed)
    return sample_limbs(rng, Body.sample(rng), region)


def draw(limb: Limb, pose: Pose = UPRIGHT, offset_mm: float = 0.0, atrophy_mm: float = 0.0) -> Section:
    axis = np.arange(-120, 120, STEP_MM, dtype=np.float32)
    atrophy = np.full(limb.growth_mm.shape, atrophy_mm, np.float32)
    return draw_section(limb, pose, offset_mm, *np.meshgrid(axis, axis), atrophy)


def centre(section: Section, limb: Limb, muscle: str) -> tuple[float, float]:
    value = list(TEMPLATES[limb.region].muscles).index(muscle) + 1
    y, x = np.nonzero(section.muscle == value)
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("region", Region)
@pytest.mark.parametrize("seed", range(4))
def test_every_muscle_bone_and_layer_is_there(region: Region, seed: int) -> None:
    section = draw(limbs_of(region, seed)[0])
    assert set(np.unique(section.tissue)) == {int(tissue) for tissue in Tissue}
    assert set(np.unique(section.muscle)) == set(range(len(TEMPLATES[region].muscles) + 1))
    assert np.array_equal(section.muscle > 0, section.tissue == Tissue.MUSCLE)


def test_left_limb_mirrors_right() -> None:
    right, left = limbs_of(Region.THIGH)
    assert (right.side, left.side) == (Limbs.RIGHT, Limbs.LEFT)
    # Columns run from the subject's right to the left: lateral is low in the right limb and high in the left one.
    for limb, sign in ((right, 1), (left, -1)):
        section = draw(limb)
        lateral, medial = centre(section, limb, "vastus_lateralis"), centre(section, limb, "gracilis")
        assert sign * (medial[0] - lateral[0]) > 40


def test_muscles_lie_where_an_anatomist_expects_them() -> None:
    thigh, calf = limbs_of(Region.THIGH)[0], limbs_of(Region.CALF)[0]
    section = draw(thigh)
    assert centre(section, thigh, "rectus_femoris")[1] < centre(section, thigh, "vastus_intermedius")[1]
    assert centre(section, thigh, "adductor_magnus")[1] < centre(section, thigh, "semitendinosus")[1]
    assert centre(section, thigh, "biceps_femoris_long_head")[0] < centre(section, thigh, "semimembranosus")[0]
    section = draw(calf)
    assert centre(section, calf, "tibialis_anterior")[1] < centre(section, calf, "soleus")[1]
    assert centre(section, calf, "soleus")[1] < centre(section, calf, "gastrocnemius_medial")[1]
    assert centre(section, calf, "gastrocnemius_lateral")[0] < centre(section, calf, "gastrocnemius_medial")[0]


@pytest.mark.parametrize("region", Region)
def test_sizes_are_those_of_adults(region: Region) -> None:
    low, high = {Region.THIGH: (70, 190), Region.CALF: (35, 90)}[region]
    for seed in range(4):
        section = draw(limbs_of(region, seed)[0])
        assert low < (section.muscle > 0).sum() * STEP_MM**2 / 100 < high, "muscle in square cm"


def test_atrophy_leaves_fat_within_the_fascia() -> None:
    limb = limbs_of(Region.THIGH)[0]
    healthy, wasted = draw(limb), draw(limb, atrophy_mm=3.0)
    assert (wasted.muscle > 0).sum() < 0.85 * (healthy.muscle > 0).sum()
    lost = (healthy.muscle > 0) & (wasted.muscle == 0)
    assert (wasted.tissue[lost] == Tissue.INTERMUSCULAR_FAT).all()


def test_neighbouring_levels_resemble_each_other() -> None:
    limb = limbs_of(Region.CALF)[0]
    here, near, far = draw(limb), draw(limb, offset_mm=2.0), draw(limb, offset_mm=40.0)
    same_near, same_far = ((here.muscle == other.muscle).mean() for other in (near, far))
    assert 0.97 < same_near < 1
    assert same_far < same_near


def test_nothing_but_air_beyond_the_reach() -> None:
    for region in Region:
        for limb, pose in zip(limbs_of(region), sample_poses(np.random.default_rng(0), limbs_of(region)), strict=True):
            turned = Pose(centre_mm=(0.0, 0.0), rotation=pose.rotation, flattening=pose.flattening, level_mm=20.0)
            angles = np.linspace(0, 2 * np.pi, 360, dtype=np.float32)
            x, y = reach_mm(limb) * np.cos(angles), reach_mm(limb) * np.sin(angles)
            section = draw_section(limb, turned, 0.0, x, y, np.zeros(limb.growth_mm.shape, np.float32))
            assert (section.tissue == Tissue.AIR).all()


def test_limbs_lie_right_and_left_without_overlap() -> None:
    for seed in range(5):
        limbs = limbs_of(Region.THIGH, seed)
        right, left = sample_poses(np.random.default_rng(seed), limbs)
        assert left.centre_mm[0] - right.centre_mm[0] > limbs[0].radius_mm[0] + limbs[1].radius_mm[0]
