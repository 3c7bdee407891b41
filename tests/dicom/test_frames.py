"""Files become frames; what is no image is left out, and what is damaged is named."""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydicom", reason="reads DICOM")

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)
from tests.dicom.making import GE, PHILIPS, SLICES, Series, of_type, pixels, siemens, write_classic, write_enhanced

from musclesense.dicom.frames import read_frames
from musclesense.errors import InputError

ONE = Series(3, pixels(1), of_type("M"))


def _write_other(path: Path, storage: str, **tags: Any) -> None:
    """Write a DICOM file that is no image."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = storage, "1.2.3"
    for name, value in tags.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)


def test_files_are_found_in_folders_below_and_what_is_no_image_is_counted(tmp_path: Path) -> None:
    write_classic(tmp_path / "a" / "b", ONE)
    (tmp_path / "a" / "notes.txt").write_text("a scan")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 300)
    (tmp_path / "empty").touch()
    _write_other(tmp_path / "report", EnhancedSRStorage, Modality="SR")
    found = read_frames(tmp_path)
    assert len(found.frames) == SLICES and found.others == 4


def test_a_folder_with_a_directory_of_its_files_is_read(tmp_path: Path) -> None:
    write_classic(tmp_path / "IMAGES", ONE)
    record = Dataset()
    record.DirectoryRecordType, record.PatientName, record.PatientID = "PATIENT", "Doe^Jane", "Doe^Jane"
    _write_other(tmp_path / "DICOMDIR", MediaStorageDirectoryStorage, DirectoryRecordSequence=[record])
    found = read_frames(tmp_path)
    assert len(found.frames) == SLICES and found.others == 1


def test_a_copy_of_a_file_counts_once(tmp_path: Path) -> None:
    write_classic(tmp_path / "a", ONE)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert len(read_frames(tmp_path).frames) == SLICES


def test_slices_under_one_identifier_are_not_taken_for_copies(tmp_path: Path) -> None:
    write_classic(tmp_path, ONE)
    for file in tmp_path.iterdir():
        slice_ = pydicom.dcmread(file)
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        slice_.save_as(file)
    assert len(read_frames(tmp_path).frames) == SLICES


def test_a_picture_inside_an_image_is_none_of_its_frames(tmp_path: Path) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.PixelData = bytes(64)
    icon["PixelData"].VR = "OB"
    write_classic(tmp_path, Series(3, ONE.stored, of_type("M", IconImageSequence=[icon])))
    assert {frame.size for frame in read_frames(tmp_path).frames} == {(40, 24)}


def test_frames_of_enhanced_images_say_what_each_of_them_is(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "all", siemens())
    frames = read_frames(tmp_path / "all").frames
    assert len(frames) == 6 * SLICES
    assert {(*frame.kinds, frame.echo_ms, *frame.scale) for frame in frames} == {
        (kind, te, *scale) for te in (3.45, 4.6, 5.75) for kind, scale in (("mag", (1, 0)), ("phase", (2, -4096)))
    }


@pytest.mark.parametrize(
    ("tags", "scale"),
    [({}, (1.5, 3.0)), (PHILIPS, (1 / 0.02, 3.0 / (1.5 * 0.02))), (GE, (1.5, 3.0))],
)
@pytest.mark.parametrize(
    ("syntax", "kind", "stored"),
    [
        (ExplicitVRLittleEndian, "FL", 0.02),
        (ImplicitVRLittleEndian, "FL", 0.02),
        (ExplicitVRLittleEndian, "UN", struct.pack("<f", 0.02)),
    ],
)
def test_the_scale_of_philips_is_the_one_that_compares_between_images(
    tags, scale, syntax: str, kind: str, stored: Any, tmp_path: Path
) -> None:
    private = {(0x2005, 0x0E): ("Philips MR Imaging DD 001", kind, stored)}
    one = Series(3, ONE.stored, of_type("M", **tags), private, slope=1.5, intercept=3.0)
    write_classic(tmp_path, one, syntax=syntax)
    assert read_frames(tmp_path).frames[0].scale == pytest.approx(scale)


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(128) + b"DICM" + bytes(30)])
def test_without_an_image_there_is_nothing_to_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=r"holds no MR image in DICOM|damaged DICOM file"):
        read_frames(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "nothing/below"])
def test_a_path_to_nothing_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name}: no such folder; correct the path"):
        read_frames(tmp_path / name)


def test_a_file_that_may_not_be_read_is_named_and_not_left_out(tmp_path: Path, monkeypatch) -> None:
    write_classic(tmp_path, ONE)
    closed = sorted(tmp_path.iterdir())[-1]
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)  # root may read all
    with pytest.raises(InputError) as caught:
        read_frames(tmp_path)
    assert str(caught.value) == f"{closed}: cannot be read (permission denied); correct its permissions"


def test_images_of_another_modality_are_none(tmp_path: Path) -> None:
    write_classic(tmp_path, Series(3, ONE.stored, of_type("M", Modality="CT")))
    with pytest.raises(InputError, match="holds no MR image"):
        read_frames(tmp_path)


@pytest.mark.parametrize("kept", [200, 700, 1100])
def test_a_file_that_ends_early_is_named_and_not_left_out(kept: int, tmp_path: Path, caplog) -> None:
    write_classic(tmp_path, ONE)
    file = sorted(tmp_path.iterdir())[2]
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError) as caught:
        read_frames(tmp_path)
    assert str(caught.value).startswith(f"{file}: damaged DICOM file (")
    assert not caplog.records
