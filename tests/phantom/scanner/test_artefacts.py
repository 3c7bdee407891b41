"""What scanners do to an image: each operation does what its name says, and no more."""

import numpy as np
import pytest

from musclesense.phantom.scanner import artefacts


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[-40:40, -60:60]
    return (np.hypot(x, y) < 25).astype(np.float32)


def test_shading_is_one_on_average_and_stronger_when_asked() -> None:
    def spread(strength: float, blotches: float) -> float:
        shade = artefacts.shading(np.random.default_rng(1), (80, 120), strength=strength, blotches=blotches)
        assert shade.shape == (80, 120) and shade.min() > 0
        assert shade.mean() == pytest.approx(1, abs=1e-4)
        return float(shade.std())

    assert spread(0, 0) == pytest.approx(0, abs=1e-5)
    assert spread(0, 0) < spread(0.5, 0) < spread(1, 0)
    assert spread(0, 0.4) > 0.05


def test_gaps_between_elements_are_dark_places_towards_the_border() -> None:
    def shade(gaps: int) -> np.ndarray:
        return artefacts.shading(np.random.default_rng(3), (80, 120), strength=0, blotches=0, gaps=gaps)

    assert shade(0) == pytest.approx(np.ones((80, 120)), abs=1e-5)
    one = shade(1) / shade(1).max()
    assert 0.1 < one.min() < 0.6
    row, column = np.unravel_index(one.argmin(), one.shape)
    assert np.hypot((row - 39.5) / 40, (column - 59.5) / 60) > 0.45
    assert one[one > 0.9].size > 0.5 * one.size  # the rest is left as it is


def test_blur_keeps_the_sum_and_lowers_edges(disc: np.ndarray) -> None:
    soft = artefacts.blurred(disc, (2.0, 1.0))
    assert soft.sum() == pytest.approx(disc.sum(), rel=1e-4)
    assert np.abs(np.diff(soft, axis=0)).max() < np.abs(np.diff(soft, axis=1)).max() < 1


def test_ringing_overshoots_at_edges_and_keeps_the_mean(disc: np.ndarray) -> None:
    rung = artefacts.ringing(disc, (0.5, 0.5))
    assert rung.max() > 1.05
    assert artefacts.ringing(disc, (1.0, 1.0)) == pytest.approx(disc, abs=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_lie_to_both_sides(disc: np.ndarray, axis: int) -> None:
    added = artefacts.ghosted(disc, axis=axis, shift=20, strength=0.1) - disc
    assert added.max() == pytest.approx(0.2, abs=1e-5)  # where the two copies overlap
    assert added.sum() == pytest.approx(0.2 * disc.sum(), rel=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_wrap_folds_what_lies_beyond_into_the_opposite_side(axis: int) -> None:
    image = np.zeros((12, 12), np.float32)
    image[0], image[-1], image[5] = 1, 2, 4  # beyond one edge, beyond the other, in the middle
    folded = artefacts.wrapped(image.T if axis else image, axis=axis, overlap=2)
    lines = (folded.T if axis else folded)[:, 0]
    assert lines.tolist() == [0, 2, 0, 4, 0, 0, 1, 0]


def test_noise_in_air_is_rayleigh_and_within_signal_gaussian() -> None:
    rng = np.random.default_rng(2)
    air = artefacts.noisy(rng, np.zeros((200, 200), np.float32), 0.1)
    body = artefacts.noisy(rng, np.full((200, 200), 5, np.float32), 0.1)
    assert air.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)
    assert body.std() == pytest.approx(0.1, rel=0.02)
