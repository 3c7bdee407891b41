"""Voxels are those of the scanner, however they are stored, and lie where they lay."""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason="reads DICOM")

import dcm2niix
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.dicom import making
from tests.dicom.making import (
    PHILIPS,
    Series,
    as_scanned,
    ge,
    of_type,
    philips,
    pixels,
    siemens,
    write_classic,
    write_enhanced,
)

from musclesense.dicom.load import import_dicom
from musclesense.errors import InputError

IMAGE = "scan_image.nii.gz"
FRAMES = Path(__file__).parents[1] / "fixtures" / "compressed"
"""`SHOWN`, compressed without loss."""
SHOWN = (100 * (np.hypot(*np.ogrid[-12:12, -20:20]) < 10) + np.arange(24)[:, None]).astype(np.uint16)


def written(folder: Path, many: Sequence[Series], write: Callable[..., None] = write_classic, **how: str) -> Path:
    if write is write_enhanced:
        for number in {series.number for series in many}:
            write_enhanced(folder / "in" / str(number), [one for one in many if one.number == number], **how)
    else:
        for series in many:
            write_classic(folder / "in", series, **how)
    import_dicom(folder / "in", folder / "out")
    return folder / "out"


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
@pytest.mark.parametrize("write", [write_classic, write_enhanced])
def test_pixels_are_read_however_they_are_packed(write: Callable[..., None], syntax: str, tmp_path: Path) -> None:
    many = siemens()
    out = written(tmp_path, many, write, syntax=syntax)
    for echo, magnitude, phase in zip((1, 2, 3), many[::2], many[1::2], strict=True):
        np.testing.assert_array_equal(as_scanned(out / f"scan_echo-{echo}_part-mag_MEGRE.nii.gz"), magnitude.values)
        np.testing.assert_array_equal(as_scanned(out / f"scan_echo-{echo}_part-phase_MEGRE.nii.gz"), phase.values)


def compressed(folder: Path, syntax: str, frame: bytes) -> None:
    """Write two slices whose pixels are a frame that another program compressed."""
    write_classic(folder, Series(3, np.repeat(SHOWN[None], 2, 0), of_type("M"), places=(0, 1)))
    for file in folder.iterdir():
        whole = pydicom.dcmread(file)
        whole.PixelData = encapsulate([frame])
        whole["PixelData"].is_undefined_length = True
        whole.file_meta.TransferSyntaxUID = syntax
        whole.save_as(file, enforce_file_format=True)


COMPRESSED = [(JPEGLosslessSV1, "jpg"), (JPEGLSLossless, "jls"), (JPEG2000Lossless, "j2k")]


