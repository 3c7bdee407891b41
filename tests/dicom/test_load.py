"""From a DICOM folder to images that the other commands take: names, figures, what is left out, privacy."""

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="reads DICOM")

from pydicom import Dataset
from tests.dicom.making import (
    COLUMNS,
    GE,
    PHILIPS,
    ROWS,
    SIEMENS,
    SLICES,
    TIMES,
    Series,
    as_scanned,
    ge,
    of_type,
    philips,
    pixels,
    siemens,
    vendor_dixon,
    write_classic,
    write_enhanced,
)

import musclesense as ms
from musclesense.cli.main import main
from musclesense.dicom.load import import_dicom
from musclesense.errors import InputError

FOUR = ("fat", "water", "inphase", "outphase")


def put(folder: Path, many: Sequence[Series], write: Callable[..., None] = write_classic) -> None:
    if write is write_enhanced:
        write_enhanced(folder / "IM0", many)
    for series in many if write is write_classic else ():
        write_classic(folder, series)


def named(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def echo_names(*parts: str) -> list[str]:
    return sorted(f"scan_echo-{echo}_part-{part}_MEGRE.nii.gz" for echo in (1, 2, 3) for part in parts)


@pytest.mark.parametrize(
    ("many", "parts"), [(siemens(), ("mag", "phase")), (philips(), ("mag", "phase")), (ge(), ("mag", "real", "imag"))]
)
@pytest.mark.parametrize("write", [write_classic, write_enhanced])
def test_echoes_of_three_vendors(many: list[Series], parts: Sequence[str], write: Any, tmp_path: Path) -> None:
    if write is write_enhanced and "real" in parts:
        words = ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"] * 3
        many = [
            replace(one, private={}, tags={**one.tags, "ComplexImageComponent": word})
            for one, word in zip(many, words, strict=True)
        ]
    put(tmp_path / "in", many, write)
    import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path / "out") == ["scan.json", *echo_names(*parts)]
    assert json.loads((tmp_path / "out" / "scan.json").read_text())["echo_times_ms"] == list(TIMES)


@pytest.mark.parametrize("tags", [SIEMENS, PHILIPS, GE])
@pytest.mark.parametrize("write", [write_classic, write_enhanced])
def test_vendor_dixon_of_four_images(tags: dict[str, Any], write: Any, tmp_path: Path) -> None:
    many = vendor_dixon(**tags)
    put(tmp_path / "in", many, write)
    import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path / "out") == sorted([*(f"scan_{name}.nii.gz" for name in FOUR), "scan.json"])
    for one, name in zip(many, FOUR, strict=True):
        np.testing.assert_array_equal(as_scanned(tmp_path / "out" / f"scan_{name}.nii.gz"), one.values)


def test_frames_that_a_private_group_alone_tells_apart(tmp_path: Path) -> None:
    words = {20: "F", 21: "W", 22: "IP", 23: "OP"}

    def private(frame: Any, series: Series, index: int) -> None:
        inner = Dataset()
        inner.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x11, "CS", words[series.number])
        frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", [inner])

    mixed = ["ORIGINAL", "PRIMARY", "T1", "MIXED"]
    many = [replace(one, tags={**one.tags, "ImageType": mixed}) for one in vendor_dixon(**PHILIPS)]
    write_enhanced(tmp_path / "in" / "IM0", many, private_group=private)
    import_dicom(tmp_path / "in", tmp_path / "out")
    for one, name in zip(many, FOUR, strict=True):
        np.testing.assert_array_equal(as_scanned(tmp_path / "out" / f"scan_{name}.nii.gz"), one.values)


def test_echoes_are_numbered_by_time_with_as_many_digits_as_it_takes(tmp_path: Path) -> None:
    times = [float(time) for time in range(30, 6, -2)]
    put(tmp_path / "in", [Series(3, pixels(n), of_type("M", te=te)) for n, te in enumerate(times)])
    import_dicom(tmp_path / "in", tmp_path / "out")
    names = [f"scan_echo-{number:02d}_part-mag_MEGRE.nii.gz" for number in range(1, 13)]
    assert named(tmp_path / "out") == sorted([*names, "scan.json"])
    np.testing.assert_array_equal(as_scanned(tmp_path / "out" / names[0]), pixels(11))


def test_spin_echoes_are_called_so(tmp_path: Path) -> None:
    many = [Series(3, pixels(n), of_type("M", te=10.0 * n, ScanningSequence="SE")) for n in (1, 2)]
    put(tmp_path / "in", many)
    import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path / "out")[1:] == [f"scan_echo-{n}_part-mag_MESE.nii.gz" for n in (1, 2)]


