"""Patterns of disease: which muscles, how much fat."""

import numpy as np
import pytest

from musclesense.cohort.table import Region
from musclesense.phantom.anatomy import Body, Pose, Section, draw_section, sample_limbs
from musclesense.phantom.disease import MOST_FAT, PATTERNS, Infiltration, infiltrate, sample_infiltration
from musclesense.phantom.presets import PRESETS
from musclesense.phantom.templates import TEMPLATES


def section_of(region: Region) -> Section:
    rng = np.random.default_rng(3)
    limb = sample_limbs(rng, Body.sample(rng), region)[0]
    axis = np.arange(-90, 90, 1.5, dtype=np.float32)
    pose = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.0, level_mm=0.0)
    return draw_section(limb, pose, 0.0, *np.meshgrid(axis, axis), np.zeros(limb.growth_mm.shape, np.float32))


def muscles_of(group: str, severity: float, region: Region, seed: int = 0) -> Infiltration:
    return sample_infiltration(np.random.default_rng(seed), PATTERNS[group], severity, region)[0]


def mean_fat(group: str, region: Region, muscle: str) -> float:
    index = list(TEMPLATES[region].muscles).index(muscle)
    return float(np.mean([muscles_of(group, 0.7, region, seed).fat[index] for seed in range(20)]))


@pytest.mark.parametrize("group", PATTERNS)
@pytest.mark.parametrize("region", Region)
def test_fat_rises_with_severity(group: str, region: Region) -> None:
    section = section_of(region)
    means = []
    for severity in (0.0, 0.5, 1.0):
        fat = infiltrate(section, muscles_of(group, severity, region))
        assert fat.min() >= 0
        assert fat.max() <= MOST_FAT
        assert not fat[section.muscle == 0].any()
        means.append(fat[section.muscle > 0].mean())
    assert means == sorted(means)
    assert means[0] < 0.1


@pytest.mark.parametrize(
    ("group", "region", "more", "less"),
    [
        ("IBM", Region.THIGH, "vastus_medialis", "rectus_femoris"),
        ("IBM", Region.THIGH, "vastus_lateralis", "semitendinosus"),
        ("IBM", Region.CALF, "gastrocnemius_medial", "soleus"),
        ("CMT", Region.CALF, "peronei", "tibialis_posterior"),
        ("KD", Region.THIGH, "semimembranosus", "rectus_femoris"),
    ],
)
def test_patterns_choose_their_muscles(group: str, region: Region, more: str, less: str) -> None:
    assert mean_fat(group, region, more) > mean_fat(group, region, less) + 0.1


def test_cmt_is_distal() -> None:
    calf, thigh = (muscles_of("CMT", 0.8, region).fat.mean() for region in (Region.CALF, Region.THIGH))
    assert calf > thigh + 0.2


def test_patterns_name_muscles_that_exist() -> None:
    known = {name for template in TEMPLATES.values() for name in template.muscles}
    assert all(set(pattern.involvement) <= known for pattern in PATTERNS.values())
    assert {group.name for preset in PRESETS.values() for group in preset.groups} <= set(PATTERNS)