@pytest.mark.parametrize(("syntax", "suffix"), COMPRESSED)
def test_lossless_compressions_are_read(syntax: str, suffix: str, tmp_path: Path) -> None:
    compressed(tmp_path / "in", syntax, (FRAMES / f"lossless.{suffix}").read_bytes())
    import_dicom(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(as_scanned(tmp_path / "out" / IMAGE)[0], SHOWN)


@pytest.mark.parametrize(("syntax", "suffix"), COMPRESSED)
@pytest.mark.parametrize("damage", [lambda frame: frame[: len(frame) // 2], lambda frame: bytes(len(frame))])
def test_a_compressed_image_that_is_damaged_is_told_in_one_line(
    syntax: str, suffix: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    compressed(tmp_path / "in", syntax, damage((FRAMES / f"lossless.{suffix}").read_bytes()))
    assert re.search(r"pixels cannot be read \(.+\); export it again|cannot read its pixels \(.+\)", refused(tmp_path))


def test_parts_of_ge_are_known_where_private_tags_have_no_type(tmp_path: Path) -> None:
    many = ge()
    out = written(tmp_path, many, syntax=ImplicitVRLittleEndian)
    for number, kind in ((0, "mag"), (2, "real"), (3, "imag")):
        np.testing.assert_array_equal(as_scanned(out / f"scan_echo-1_part-{kind}_MEGRE.nii.gz"), many[number].values)


@pytest.mark.parametrize("write", [write_classic, write_enhanced])
def test_each_image_of_philips_has_a_slope_of_its_own(write: Callable[..., None], tmp_path: Path) -> None:
    many = philips()
    out = written(tmp_path, many, write)
    for echo, magnitude, phase in zip((1, 2, 3), many[::2], many[1::2], strict=True):
        read = as_scanned(out / f"scan_echo-{echo}_part-mag_MEGRE.nii.gz")
        np.testing.assert_allclose(read, magnitude.values, rtol=1e-6)
        read = as_scanned(out / f"scan_echo-{echo}_part-phase_MEGRE.nii.gz")
        np.testing.assert_allclose(read, phase.values, atol=1e-3)


def test_each_slice_may_have_a_slope_of_its_own(tmp_path: Path) -> None:
    one = Series(3, pixels(1), of_type("M"), slope=[1.0, 1.5, 2.0, 3.0, 1.25, 7.0], intercept=-5.0)
    np.testing.assert_allclose(as_scanned(written(tmp_path, [one]) / IMAGE), one.values, rtol=1e-6)


def test_echoes_of_philips_are_brought_to_one_scale(tmp_path: Path) -> None:
    shown = (2.0, 4.0)
    private = {(0x2005, 0x0E): ("Philips MR Imaging DD 001", "FL", 0.5)}
    many = [
        Series(3, (pixels(1) // slope).astype(np.uint16), of_type("M", te=te, **PHILIPS), private, slope=slope)
        for te, slope in zip((3.45, 4.6), shown, strict=True)
    ]
    out = written(tmp_path, many)
    for echo, one in enumerate(many, 1):
        np.testing.assert_allclose(as_scanned(out / f"scan_echo-{echo}_part-mag_MEGRE.nii.gz"), one.stored / 0.5)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_the_whole_range_of_stored_numbers_is_kept(dtype: type, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    drawn = np.random.default_rng(3).integers(limits.min, limits.max + 1, pixels(0).shape)
    stored: NDArray[Any] = drawn.astype(dtype)
    stored[0, 0, :2] = limits.min, limits.max
    one = Series(3, stored, of_type("M"))
    np.testing.assert_array_equal(as_scanned(written(tmp_path, [one]) / IMAGE), one.values)


def test_settings_of_the_user_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".dcm2nii.ini").write_text("isGZ=1\nfilename=%n_%p\nisFlipY=0\n")
    one = Series(3, pixels(1), of_type("M"))
    np.testing.assert_array_equal(as_scanned(written(tmp_path, [one]) / IMAGE), one.values)
    assert (tmp_path / ".dcm2nii.ini").read_text().startswith("isGZ=1")


@pytest.mark.parametrize("name", ["über $HOME 'x'", "a" * 200])
def test_any_name_of_a_folder_will_do(name: str, tmp_path: Path) -> None:
    one = Series(3, pixels(1), of_type("M"))
    np.testing.assert_array_equal(as_scanned(written(tmp_path / name, [one]) / IMAGE), one.values)


@pytest.mark.parametrize(
    "orientation",
    [
        [1, 0, 0, 0, 1, 0],  # axial
        [-1, 0, 0, 0, -1, 0],  # axial, seen the other way about
        [1, 0, 0, 0, -1, 0],  # axial, from above
        [1, 0, 0, 0, 0, -1],  # coronal
        [0, 1, 0, 0, 0, -1],  # sagittal
        [0.8, 0.6, 0, 0.36, -0.48, -0.8],  # oblique
    ],
)
def test_voxels_lie_where_they_lay_in_any_orientation(orientation: list[float], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(making, "ORIENTATION", [float(value) for value in orientation])
    one = Series(3, pixels(1), of_type("M"))
    np.testing.assert_array_equal(as_scanned(written(tmp_path, [one]) / IMAGE), one.values)


def refused(tmp_path: Path) -> str:
    with pytest.raises(InputError) as caught:
        import_dicom(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    (problem,) = caught.value.problems
    return problem


def test_pixels_that_are_not_all_there_are_told(tmp_path: Path) -> None:
    write_classic(tmp_path / "in", Series(3, pixels(1), of_type("M")))
    file = sorted((tmp_path / "in").iterdir())[1]
    file.write_bytes(file.read_bytes()[:-100])
    assert refused(tmp_path).startswith(f"{file}: pixels cannot be read (1820 of 1920 bytes are there)")


def test_a_converter_that_makes_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classic(tmp_path / "in", Series(3, pixels(1), of_type("M")))
    monkeypatch.setattr(dcm2niix, "bin", "false" if os.name == "posix" else "where")
    assert "dcm2niix cannot read its pixels (no image of it was made); export it uncompressed" in refused(tmp_path)
    monkeypatch.setattr(dcm2niix, "bin", str(tmp_path / "absent"))
    assert "cannot be started (No such file or directory); pip install" in refused(tmp_path)


def test_voxels_that_cannot_be_are_told_by_the_file_of_the_user(tmp_path: Path) -> None:
    write_classic(tmp_path / "in", Series(3, pixels(1), of_type("M", PixelSpacing=[900.0, 900.0])))
    problem = refused(tmp_path)
    assert problem.startswith(str(tmp_path / "in")) and "voxel size" in problem


def test_nothing_of_the_work_is_left(tmp_path: Path) -> None:
    out = written(tmp_path, siemens())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert {path.suffix for path in out.iterdir()} == {".gz", ".json"}
    json.loads((out / "scan.json").read_text())
