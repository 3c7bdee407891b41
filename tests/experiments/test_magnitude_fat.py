"""Fat from magnitudes: on a limb that is drawn here, fat, muscle and marrow keep their signs along a stack."""

import numpy as np
import pytest
from experiments.any_scanner_fat.magnitude_fat import approximate_fat
from numpy.typing import NDArray

from musclesense.dixon.fat import fat_phasor
from musclesense.dixon.separation import ECHO_TIMES_MS

MM = 1.0
SIZE = 120
FAT_MM = 10.0
FAT, MUSCLE, MARROW = 0.95, 0.15, 0.97


def limb(
    bone_mm: float, cortex_mm: float, marrow: float = MARROW, marrow_r2star: float = 120.0
) -> tuple[list[NDArray[np.float32]], NDArray[np.float64]]:
    """Magnitudes of the echoes of a round limb of 50 mm with its bone off the middle, and its true fat fraction."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2
    depth, bone = 50 - np.hypot(rows, columns), bone_mm - np.hypot(rows + 12, columns)
    fraction = np.where(depth < FAT_MM, FAT, MUSCLE)
    fraction[bone > 0] = marrow
    density = np.where(depth > 0, 1000.0, 0.0)
    density[(bone > 0) & (bone < cortex_mm)] = 30
    border = (np.abs(depth - FAT_MM) < 0.8) | (np.abs(bone) < 0.8)
    fraction[border] = 0.5  # partial volume: the dark line
    decay = np.where(bone > 0, marrow_r2star, 35.0)
    echoes = [
        np.abs(density * (1 - fraction + fraction * fat_phasor(time)) * np.exp(-decay * time / 1000)).astype(np.float32)
        for time in ECHO_TIMES_MS
    ]
    return echoes, np.where(depth > 0, fraction, 0)


def wrong_side(image: NDArray[np.float32], echoes: list[NDArray[np.float32]], fraction: NDArray[np.float64]) -> float:
    """Part of the limb, borders left out, whose fat image is on the wrong side of a half."""
    clear = (fraction > 0) & (fraction != 0.5) & (echoes[1] > 100)
    return float(np.mean((image > 0.5 * echoes[1])[clear] != (fraction > 0.5)[clear]))


@pytest.mark.parametrize("cortex_mm", [4.0, 0.0])
def test_fat_muscle_and_marrow_keep_their_signs(cortex_mm: float) -> None:
    """With the cortex of a shaft, and near a joint with hardly any."""
    echoes, fraction = limb(12, cortex_mm)
    (image,) = approximate_fat([[echo] for echo in echoes], MM)
    assert wrong_side(image, echoes, fraction) < 0.02


def test_a_slice_learns_from_its_neighbour() -> None:
    """Towards a joint cortex vanishes; marrow that is not all fat is then taken for muscle where a slice is alone."""
    drawn = [limb(bone_mm, cortex_mm, marrow=0.9, marrow_r2star=60.0) for bone_mm, cortex_mm in ((14, 3), (15, 0))]
    stack = [[echoes[at] for echoes, _ in (*reversed(drawn), *drawn)] for at in range(3)]
    images = approximate_fat(stack, MM)
    (alone,) = approximate_fat([[echo] for echo in drawn[-1][0]], MM)
    last = drawn[-1][0][1]
    inside = np.hypot(*(np.indices(last.shape) - np.array([SIZE / 2 - 12, SIZE / 2])[:, None, None])) < 8
    assert not (alone > 0.5 * last)[inside].any()
    assert (images[-1] > 0.5 * last)[inside].all()
    assert (images[0] > 0.5 * last)[inside].all()


def test_a_slice_without_a_limb_holds_no_fat() -> None:
    echoes, _ = limb(12, 4)
    images = approximate_fat([[np.zeros_like(echo), echo, np.zeros_like(echo)] for echo in echoes], MM)
    assert not images[0].any() and not images[2].any()
    assert images[1].any()
