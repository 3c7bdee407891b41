"""Table, pads and cloths: about the limbs and never on them, seen in some slices and not in others."""

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.phantom.scanner import surroundings as around


@pytest.fixture
def air() -> NDArray[np.bool_]:
    y, x = np.mgrid[-60:60, -90:90]
    return np.hypot(np.abs(x) - 40, y) > 30  # two limbs, 60 pixels across


def only(monkeypatch: pytest.MonkeyPatch, thing: str) -> None:
    for name in ("TABLE", "PAD", "CLOTH"):
        monkeypatch.setattr(around, name, 1.0 if name == thing else 0.0)


def draw(number: int, air: NDArray[np.bool_], voxel_mm: float = 1.0) -> NDArray[np.float32]:
    return around.surroundings(np.random.default_rng([5, number]), air, voxel_mm)


def test_they_lie_in_the_air_and_are_seen_now_and_then(air: NDArray[np.bool_]) -> None:
    many = [draw(number, air) for number in range(60)]
    assert all(one.dtype == np.float32 and one.shape == air.shape for one in many)
    assert all((one[~air] == 0).all() and one.min() >= 0 and one.max() <= 1 for one in many)
    assert 15 < sum(one.any() for one in many) < 50


def test_the_table_lies_below_the_limbs(monkeypatch: pytest.MonkeyPatch, air: NDArray[np.bool_]) -> None:
    only(monkeypatch, "TABLE")
    lowest = int(np.flatnonzero(~air.all(axis=1)).max())
    for number in range(10):
        table = draw(number, air)
        assert table.any()
        # In the middle of the frame it is at their lowest point or below; to the sides a hollow one rises by less.
        assert not table[: lowest - 2, 90].any()
        assert not table[: lowest - 90**2 // (2 * 250) - 2].any()


def test_a_pad_is_an_island_of_its_size_in_mm(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "PAD")
    empty = np.ones((200, 200), np.bool_)
    coarse, fine = draw(3, empty, 2.0), draw(3, empty, 1.0)
    assert 0 < np.count_nonzero(coarse) < 0.5 * empty.size
    assert np.count_nonzero(fine) > 1.5 * np.count_nonzero(coarse)


def test_a_cloth_follows_the_front_of_the_limbs(monkeypatch: pytest.MonkeyPatch, air: NDArray[np.bool_]) -> None:
    only(monkeypatch, "CLOTH")
    for number in range(10):
        cloth = draw(number, air)
        assert cloth.any()
        assert np.nonzero(cloth)[0].max() < 60  # in front of the limbs' middle


def test_nothing_but_air_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for thing in ("TABLE", "PAD", "CLOTH"):
        only(monkeypatch, thing)
        assert np.isfinite(draw(1, np.ones((30, 40), np.bool_))).all()
        assert not draw(1, np.zeros((30, 40), np.bool_)).any()
