"""The templates are complete and consistent, and every compartment has its own value."""

import numpy as np
import pytest

from musclesense.phantom.anatomy.templates import TEMPLATES, compartment_values, every_value, paper_values
from musclesense.vocabulary import Region, Side


def test_compartment_values_are_unique_over_regions_and_sides() -> None:
    values = [value for region in Region for value in compartment_values(region).values()]
    assert len(set(values)) == len(values)
    assert min(values) > 0 and max(values) <= 255
    thigh, calf = compartment_values(Region.THIGH), compartment_values(Region.CALF)
    assert thigh["rectus_femoris_right"] == 1
    assert calf["tibialis_anterior_right"] == 41
    assert all(thigh[f"{name}_left"] == thigh[f"{name}_right"] + 100 for name in TEMPLATES[Region.THIGH].muscles)


@pytest.mark.parametrize("region", Region)
def test_keyframes_fit_their_template(region: Region) -> None:
    template = TEMPLATES[region]
    levels = [keyframe.level for keyframe in template.keyframes]
    assert levels == sorted(set(levels)) and {0.0, 0.5, 1.0} <= set(levels)
    assert levels[0] > -0.25 and levels[-1] < 1.5
    low, high = template.levels
    usual = [keyframe for keyframe in template.keyframes if low <= keyframe.level <= high]
    assert {low, high} <= set(levels)
    assert set().union(*(keyframe.muscles for keyframe in usual)) == set(template.muscles)
    assert set().union(*(keyframe.muscles for keyframe in template.keyframes)) == set(template.every)
    named = template.unlabelled | set(template.looseness) | template.concentric
    assert named <= set(template.muscles)


def test_muscles_beyond_have_values_of_their_own_or_those_of_the_other_region() -> None:
    for region in Region:
        here, there = (compartment_values(one) for one in (region, *(set(Region) - {region})))
        for side in Side:
            values = {
                f"{name}_{side}": value
                for name, value in zip(TEMPLATES[region].every, every_value(region, side), strict=True)
            }
            assert len(set(values.values())) == len(values)
            for name, value in values.items():
                assert value == here.get(name, there.get(name, value))
                assert name in here or name in there or value not in (*here.values(), *there.values())


def test_muscles_of_the_paper_are_all_but_the_unlabelled_ones() -> None:
    values = {**compartment_values(Region.THIGH), **compartment_values(Region.CALF)}
    out = {name for name, value in values.items() if value not in paper_values()}
    assert out == {f"{name}_{side}" for name in TEMPLATES[Region.THIGH].unlabelled for side in Side}


@pytest.mark.parametrize("region", Region)
def test_muscles_and_bones_lie_within_the_fascia(region: Region) -> None:
    for keyframe in TEMPLATES[region].keyframes:
        envelope = np.array(keyframe.envelope)
        directions = np.arctan2(*envelope.T)
        order = np.argsort(directions)
        bones = [bone.outline for bone in keyframe.bones.values()]
        for outline in [*keyframe.muscles.values(), *bones]:
            x, y = np.array(outline).T
            radius = np.interp(np.arctan2(x, y), directions[order], np.hypot(*envelope[order].T), period=2 * np.pi)
            assert (np.hypot(x, y) < 1.08 * radius + 0.03).all(), f"{keyframe.level}: {outline}"
