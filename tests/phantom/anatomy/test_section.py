"""Cross-sections of limbs: what is there, where, how large, and how it changes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.phantom.anatomy.limbs import (
    Body,
    LimbAnatomy,
    Pose,
    drawn_range_mm,
    reach_mm,
    sample_limbs,
    sample_poses,
)
from musclesense.phantom.anatomy.section import Section, Tissue, draw_section
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.vocabulary import Region, Side

UPRIGHT = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.0, level_mm=0.0)
STEP_MM = 1.0
# The others are of joints, hips and findings.
OF_ANY_LIMB = {int(tissue) for tissue in Tissue if tissue <= Tissue.NERVE}


def level_range_mm(limb: LimbAnatomy) -> tuple[float, float]:
    """The lowest and the highest level of the region without joints."""
    return -limb.length_mm / 2, limb.length_mm / 2


def limbs_of(region: Region, seed: int = 0) -> tuple[LimbAnatomy, LimbAnatomy]:
    rng = np.random.default_rng(seed)
    return sample_limbs(rng, Body.sample(rng), region)


def draw(limb: LimbAnatomy, pose: Pose = UPRIGHT, offset_mm: float = 0.0, atrophy_mm: float = 0.0) -> Section:
    axis = np.arange(-120, 120, STEP_MM, dtype=np.float32)
    atrophy = np.full(limb.growth_mm.shape, atrophy_mm, np.float32)
    return draw_section(limb, pose, offset_mm, *np.meshgrid(axis, axis), atrophy)


def centre(section: Section, limb: LimbAnatomy, muscle: str) -> tuple[float, float]:
    value = list(TEMPLATES[limb.region].muscles).index(muscle) + 1
    y, x = np.nonzero(section.muscle == value)
    return float(x.mean()), float(y.mean())


def areas(section: Section, limb: LimbAnatomy) -> dict[str, float]:
    """Area of each muscle in square cm."""
    counts = np.bincount(section.muscle.ravel(), minlength=len(TEMPLATES[limb.region].muscles) + 1)
    return dict(zip(TEMPLATES[limb.region].muscles, counts[1:] * STEP_MM**2 / 100, strict=True))


@pytest.mark.parametrize("region", Region)
@pytest.mark.parametrize("seed", range(4))
def test_every_muscle_bone_and_layer_is_there(region: Region, seed: int) -> None:
    limb = limbs_of(region, seed)[0]
    sections = [draw(limb, offset_mm=float(level)) for level in np.linspace(*level_range_mm(limb), 9)]
    assert {int(tissue) for section in sections for tissue in np.unique(section.tissue)} == OF_ANY_LIMB
    there = {int(value) for section in sections for value in np.unique(section.muscle)}
    assert there == set(range(len(TEMPLATES[region].muscles) + 1))
    for section in sections:
        # Thin sheets within a muscle belong to it, and are few.
        inside = section.muscle > 0
        assert set(np.unique(section.tissue[inside])) <= {Tissue.MUSCLE, Tissue.FASCIA, Tissue.CONNECTIVE}
        assert (section.tissue[inside] == Tissue.MUSCLE).mean() > 0.85
        assert not (section.tissue[~inside] == Tissue.MUSCLE).any()
        assert np.array_equal(section.depth_mm > 0, inside)


@given(seed=st.integers(0, 999), region=st.sampled_from(Region), share=st.floats(-0.1, 1.1))
@settings(max_examples=15, deadline=None)
def test_any_level_of_anyone_is_a_limb(seed: int, region: Region, share: float) -> None:
    limbs = limbs_of(region, seed)
    low, high = drawn_range_mm(limbs[0])
    level = low + share * (high - low)
    pose = replace(sample_poses(np.random.default_rng(seed), limbs, level)[0], centre_mm=(0.0, 0.0), contact_mm=None)
    section = draw(limbs[0], pose)
    again = draw(limbs_of(region, seed)[0], pose)
    assert np.array_equal(section.tissue, again.tissue)
    counts = np.bincount(section.tissue.ravel(), minlength=len(Tissue))
    for tissue in (Tissue.SKIN, Tissue.SUBCUTANEOUS_FAT, Tissue.MUSCLE, Tissue.CORTEX, Tissue.MARROW, Tissue.BLOOD):
        assert counts[tissue] > 0, tissue.name
    assert np.isfinite(section.density).all() and section.density.min() > 0.5


def test_bellies_swell_and_taper_along_the_thigh() -> None:
    limb = limbs_of(Region.THIGH)[0]
    low, high = level_range_mm(limb)
    knee, mid, hip = (areas(draw(limb, offset_mm=level), limb) for level in (low, 0.0, high))
    assert knee["rectus_femoris"] == 0 and mid["rectus_femoris"] > hip["rectus_femoris"] > 0
    assert knee["vastus_medialis"] > 0.7 * mid["vastus_medialis"] > hip["vastus_medialis"] == 0
    assert knee["vastus_medialis"] > 2 * knee["vastus_lateralis"]
    assert knee["vastus_lateralis"] < 0.5 * mid["vastus_lateralis"]
    assert knee["semimembranosus"] > 1.5 * mid["semimembranosus"]
    assert knee["adductor_magnus"] == 0 and hip["adductor_magnus"] > 5
    assert knee["gluteus_maximus"] == mid["gluteus_maximus"] == 0 and hip["gluteus_maximus"] > 10
    assert mid["iliopsoas"] == 0 and hip["iliopsoas"] > 2


def test_the_femur_widens_and_its_cortex_thins_towards_the_knee() -> None:
    limb = limbs_of(Region.THIGH)[0]
    marrow, cortex = (
        [(draw(limb, offset_mm=level).tissue == tissue).sum() for level in (level_range_mm(limb)[0], 0.0)]
        for tissue in (Tissue.MARROW, Tissue.CORTEX)
    )
    assert marrow[0] > 2.5 * marrow[1]
    assert cortex[0] / marrow[0] < 0.7 * cortex[1] / marrow[1]


def test_left_limb_mirrors_right() -> None:
    right, left = limbs_of(Region.THIGH)
    assert (right.side, left.side) == (Side.RIGHT, Side.LEFT)
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
    low, high = {Region.THIGH: (55, 190), Region.CALF: (28, 90)}[region]
    for seed in range(4):
        section = draw(limbs_of(region, seed)[0])
        assert low < (section.muscle > 0).sum() * STEP_MM**2 / 100 < high, "muscle in square cm"


def test_atrophy_leaves_fat_within_the_fascia() -> None:
    limb = limbs_of(Region.THIGH)[0]
    healthy, wasted = draw(limb), draw(limb, atrophy_mm=3.0)
    assert (wasted.muscle > 0).sum() < 0.85 * (healthy.muscle > 0).sum()
    lost = (healthy.muscle > 0) & (wasted.muscle == 0)
    assert (wasted.tissue[lost] == Tissue.INTERMUSCULAR_FAT).all()


@pytest.mark.parametrize("region", Region)
def test_neighbouring_levels_resemble_each_other(region: Region) -> None:
    limb = limbs_of(region)[0]
    for level in np.linspace(*level_range_mm(limb), 8)[:-1].tolist():
        here, near, far = (draw(limb, offset_mm=level + step) for step in (0.0, 2.0, 30.0))
        same_near, same_far = ((here.muscle == other.muscle).mean() for other in (near, far))
        assert 0.96 < same_near <= 1, level
        assert same_far < same_near
        # A slice of 10 mm further shows the same muscles, a little larger or smaller.
        first, second = areas(here, limb), areas(draw(limb, offset_mm=level + 10), limb)
        assert all(abs(first[name] - second[name]) < 2.5 + 0.35 * first[name] for name in first), level


@pytest.mark.parametrize("region", Region)
def test_wider_vessels_hold_more_blood_and_nothing_else_grows(region: Region) -> None:
    limb = limbs_of(region)[0]
    usual, wide = (draw(replace(limb, calibre=calibre)).tissue for calibre in (1.0, 1.6))
    assert (wide == Tissue.BLOOD).sum() > 1.7 * (usual == Tissue.BLOOD).sum()
    assert (wide == Tissue.NERVE).sum() <= (usual == Tissue.NERVE).sum()
    assert (wide == Tissue.MARROW).sum() == (usual == Tissue.MARROW).sum()


def test_women_have_more_fat_and_less_muscle() -> None:
    sexes: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for seed in range(24):
        body = Body.sample(np.random.default_rng(seed))
        assert 20 <= body.age <= 80
        sexes[body.female].append((body.muscularity * body.size**2, body.adiposity))
    women, men = np.mean(sexes[True], axis=0), np.mean(sexes[False], axis=0)
    assert women[0] < men[0] and women[1] > men[1]


def test_the_table_flattens_the_back() -> None:
    limb = limbs_of(Region.THIGH)[0]
    free, pressed = (draw(limb, replace(UPRIGHT, flattening=value)).tissue > 0 for value in (0.0, 0.9))
    backs = [np.nonzero(shown.any(axis=1))[0][-1] for shown in (free, pressed)]
    assert backs[1] < backs[0] - 10

    def breadth(shown: np.ndarray, back: int) -> int:
        return int(shown[back - 5].sum())

    assert breadth(pressed, backs[1]) > 1.2 * breadth(free, backs[0])


def test_touching_limbs_do_not_pass_through_each_other() -> None:
    limb = limbs_of(Region.THIGH)[0]
    wall = 0.8 * limb.radius_mm[0]
    axis = np.arange(-120, 120, STEP_MM)
    tissue = draw(limb, replace(UPRIGHT, contact_mm=wall)).tissue
    assert not tissue[:, axis > wall].any()
    assert (tissue[:, (axis > wall - 4) & (axis < wall - 1)] > 0).any(axis=1).sum() > 30


def test_nothing_but_air_beyond_the_reach() -> None:
    for region in Region:
        for limb, pose in zip(limbs_of(region), sample_poses(np.random.default_rng(0), limbs_of(region)), strict=True):
            angles = np.linspace(0, 2 * np.pi, 360, dtype=np.float32)
            for level in np.linspace(*drawn_range_mm(limb), 7).tolist():
                turned = replace(pose, centre_mm=(0.0, 0.0), contact_mm=None, level_mm=level)
                reach = reach_mm(limb, level)
                x, y = (np.asarray(reach * turn(angles), np.float32) for turn in (np.cos, np.sin))
                section = draw_section(limb, turned, 0.0, x, y, np.zeros(limb.growth_mm.shape, np.float32))
                assert (section.tissue == Tissue.AIR).all(), level


def test_limbs_lie_right_and_left_without_overlap() -> None:
    for seed in range(5):
        limbs = limbs_of(Region.THIGH, seed)
        right, left = sample_poses(np.random.default_rng(seed), limbs)
        assert left.centre_mm[0] - right.centre_mm[0] > limbs[0].radius_mm[0] + limbs[1].radius_mm[0]
