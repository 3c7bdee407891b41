"""Patterns of disease: which muscles, how much fat, how it looks and proceeds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.phantom.anatomy.limbs import Body, LimbAnatomy, Pose, sample_limbs
from musclesense.phantom.anatomy.section import Section, draw_section
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.disease.infiltration import (
    END_STAGE,
    MOST_FAT,
    Infiltration,
    infiltrate,
    oedema,
    sample_infiltration,
)
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Region


def limb_of(region: Region) -> LimbAnatomy:
    rng = np.random.default_rng(3)
    return sample_limbs(rng, Body.sample(rng), region)[0]


LIMBS = {region: limb_of(region) for region in Region}


def section_of(region: Region, atrophy_mm: Floats | None = None, level_mm: float = 0.0) -> Section:
    limb = LIMBS[region]
    axis = np.arange(-90, 90, 1.5, dtype=np.float32)
    pose = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.0, level_mm=level_mm)
    shrunk = np.zeros(limb.growth_mm.shape, np.float32) if atrophy_mm is None else atrophy_mm
    return draw_section(limb, pose, 0.0, *np.meshgrid(axis, axis), shrunk)


SECTIONS = {region: section_of(region) for region in Region}


def muscles_of(group: str, severity: float, region: Region, seed: int = 0, age: float = 50.0) -> Infiltration:
    return sample_infiltration(np.random.default_rng(seed), PATTERNS[group], severity, region, age)[0]


def mean_fat(group: str, region: Region, muscle: str) -> float:
    index = list(TEMPLATES[region].muscles).index(muscle)
    return float(np.mean([muscles_of(group, 0.7, region, seed).fat_at(0.0)[index] for seed in range(20)]))


def whole_muscle(group: str, region: Region, severities: np.ndarray, age: float = 50.0) -> float:
    """Mean fat of the whole muscle over subjects of a group."""
    section = SECTIONS[region]
    inside = section.muscle > 0
    subjects = [muscles_of(group, severity, region, seed, age) for seed, severity in enumerate(severities)]
    return float(np.mean([infiltrate(section, subject)[inside].mean() for subject in subjects]))


@pytest.mark.parametrize("group", PATTERNS)
@pytest.mark.parametrize("region", Region)
def test_fat_rises_with_severity(group: str, region: Region) -> None:
    section = SECTIONS[region]
    means = []
    for severity in (0.0, 0.5, 1.0):
        fat = infiltrate(section, muscles_of(group, severity, region))
        assert fat.min() >= 0
        assert fat.max() <= MOST_FAT
        assert not fat[section.muscle == 0].any()
        means.append(fat[section.muscle > 0].mean())
    assert means == sorted(means)
    assert means[0] < 0.1


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(PATTERNS)),
    st.integers(0, 99),
    st.floats(0, 0.9),
    st.floats(0.02, 1.0),
    st.floats(20, 80),
    st.floats(0, 5),
)
def test_every_point_of_muscle_gets_fatter(
    group: str, seed: int, severity: float, step: float, age: float, years: float
) -> None:
    before = muscles_of(group, severity, Region.CALF, seed, age)
    after = muscles_of(group, min(severity + step, 1.0), Region.CALF, seed, age + years)
    first, second = (section_of(Region.CALF, state.atrophy_mm) for state in (before, after))
    # Not at its border, where the muscle that has shrunk shows its fascia, which is less fat, and which is drawn rough.
    still = (first.muscle == second.muscle) & (second.depth_mm > 2)
    one, other = (
        section.depth_mm + state.atrophy_mm.take(section.muscle - 1, mode="clip")
        for section, state in ((first, before), (second, after))
    )
    still &= np.isclose(one, other, atol=1e-4)
    assert still.sum() > 100
    assert (infiltrate(second, after) - infiltrate(first, before))[still].min() > -1e-4


def test_texture_stays_while_disease_proceeds() -> None:
    section = SECTIONS[Region.THIGH]
    before, after = (infiltrate(section, muscles_of("DMD", severity, Region.THIGH)) for severity in (0.5, 0.6))
    for muscle in np.unique(section.muscle[section.muscle > 0]):
        at = (section.muscle == muscle) & (section.depth_mm > 2)
        if at.sum() > 100:
            assert np.corrcoef(before[at], after[at])[0, 1] > 0.8


def test_realised_fat_is_about_the_mean_asked_for() -> None:
    section = SECTIONS[Region.THIGH]
    template = muscles_of("DMD", 0.5, Region.THIGH, age=30)
    for severity in (0.0, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
        state = replace(template, share=np.full_like(template.share, severity))
        asked = state.fat_at(0.0)[section.muscle[section.muscle > 0] - 1].mean()
        assert infiltrate(section, state)[section.muscle > 0].mean() == pytest.approx(asked, abs=0.04)


@pytest.mark.parametrize(
    ("group", "region", "more", "less"),
    [
        ("IBM", Region.THIGH, "vastus_medialis", "rectus_femoris"),
        ("IBM", Region.THIGH, "vastus_lateralis", "adductor_magnus"),
        ("IBM", Region.CALF, "gastrocnemius_medial", "soleus"),
        ("CMT", Region.CALF, "peronei", "tibialis_posterior"),
        ("CMT", Region.CALF, "tibialis_anterior", "soleus"),
        ("KD", Region.THIGH, "semimembranosus", "rectus_femoris"),
        ("KD", Region.CALF, "gastrocnemius_medial", "tibialis_anterior"),
        ("HYPOPP", Region.THIGH, "biceps_femoris_long_head", "vastus_lateralis"),
        ("HYPOPP", Region.CALF, "soleus", "tibialis_anterior"),
        ("DMD", Region.THIGH, "adductor_magnus", "gracilis"),
        ("DMD", Region.THIGH, "vastus_lateralis", "sartorius"),
        ("DMD", Region.THIGH, "adductor_magnus", "adductor_longus"),
        ("DMD", Region.CALF, "peronei", "tibialis_posterior"),
    ],
)
def test_patterns_choose_their_muscles(group: str, region: Region, more: str, less: str) -> None:
    assert mean_fat(group, region, more) > mean_fat(group, region, less) + 0.1


@pytest.mark.parametrize(
    ("group", "region", "low", "high"),
    [
        ("IBM", Region.THIGH, 0.20, 0.32),
        ("KD", Region.THIGH, 0.12, 0.25),
        ("KD", Region.CALF, 0.15, 0.30),
        ("HYPOPP", Region.THIGH, 0.10, 0.25),
        ("CMT", Region.CALF, 0.17, 0.30),
        ("CMT", Region.THIGH, 0.03, 0.10),
        ("ALS", Region.THIGH, 0.02, 0.08),
        ("ALS", Region.CALF, 0.03, 0.10),
    ],
)
def test_groups_are_as_fat_as_in_the_literature(group: str, region: Region, low: float, high: float) -> None:
    assert low < whole_muscle(group, region, np.linspace(0.1, 1.0, 16)) < high


def test_cmt_is_distal() -> None:
    calf, thigh = (muscles_of("CMT", 0.8, region).fat_at(0.0).mean() for region in (Region.CALF, Region.THIGH))
    assert calf > thigh + 0.2
    infiltration = muscles_of("CMT", 0.6, Region.CALF)
    distal, middle, proximal = (infiltration.fat_at(level_mm) for level_mm in (-60.0, 0.0, 60.0))
    assert (distal >= middle).all() and (middle >= proximal).all()
    assert distal.mean() > proximal.mean() + 0.1
    # The slope reaches the points, not only the means.
    means = []
    for level_mm in (-40.0, 40.0):
        section = section_of(Region.CALF, level_mm=level_mm)
        means.append(infiltrate(section, infiltration)[section.muscle > 0].mean())
    assert means[0] > means[1] + 0.05


def test_some_muscles_are_spared_and_others_gone() -> None:
    fat = np.concatenate([muscles_of("IBM", 0.8, Region.THIGH, seed).fat_at(0.0) for seed in range(20)])
    assert np.mean((fat < 0.2) | (fat > 0.6)) > 0.6
    assert fat.max() <= END_STAGE + 1e-6


def test_muscle_that_is_gone_shows_strands_and_its_fascia() -> None:
    section = SECTIONS[Region.THIGH]
    template = muscles_of("DMD", 1.0, Region.THIGH)
    fat = infiltrate(section, replace(template, share=np.ones_like(template.share)))
    deep, rim = section.depth_mm > 3, (section.depth_mm > 0) & (section.depth_mm < 0.4)
    assert 0.70 < fat[deep].mean() < 0.85
    assert fat[deep].std() > 0.04
    assert fat[rim].mean() < fat[deep].mean() - 0.05


def test_healthy_muscle_has_thin_lines_and_little_else() -> None:
    section = SECTIONS[Region.THIGH]
    fat = infiltrate(section, muscles_of("control", 0.2, Region.THIGH))[section.depth_mm > 1]
    assert np.median(fat) < 0.03
    assert np.quantile(fat, 0.98) > 3 * np.median(fat)


def test_age_adds_fat_and_widens_septa() -> None:
    severities = np.full(8, 0.2)
    young, old = (whole_muscle("control", Region.THIGH, severities, age) for age in (25, 75))
    assert young < 0.03
    assert young + 0.01 < old < 0.10
    assert (
        muscles_of("control", 0.2, Region.THIGH, age=75).atrophy_mm
        > muscles_of("control", 0.2, Region.THIGH, age=25).atrophy_mm
    ).all()


def test_oedema_belongs_to_some_diseases_and_to_muscle() -> None:
    section = SECTIONS[Region.THIGH]
    assert not oedema(section, muscles_of("control", 0.5, Region.THIGH)).any()
    for group in ("IBM", "HYPOPP", "DMD", "ALS"):
        swollen = [oedema(section, muscles_of(group, 0.5, Region.THIGH, seed)) for seed in range(5)]
        assert all(field.min() >= 0 and field.max() <= 1 for field in swollen)
        assert not any(field[section.muscle == 0].any() for field in swollen)
        assert max(field.max() for field in swollen) > 0.2


def test_muscle_swells_before_it_is_gone() -> None:
    early, late = (np.mean([muscles_of("DMD", s, Region.THIGH, k).swelling for k in range(20)]) for s in (0.4, 1.0))
    assert early > late


def test_als_wastes_without_fat() -> None:
    als, control = (muscles_of(group, 0.8, Region.CALF) for group in ("ALS", "control"))
    assert als.atrophy_mm.mean() > control.atrophy_mm.mean() + 0.4
    assert als.fat_at(0.0).mean() < 0.15


def test_same_seed_gives_the_same_muscles() -> None:
    first, second = (sample_infiltration(np.random.default_rng(5), PATTERNS["IBM"], 0.6, Region.THIGH) for _ in "ab")
    for one, other in zip(first, second, strict=True):
        assert (infiltrate(SECTIONS[Region.THIGH], one) == infiltrate(SECTIONS[Region.THIGH], other)).all()
