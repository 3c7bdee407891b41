"""Brightness of tissues: fat bright, muscle dark by as much water as it holds; swaps, oedema and the shift of fat."""

import numpy as np
import pytest

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner import contrast
from musclesense.phantom.scanner.signal import OEDEMA_DENSITY, Drawing

ROWS, COLUMNS = 24, 40


def drawing(*, fat: float = 0.0, oedema: float = 0.0) -> Drawing:
    """Muscle in the right half of the frame, subcutaneous fat in the left one; one point a voxel."""
    tissue = np.full((1, ROWS, COLUMNS), Tissue.SUBCUTANEOUS_FAT, np.uint8)
    tissue[..., COLUMNS // 2 :] = Tissue.MUSCLE
    flesh = (tissue == Tissue.MUSCLE).astype(np.float32)
    return Drawing(
        tissue=tissue,
        muscle_fat=np.float32(fat) * flesh,
        density=np.ones_like(flesh),
        oedema=np.float32(oedema) * flesh,
        compartment=tissue,
    )


def expose(drawn: Drawing, number: int, *, usual: bool = False, swaps: bool = False) -> np.ndarray:
    return contrast.brightness(
        np.random.default_rng(number),
        drawn,
        voxel_mm=1.0,
        usual=usual,
        swaps=np.random.default_rng([1, number]) if swaps else None,
    )


def of(monkeypatch: pytest.MonkeyPatch, kind: contrast.Contrast) -> None:
    """Let every contrast that is drawn be this one."""
    for table in ("_WATER_SHOWN", "_FAT_SHIFT_MM"):
        monkeypatch.setattr(contrast, table, dict.fromkeys(contrast.Contrast, getattr(contrast, table)[kind]))


def test_fat_is_brighter_than_healthy_muscle_and_gone_muscle_is_as_bright() -> None:
    for number in range(12):
        healthy, gone = expose(drawing(), number), expose(drawing(fat=1.0), number)
        assert healthy.dtype == np.float32 and healthy.shape == (ROWS, COLUMNS)
        assert healthy[:, 4].mean() > 1.2 * healthy[:, -4].mean()
        assert gone[:, -4] == pytest.approx(gone[:, 4], rel=0.6)


def test_muscle_brightens_with_its_fat() -> None:
    levels = [expose(drawing(fat=fat), 1, usual=True)[:, -4].mean() for fat in (0.0, 0.3, 0.6, 1.0)]
    assert levels == sorted(levels)
    assert levels[-1] == pytest.approx(1.0, abs=0.01)


def test_oedema_shows_where_water_does(monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, contrast.Contrast.PROTON_DENSITY)
    dry, wet = (expose(drawing(oedema=oedema), 2, usual=True)[:, -4].mean() for oedema in (0.0, 1.0))
    assert wet == pytest.approx((1 + OEDEMA_DENSITY) * dry, rel=1e-3)


def test_swaps_turn_fat_and_water_around_in_a_part_of_some_fat_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < contrast.SWAPPED < 0.5
    monkeypatch.setattr(contrast, "SWAPPED", 1.0)
    parts = []
    for number in range(20):
        plain, swapped = expose(drawing(), number, usual=True), expose(drawing(), number, usual=True, swaps=True)
        moved = plain != swapped
        parts.append(moved.mean())
        muscle = moved & (np.arange(COLUMNS) >= COLUMNS // 2)
        assert (swapped[muscle] > 0.9).all()  # the water of muscle, where its fat should be
    assert all(0.01 < part < 0.6 for part in parts)


def test_images_of_water_and_fat_together_are_not_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "SWAPPED", 1.0)
    fat = [np.random.default_rng(number).choice(3, p=(0.65, 0.22, 0.13)) == 0 for number in range(20)]
    swapped = [
        not np.array_equal(expose(drawing(), number, swaps=True), expose(drawing(), number)) for number in range(20)
    ]
    assert swapped == fat and 5 < sum(fat) < 18


def test_fat_lies_off_where_it_is_seen_beside_water(monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, contrast.Contrast.T1)
    monkeypatch.setattr(contrast, "_WATER_SHOWN", dict.fromkeys(contrast.Contrast, (0.3, 0.3)))
    border = [expose(drawing(), number, usual=True)[:, COLUMNS // 2 - 3 : COLUMNS // 2 + 3] for number in range(8)]
    assert len({tuple(np.round(one.mean(axis=0), 3)) for one in border}) == 8
    monkeypatch.undo()
    of(monkeypatch, contrast.Contrast.FAT)
    sharp = expose(drawing(), 1, usual=True)
    assert np.ptp(sharp[:, : COLUMNS // 2]) == 0


def test_other_greys_keep_the_order_and_the_bright_end() -> None:
    image = np.linspace(0, 2, 101, dtype=np.float32).reshape(1, -1)
    bent = contrast.other_greys(np.random.default_rng(4), image)
    assert (np.diff(bent) >= 0).all()
    assert np.percentile(bent, 99) == pytest.approx(np.percentile(image, 99), rel=1e-4)


@pytest.mark.parametrize(("tissue", "darkest", "brightest"), [(Tissue.MARROW, 0.6, 0.9), (Tissue.FASCIA, 0.15, 0.3)])
def test_marrow_and_tendons_are_dark_in_some_images(tissue: Tissue, darkest: float, brightest: float) -> None:
    drawn = drawing()
    drawn.tissue[..., COLUMNS // 2 :] = tissue
    levels = [image[:, -4].mean() / image[:, 4].mean() for image in (expose(drawn, number) for number in range(30))]
    assert min(levels) < darkest and max(levels) > brightest
    usual = [expose(drawn, number, usual=True)[:, -4].mean() for number in range(2)]
    assert usual[0] == pytest.approx(usual[1], rel=0.05), "as bright as usual"
