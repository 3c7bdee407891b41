"""The turbo spin echo of the secondary cohort."""

from dataclasses import replace

import numpy as np
import pytest

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import FAT_FRACTION, OEDEMA_DENSITY, OEDEMA_T1, Drawing
from musclesense.phantom.scanner.turbo_spin_echo import OEDEMA_T2, TE_MS, TR_MS, TseScanner

SCANNER = replace(TseScanner.sample(np.random.default_rng(0)), leak=(0.0, 0.0), noise=0.001)


def images(
    tissue: Tissue, *, fat: float = 0.0, oedema: float = 0.0, scanner: TseScanner = SCANNER
) -> tuple[float, float]:
    """Mean fat and water image of a field of one tissue."""
    shape = (1, 60, 60)
    drawing = Drawing(
        tissue=np.full(shape, tissue, np.uint8),
        muscle_fat=np.full(shape, fat, np.float32),
        density=np.ones(shape, np.float32),
        oedema=np.full(shape, oedema, np.float32),
        compartment=np.zeros(shape, np.uint8),
    )
    made = scanner.images(np.random.default_rng(1), drawing, voxel_mm=0.36, z_mm=0.0)
    assert made["fat"].dtype == made["water"].dtype == np.int16
    share = float(FAT_FRACTION[tissue]) + fat
    water = (1 - share) * (1 + OEDEMA_DENSITY * oedema)
    assert made["fat_fraction"] == pytest.approx(100 * share / (share + water), abs=0.1)
    return float(made["fat"].mean()), float(made["water"].mean())


def test_fat_is_bright_and_muscle_dark() -> None:
    fat_of_fat, water_of_fat = images(Tissue.SUBCUTANEOUS_FAT)
    fat_of_muscle, water_of_muscle = images(Tissue.MUSCLE)
    assert fat_of_fat > 20 * fat_of_muscle
    assert water_of_muscle > 2 * water_of_fat
    assert fat_of_fat > 4 * water_of_muscle


def test_oedema_is_as_bright_in_the_water_image_as_density_t1_and_t2_say() -> None:
    t1, t2 = 1420.0, 32.0  # of healthy muscle
    well = (1 - np.exp(-TR_MS / t1)) * np.exp(-TE_MS / t2)
    swollen = (1 + OEDEMA_DENSITY) * (1 - np.exp(-TR_MS / (OEDEMA_T1 * t1))) * np.exp(-TE_MS / (OEDEMA_T2 * t2))
    found = images(Tissue.MUSCLE, oedema=1.0)[1] / images(Tissue.MUSCLE)[1]
    assert found == pytest.approx(swollen / well, rel=0.02)


def test_what_leaks_is_seen_in_the_other_image() -> None:
    leaky = replace(SCANNER, leak=(0.1, 0.0))
    assert images(Tissue.MUSCLE, scanner=leaky)[0] == pytest.approx(0.1 * images(Tissue.MUSCLE)[1], abs=2)


def test_fat_fraction_of_the_images_rises_with_that_of_the_muscle() -> None:
    shares = []
    for part in (0.1, 0.4, 0.8):
        fat, water = images(Tissue.MUSCLE, fat=part)
        shares.append(fat / (fat + water))
    assert shares == sorted(shares)
