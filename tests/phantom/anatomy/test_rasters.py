"""Distance fields of keyframes and between them."""

import numpy as np
import pytest

from musclesense.phantom.anatomy.rasters import (
    DEEP_HALF,
    DEEP_NODES,
    HALO_HALF,
    HALO_NODES,
    Raster,
    envelope_between,
    fields_between,
    grid,
    neighbours,
    resample,
)
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.vocabulary import Region


def areas(region: Region, level: float) -> dict[str, float]:
    """Area of each outline in the template's unit."""
    cell = (2 * DEEP_HALF / (DEEP_NODES - 1)) ** 2
    fields = fields_between(region, level, *grid(DEEP_HALF, DEEP_NODES))
    return {name: float((field < 0).sum()) * cell for name, field in fields}


def above(level: float) -> tuple[float, float]:
    """Give the level of a keyframe of the thigh and that of the next one."""
    first, second, *_ = (keyframe.level for keyframe in TEMPLATES[Region.THIGH].keyframes if keyframe.level >= level)
    return first, second


def test_a_raster_reads_a_bilinear_field_exactly() -> None:
    x, y = grid(1.0, 9)
    raster = Raster.of(np.stack([2 * x - 3 * y + x * y, y]), 1.0)
    u, v = np.random.default_rng(0).uniform(-1, 1, (2, 50)).astype(np.float32)
    first, second = raster.read(*raster.locate(u, v))
    assert first == pytest.approx(2 * u - 3 * v + u * v, abs=1e-5)
    assert second == pytest.approx(v, abs=1e-5)


@pytest.mark.parametrize("region", Region)
def test_a_keyframe_is_drawn_as_it_is(region: Region) -> None:
    for keyframe in TEMPLATES[region].keyframes:
        there = areas(region, keyframe.level)
        known = {*keyframe.muscles, *keyframe.bones, *keyframe.solid}
        assert {name for name, area in there.items() if area > 0} <= known <= set(there)
        for name, points in keyframe.muscles.items():
            x, y = np.array(points).T
            polygon = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
            assert there[name] == pytest.approx(polygon, rel=0.3, abs=0.02), name


def test_a_muscle_that_drifts_keeps_its_size() -> None:
    first, second = above(0.5)
    ends = [areas(Region.THIGH, level)["sartorius"] for level in (first, second)]
    assert areas(Region.THIGH, (first + second) / 2)["sartorius"] > 0.6 * min(ends)


def test_a_muscle_that_ends_shrinks_to_nothing() -> None:
    mid, proximal = above(0.5)
    shares = np.array([0, 0.4, 0.8, 1.0])
    sizes = [
        areas(Region.THIGH, mid + share * (proximal - mid)).get("biceps_femoris_short_head", 0) for share in shares
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.05 and sizes[2] < 0.5 * sizes[1] and sizes[3] == 0


def test_levels_beyond_the_ends_are_those_of_the_ends() -> None:
    last = len(TEMPLATES[Region.THIGH].keyframes) - 1
    assert neighbours(Region.THIGH, -0.5)[2] == 0
    assert neighbours(Region.THIGH, 1.5) == (last - 1, last, 1.0)


@pytest.mark.parametrize("region", Region)
def test_the_fascia_is_about_a_unit_away(region: Region) -> None:
    centre = np.zeros(1, np.float32)
    for level in np.linspace(0, 1, 9).tolist():
        assert -1.3 < envelope_between(region, level, centre, centre)[0] < -0.3
        beyond = envelope_between(region, level, *grid(HALO_HALF, HALO_NODES))
        assert beyond[0].min() > 1


def test_resample_walks_at_equal_steps() -> None:
    line = resample(((0.0, 0.0), (1.0, 0.0), (1.0, 3.0)), 5)
    assert line[[0, -1]].tolist() == [[0, 0], [1, 3]]
    assert np.linalg.norm(np.diff(line, axis=0), axis=1) == pytest.approx([1, 1, 1, 1])