def test_the_phase_of_ge_alone_is_taken_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "in", [one for one in ge() if one.private[0x43, 0x2F][2] < 2])
    import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path / "out") == ["scan.json", *echo_names("mag", "phase")]
    assert "the phase that GE stores need not be the angle" in caplog.text


def limb() -> tuple[np.ndarray, np.ndarray]:
    """Water and fat of a limb, (slices, rows, columns): muscle of 20 percent fat inside subcutaneous fat."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    radius = np.hypot((rows - ROWS / 2) / ROWS, (columns - COLUMNS / 2) / COLUMNS)
    body, muscle = radius < 0.42, radius < 0.3
    fat = np.where(muscle, 400.0, np.where(body, 1800.0, 0.0))
    return np.repeat((np.where(body, 2000.0, 0.0) - fat)[None], SLICES, 0), np.repeat(fat[None], SLICES, 0)


def scanned_limb(parts: str) -> list[Series]:
    """Scan the limb, and store it as Siemens (magnitude and phase) or as GE (real and imaginary)."""
    noise = np.random.default_rng(1)
    water, fat = limb()
    many = []
    for te in TIMES:
        together = 1 if te == 4.6 else -1  # half a turn from echo to echo
        signal = (water + together * fat) * np.exp(0.3j + 0.2j * (te - 4.6))
        signal += noise.normal(0, 5, fat.shape) + 1j * noise.normal(0, 5, fat.shape)
        if parts == "magnitude and phase":
            phase = np.rint((np.angle(signal) / np.pi + 1) / 2 * 4095).astype(np.uint16)
            many.append(Series(3, np.rint(np.abs(signal)).astype(np.uint16), of_type("M", te=te)))
            many.append(Series(4, phase, of_type("P", te=te), slope=2.0, intercept=-4096.0))
            continue
        for number, part in ((2, signal.real), (3, signal.imag)):
            private = {(0x43, 0x2F): ("GEMS_PARM_01", "SS", number)}
            many.append(Series(7, np.rint(part).astype(np.int16), of_type("OTHER", te=te, **GE), private))
    return many


@pytest.mark.parametrize("parts", ["magnitude and phase", "real and imaginary"])
def test_fat_and_water_of_what_was_imported_are_those_of_the_limb(parts: str, tmp_path: Path) -> None:
    put(tmp_path / "in", scanned_limb(parts))
    import_dicom(tmp_path / "in", tmp_path / "out")
    scan = ms.read_scan(tmp_path / "out")
    assert scan.fat_fraction is not None
    fractions = scan.fat_fraction.transpose(2, 1, 0)[:, ::-1]
    assert np.median(fractions[limb()[0] > 1500]) == pytest.approx(20, abs=1)


def test_figures_of_the_scan_are_kept_and_nothing_that_names_a_person(tmp_path: Path) -> None:
    put(tmp_path / "Doe^Jane", [*siemens(), *vendor_dixon()])
    import_dicom(tmp_path / "Doe^Jane", tmp_path / "out")
    header = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert {key: value for key, value in header.items() if key != "images"} == {
        "format": 1,
        "echo_times_ms": list(TIMES),
        "field_strength_tesla": 3.0,
        "larmor_mhz": 123.25,
        "repetition_time_ms": 125.0,
        "flip_angle_degrees": 10.0,
    }
    assert header["images"]["scan_outphase.nii.gz"] == {"kind": "out of phase", "echo_time_ms": 1.23, "series": 23}
    for file in (tmp_path / "out").iterdir():
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert not re.search(rb"Doe|Jane|19700203|20200203|101112|Hospital", content[:400] + content[-400:])


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    put(tmp_path / "in", siemens())
    for name in ("a", "b"):
        import_dicom(tmp_path / "in", tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    put(tmp_path / "in", vendor_dixon())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="exists already"):
        import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path / "out") == ["mine"]


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    put(tmp_path / "in", vendor_dixon())
    left = tmp_path / ".out.0123abcd.draft" / "work"
    left.mkdir(parents=True)
    (left / "1-1.dcm").write_bytes(b"a patient")
    import_dicom(tmp_path / "in", tmp_path / "out")
    assert named(tmp_path) == ["in", "out"]


def test_the_command_writes_images_and_says_what_comes_next(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "in", [*vendor_dixon(), Series(3, pixels(1)[:, :20], of_type("M"))])
    with pytest.raises(SystemExit) as ended:
        main(["import-dicom", "in", "--out", "out"])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and all(line.startswith("error: in: ") for line in lines) and len(lines) == 7
    assert named(tmp_path) == ["in"]
    main(["import-dicom", "in", "--out", "out", "--series", "20", "21"])
    said = capsys.readouterr()
    assert said.out == "out\n" and said.err == ("next: musclesense segment out --out DIR\n")
    assert named(tmp_path / "out") == ["scan.json", "scan_fat.nii.gz", "scan_water.nii.gz"]
