"""The templates are complete and consistent, and every compartment has its own value."""

import numpy as np
import pytest

from musclesense.phantom.anatomy.templates import TEMPLATES, compartment_values
from musclesense.vocabulary import Region


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
    assert levels[0] > -0.25 and levels[-1] < 1.25
    assert set().union(*(keyframe.muscles for keyframe in template.keyframes)) == set(template.muscles)
    named = template.unlabelled | set(template.looseness) | template.concentric
    assert named <= set(template.muscles)


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
