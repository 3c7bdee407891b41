"""Subcutaneous and intermuscular fat: discs of known areas, and phantoms whose tissue is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.imaging.grid import slice_zooms, take_slice
from musclesense.imaging.limbs import part_limbs
from musclesense.metrics.depots import Depots, fat_depots
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.cohorts.generate import scan_subject
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.cohorts.subjects import list_subjects
from musclesense.phantom.scanner import acquisition
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.slices import draw_slice, most_common
from musclesense.segmentation.scan import from_images

FAT, MUSCLE, BONE = (95.0, 200.0), (5.0, 120.0), (50.0, 4.0)
"""Percent and signal."""


class Limb:
    """A round thigh: skin, fat, muscle in a disc of 60 mm, a plane of fat through it, and a bone."""

    def __init__(self, zooms: tuple[float, float], fat_mm: float, plane_mm: float, gain: float = 1.0) -> None:
        half = [int((60 + fat_mm + 12) / zoom) for zoom in zooms]
        rows, columns = np.ogrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
        self.y, self.x = rows * zooms[0], columns * zooms[1]
        self.zooms, self.gain = zooms, gain
        away = np.hypot(self.y, self.x)
        self.body = away < 60 + fat_mm + 2
        self.fraction, self.signal = np.full(away.shape, 50.0), np.zeros(away.shape)
        self.paint(self.body, MUSCLE)  # skin is as lean
        self.subcutaneous = (away < 60 + fat_mm) & (away >= 60)
        self.paint(self.subcutaneous, FAT)
        self.muscle = (away < 60) & (np.abs(self.x - 20) >= plane_mm / 2)
        self.intermuscular = (away < 60) & ~self.muscle
        self.paint(self.intermuscular, FAT)
        bone = np.hypot(self.y, self.x + 15)
        self.muscle &= bone >= 16
        self.paint(bone < 16, BONE)
        self.marrow = bone < 10
        self.paint(self.marrow, FAT)

    def paint(self, where: NDArray[np.bool_], tissue: tuple[float, float]) -> None:
        self.fraction[where], self.signal[where] = tissue[0], tissue[1] * self.gain

    def depots(self) -> Depots:
        found = fat_depots(self.fraction, self.signal, self.body, self.muscle, self.zooms)
        assert found is not None
        return found


@given(
    zooms=st.tuples(st.sampled_from((0.75, 1.0, 1.25, 1.6)), st.sampled_from((0.75, 1.0, 1.25, 1.6))),
    fat_mm=st.floats(5, 40),
    plane_mm=st.floats(4, 16),
    gain=st.sampled_from((0.01, 1.0, 300.0)),
)
def test_discs_of_fat_have_their_areas(zooms: tuple[float, float], fat_mm: float, plane_mm: float, gain: float) -> None:
    limb = Limb(zooms, fat_mm, plane_mm, gain)
    found, voxel_cm2 = limb.depots(), zooms[0] * zooms[1] / 100
    subcutaneous_cm2 = np.pi * ((60 + fat_mm) ** 2 - 60**2) / 100
    assert np.count_nonzero(found.subcutaneous) * voxel_cm2 == pytest.approx(subcutaneous_cm2, rel=0.04, abs=3)
    # The plane ends at the envelope, which cuts its two ends straight.
    intermuscular_cm2 = np.count_nonzero(limb.intermuscular) * voxel_cm2
    assert np.count_nonzero(found.intermuscular) * voxel_cm2 == pytest.approx(intermuscular_cm2, rel=0.03, abs=0.6)
    assert not (found.subcutaneous & limb.marrow).any() and not (found.intermuscular & limb.marrow).any()
    assert not (found.subcutaneous & found.intermuscular).any()


def test_muscles_without_a_label_hold_the_fascia_too() -> None:
    """A mask of the quadriceps alone does not make the fat between the others subcutaneous."""
    limb = Limb((1.0, 1.0), 15, 8)
    whole = limb.depots()
    limb.muscle &= limb.y < 0
    part = limb.depots()
    assert np.count_nonzero(part.subcutaneous ^ whole.subcutaneous) < 0.02 * np.count_nonzero(whole.subcutaneous)


def test_fat_in_the_mask_is_neither() -> None:
    limb = Limb((1.0, 1.0), 15, 8)
    limb.paint(limb.muscle & (limb.y > 10), FAT)
    found = limb.depots()
    assert not (found.intermuscular & limb.muscle).any()
    assert np.count_nonzero(found.intermuscular) == pytest.approx(np.count_nonzero(limb.intermuscular), rel=0.05)


def test_a_vein_beneath_the_skin_does_not_move_the_envelope() -> None:
    limb = Limb((1.0, 1.0), 30, 8)
    before = limb.depots()
    limb.paint(np.hypot(limb.y - 75, limb.x) < 2.5, MUSCLE)
    assert np.count_nonzero(limb.depots().intermuscular) == np.count_nonzero(before.intermuscular)


def test_marrow_with_a_gap_in_its_cortex_is_marrow() -> None:
    limb = Limb((1.0, 1.0), 15, 8)
    limb.paint((np.abs(limb.x + 15) < 1.1) & (limb.y > 9) & (limb.y < 16), FAT)
    assert np.count_nonzero(limb.depots().intermuscular & limb.marrow) == 0


@pytest.mark.parametrize("what", ["nothing", "fat alone", "one voxel", "a line"])
def test_without_muscle_there_are_no_depots(what: str) -> None:
    body, muscle = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    if what != "nothing":
        body[5:35, 5:35] = True
    muscle[20, 20 : {"one voxel": 21, "a line": 30}.get(what, 20)] = True
    fraction, signal = np.where(body, 95.0, np.nan), np.where(body, 200.0, 0.0)
    assert fat_depots(fraction, signal, body, muscle, (1.0, 1.0)) is None


def test_fat_of_phantoms_is_that_of_their_tissue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both regions, at 1.25 mm. Connective tissue in subcutaneous fat is a part of it."""
    drawings, draw = list[Drawing](), draw_slice

    def kept(*given: Any) -> Drawing:
        drawings.append(draw(*given))
        return drawings[-1]

    monkeypatch.setattr(acquisition, "draw_slice", kept)
    preset = find_preset("demo")
    for session in scan_subject(preset, list_subjects(preset)[0], 1, middle_only=True):
        volumes, geometry = session.scan.volumes(), session.scan.geometry()
        scan = from_images({name: (volumes[name], geometry.affine) for name in ("fat", "water")})
        tissues = session.scan._stored_order(most_common(drawings[-1].tissue)[None])
        assert scan.fat_fraction is not None
        for half in part_limbs(scan.limbs, scan.limbs.limbs, scan.bodies, geometry).values():
            fraction, signal, body, mask, tissue = (
                take_slice(volume, geometry, 0)
                for volume in (
                    scan.fat_fraction,
                    scan.channels["fat"] + scan.channels["water"],
                    scan.bodies & half,
                    (volumes["mask"] > 0) & half,
                    np.where(half, tissues, 0),
                )
            )
            found = fat_depots(fraction, signal, body, mask, slice_zooms(geometry))
            assert found is not None
            beneath_skin = np.isin(tissue, (Tissue.SUBCUTANEOUS_FAT, Tissue.CONNECTIVE)) & ~found.intermuscular
            beneath_skin &= ~mask
            between = (tissue == Tissue.INTERMUSCULAR_FAT) & ~mask
            assert (found.subcutaneous & beneath_skin).sum() > 0.9 * beneath_skin.sum()
            # Thin layers are no fat of more than half a voxel, and some lie between envelope and fascia.
            assert (found.intermuscular & between).sum() > 0.4 * between.sum()
            others = ~np.isin(tissue, (Tissue.INTERMUSCULAR_FAT, Tissue.FASCIA))
            assert (found.intermuscular & others).sum() < 0.2 * found.intermuscular.sum()
            marrow = tissue == Tissue.MARROW
            assert ((found.subcutaneous | found.intermuscular) & marrow).sum() < 0.05 * marrow.sum()
