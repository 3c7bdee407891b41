"""``segment --dicom-seg``: the mask beside the scanner's images, only where it was asked for and can be."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.dicom.making import Series, of_type, write_classic
from tests.segmentation.conftest import leg_scan

import musclesense as ms
from musclesense.cli.main import main
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.vocabulary import Region


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom's thighs as a scanner's fat images."""
    scan = leg_scan(Region.THIGH, (0.45, 0.5, 0.55), channel="fat", codes="LPS")
    stored = scan.channels["fat"].transpose(2, 1, 0).astype(np.uint16)
    made = tmp_path_factory.mktemp("scan") / "dicom"
    write_classic(made, Series(5, stored, of_type("DIXON", "FAT"), places=range(3)))
    return made


def segment(*given: object, out: Path) -> None:
    main(["segment", *map(str, given), "--region", "thigh", "--model", "any_contrast", "--fast", "--out", str(out)])


def test_the_mask_of_a_dicom_folder_is_written_as_one_where_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    out = tmp_path / "out"
    segment(folder, "--dicom-seg", out=out)
    mask, found = read_volume(out / "mask.nii.gz").data, hd.seg.segread(out / "mask.dcm")
    numbers = [
        own.SegmentIdentificationSequence[0].ReferencedSegmentNumber for own in found.PerFrameFunctionalGroupsSequence
    ]
    for number in (1, 2):
        own = found.pixel_array[np.array(numbers) == number]
        assert own.sum() == (mask == number).sum() and own.any()
    assert found.PatientID == pydicom.dcmread(next(folder.iterdir())).PatientID
    record = json.loads((out / "run.json").read_text())
    assert "mask.dcm" in record["results"] and "Doe" not in (out / "run.json").read_text()
    segment(folder, out=out)  # without it, that of an earlier call does not stay
    assert not (out / "mask.dcm").exists() and (out / "mask.nii.gz").exists()


def test_python_writes_what_the_command_writes(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    segment(folder, "--dicom-seg", out=tmp_path / "command")
    made = ms.segment(folder, region="thigh", model="any_contrast", effort="fast", dicom_seg=True)
    with pytest.raises(ms.InputError, match=r"^anonymous=True: mask\.dcm names the patient; leave one out$"):
        made.save(tmp_path / "nobody", anonymous=True)
    assert not (tmp_path / "nobody").exists()
    made.save(tmp_path / "python")
    command, python = (json.loads((tmp_path / own / "run.json").read_text()) for own in ("command", "python"))
    assert command["results"].keys() == python["results"].keys() and "mask.dcm" in python["results"]
    files = [pydicom.dcmread(tmp_path / own / "mask.dcm") for own in ("command", "python")]
    # Each file has identifiers and a time of its own.
    said = [[line for line in str(file).splitlines() if not re.search(" (UI|DA|TM|DT): ", line)] for file in files]
    assert said[0] == said[1] and len(said[0]) > 100
    assert files[0].PixelData == files[1].PixelData


@pytest.mark.parametrize(
    ("channel", "said"), [("fat", "goes with a scan that is DICOM"), ("image", "goes with a scan")]
)
def test_python_refuses_it_of_other_scans_before_the_work(
    channel: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musclesense.intake.dicom_seg.find_spec", lambda _: True)
    monkeypatch.setattr("musclesense.segmentation.segmenter.segment", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(ms.InputError, match=f"^dicom_seg: {said}"):
        ms.segment(leg_scan(Region.THIGH, (0.5,), channel=channel), dicom_seg=True)


def test_images_that_make_none_are_told_of_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    monkeypatch.setattr("musclesense.segmentation.segmenter.segment", lambda *_, **__: pytest.fail("worked"))
    for file in shutil.copytree(folder, tmp_path / "in").iterdir():
        image = pydicom.dcmread(file)
        del image.StudyInstanceUID
        image.save_as(file)
    with pytest.raises(SystemExit, match="2"):
        segment(tmp_path / "in", "--dicom-seg", out=tmp_path / "out")
    assert "makes no DICOM segmentation (" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_scans_of_a_table_that_are_dicom_have_one(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    scan = leg_scan(Region.THIGH, (0.5,))
    write_volume(tmp_path / "fat.nii.gz", scan.channels["image"], scan.geometry, np.float32)
    (tmp_path / "cohort.csv").write_text(f"subject,region,scan,fat\nA,thigh,{folder},\nB,thigh,,fat.nii.gz\n")
    given = ["segment", "--cohort", str(tmp_path / "cohort.csv"), "--model", "any_contrast", "--fast", "--dicom-seg"]
    main([*given, "--out", str(tmp_path / "out")])
    assert [file.parent.name for file in (tmp_path / "out").glob("*/mask.dcm")] == ["A-thigh"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--dicom-seg", "--anonymous"), "--dicom-seg: holds the patient's name and number, as DICOM does; leave out"),
        (("--dicom-seg",), "--dicom-seg: its package is not installed; pip install 'musclesense[dicom]'"),
    ],
)
def test_it_is_refused_where_nobody_may_be_named_or_a_package_lacks(
    given: tuple[str, ...], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("musclesense.intake.dicom_seg.find_spec", lambda _: None)
    for scan in ((folder,), ("--cohort", tmp_path / "cohort.csv")):
        with pytest.raises(SystemExit, match="2"):
            main(["segment", *map(str, scan), *given, "--out", str(tmp_path / "out")])
        assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_scan_that_is_no_dicom_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musclesense.intake.dicom_seg.find_spec", lambda _: True)
    scan = leg_scan(Region.THIGH, (0.5,))
    write_volume(tmp_path / "fat.nii.gz", scan.channels["image"], scan.geometry, np.float32)
    with pytest.raises(SystemExit, match="2"):
        segment("--fat", tmp_path / "fat.nii.gz", "--dicom-seg", out=tmp_path / "out")
    assert capsys.readouterr().err == "error: --dicom-seg: goes with a scan that is DICOM; leave it out\n"
    assert not (tmp_path / "out").exists()
