"""DICOM as a scan: what is taken of what a folder holds, and what is kept of images that are made on the way."""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="reads DICOM")

from tests.dicom.making import Series, as_scanned, ge, of_type, philips, pixels, siemens, vendor_dixon, write_classic

import musclesense as ms
from musclesense.cli.main import main
from musclesense.dicom.load import import_dicom
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.intake.found import find, read

from ..segmentation.conftest import write_run


def put(folder: Path, many: Sequence[Series], write: Callable[..., None] = write_classic) -> Path:
    for series in many:
        write(folder, series)
    return folder


def taken(many: Sequence[Series], folder: Path) -> dict[str, str]:
    import_dicom(put(folder / "in", many), folder / "out")
    return {
        name: " ".join(str(one).removesuffix(".nii.gz") for one in (image if isinstance(image, tuple) else (image,)))
        for name, image in find(folder / "out").images.items()
    }


@pytest.mark.parametrize("many", [siemens(), philips(), ge()])
def test_three_echoes_of_three_vendors_are_taken_with_their_phases(many: list[Series], tmp_path: Path) -> None:
    parts = ("real", "imag") if many[0].private.get((0x43, 0x2F)) else ("mag", "phase")
    assert taken(many, tmp_path) == {
        echo: " ".join(f"scan_echo-{number}_part-{part}_MEGRE" for part in parts)
        for number, echo in enumerate(ms.Echo, 1)
    }


@pytest.mark.parametrize(
    ("many", "images"),
    [
        ([Series(3, pixels(1), of_type("M"))], {"image": "scan_image"}),
        (vendor_dixon(), {"fat": "scan_fat", "water": "scan_water"}),
        (vendor_dixon()[:1], {"fat": "scan_fat"}),
        (vendor_dixon()[1:2], {"image": "scan_water"}),
        (vendor_dixon()[2:], {"image": "scan_inphase"}),
        ([Series(3, pixels(n), of_type("M", te=10.0 * n)) for n in (2, 1)], {"image": "scan_echo-1_part-mag_MEGRE"}),
    ],
)
def test_what_is_there_is_taken(many: list[Series], images: dict[str, str], tmp_path: Path) -> None:
    assert taken(many, tmp_path) == images


@pytest.mark.parametrize(
    ("shift", "separated"), [(-0.04, True), (0.02, True), (0.04, True), (-0.2, False), (0.07, False)]
)
def test_echo_times_may_be_rounded_and_others_are_not_those_of_the_paper(
    shift: float, separated: bool, tmp_path: Path
) -> None:
    many = [replace(one, tags={**one.tags, "EchoTime": one.tags["EchoTime"] + shift}) for one in siemens()]
    assert ("te345" in taken(many, tmp_path)) == separated


def test_dicom_is_read_on_the_way_and_leaves_nothing_behind(tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    many, folder = vendor_dixon(), tmp_path / "Doe^Jane"
    scan = read(put(folder, many))
    assert [*scan.channels] == ["fat", "water"] and dict(scan.files) == {"dicom": folder}
    assert f"{folder}: taken: fat scan_fat.nii.gz; water scan_water.nii.gz" in caplog.text
    assert [*(tmp_path / "temporary").iterdir()] == []
    with pytest.raises(InputError, match=r"several scans|does not go|lie at one position|go together"):
        read(put(folder, [Series(3, pixels(1)[:, :20], of_type("M"))]))
    assert [*(tmp_path / "temporary").iterdir()] == []


@pytest.mark.parametrize(
    ("many", "kept"),
    [(vendor_dixon(), ["fat", "fat_fraction", "water"]), ([Series(3, pixels(1), of_type("M"))], ["image"])],
)
def test_images_that_were_made_of_dicom_are_kept_beside_the_mask(
    many: list[Series], kept: list[str], tmp_path: Path
) -> None:
    channel = "fat" if "fat" in kept else "image"
    model = write_run(tmp_path / "runs" / "s" / "outer0_inner0", channels=[channel], placed_by=channel)
    folder, out = put(tmp_path / "Doe^Jane", many), tmp_path / "out"
    for _ in range(2):  # a second call replaces the first
        main(["segment", str(folder), "--region", "thigh", "--model", str(model), "--out", str(out), "--limbs", "one"])
    np.testing.assert_array_equal(as_scanned(out / f"{kept[0]}.nii.gz"), many[0].values)
    assert [name for name in ("fat", "fat_fraction", "image", "water") if (out / f"{name}.nii.gz").exists()] == kept
    assert read_volume(out / "mask.nii.gz").geometry.difference(read_volume(out / f"{kept[0]}.nii.gz").geometry) is None
    record = json.loads((out / "run.json").read_text())
    assert record["inputs"]["dicom"]["file"] == str(folder)
    digest = record["inputs"]["dicom"]["sha256"]
    made = ms.segment(folder, model=model, region="thigh", limbs="one").save(tmp_path / "again", anonymous=True)
    assert json.loads((made / "run.json").read_text())["inputs"] == {"dicom": {"sha256": digest}}
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_of_several_scans_one_is_chosen_by_the_numbers_of_its_series(tmp_path: Path, capsys) -> None:
    many = [replace(one, number=one.number + 10 * scan) for scan in (0, 1) for one in vendor_dixon()[:2]]
    folder = put(tmp_path / "in", many)
    with pytest.raises(InputError, match="choose the series of one scan, such as --series"):
        ms.read_scan(folder)
    numbers = [one.number for one in many[2:]]
    scan = ms.read_scan(folder, series=numbers)
    assert {"fat", "water"} <= {*scan.channels}
    with pytest.raises(SystemExit, match="2"):
        main(["segment", str(folder), "--series", "999", "--out", str(tmp_path / "out")])
    assert "error: --series 999: not in" in capsys.readouterr().err
    nifti = tmp_path / "files"
    import_dicom(folder, nifti, numbers)
    with pytest.raises(InputError, match=r"series: goes with DICOM, which .* is not"):
        ms.read_scan(nifti, series=numbers)
