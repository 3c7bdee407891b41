"""A tree of folders becomes a cohort table, however people keep their scans."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from musclesense.cli.main import main
from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.intake.tree import find_scans
from musclesense.vocabulary import Region

from .test_found import PAIRS, put

PAIR_NAMES = [name for pair in PAIRS.values() for name in pair]


def table_of(root: Path, region: Region | None = Region.THIGH) -> list[tuple[Any, ...]]:
    """Make the table, read it again, and give who is in it with what."""
    out = root.parent / "cohort.csv"
    find_scans(root, out, region)
    return [
        (
            row.subject,
            row.session,
            str(row.region),
            row.scan.resolve().relative_to(root.resolve()).as_posix()
            if row.scan
            else {name: file.resolve().relative_to(root.resolve()).as_posix() for name, file in row.channels.items()},
        )
        for row in read_table(out).acquisitions
    ]


def images(folder: str, *names: str) -> dict[str, str]:
    return {name: f"{folder}/{name}.nii.gz" for name in names}


def test_a_folder_a_subject(tmp_path: Path) -> None:
    for name in ("S001", "S002"):
        put(tmp_path / "all" / name, "fat", "water", "mask")
    put(tmp_path / "all" / "S003" / "dixon", *PAIR_NAMES)
    put(tmp_path / "all" / "S004", "t1")
    assert table_of(tmp_path / "all") == [
        ("S001", "", "thigh", images("S001", "fat", "water")),
        ("S002", "", "thigh", images("S002", "fat", "water")),
        ("S003", "", "thigh", "S003/dixon"),
        ("S004", "", "thigh", {"image": "S004/t1.nii.gz"}),
    ]


def test_sessions_and_regions_are_told_by_folders(tmp_path: Path) -> None:
    for visit in ("baseline", "month 12"):
        for region in ("calf", "Thigh"):
            put(tmp_path / "all" / "S001" / visit / region, "fat", "water")
    assert [row[:3] for row in table_of(tmp_path / "all", None)] == [
        ("S001", "baseline", "thigh"),
        ("S001", "baseline", "calf"),
        ("S001", "month 12", "thigh"),
        ("S001", "month 12", "calf"),
    ]


def test_bids(tmp_path: Path) -> None:
    for subject, session in (("01", "1"), ("01", "2"), ("02", "1")):
        folder = tmp_path / "bids" / f"sub-{subject}" / f"ses-{session}" / "mr-quant"
        put(folder, *(f"sub-{subject}_ses-{session}_{kind}" for kind in ("fat", "water", "inphase")))
    assert [row[:2] for row in table_of(tmp_path / "bids")] == [
        ("sub-01", "ses-1"),
        ("sub-01", "ses-2"),
        ("sub-02", "ses-1"),
    ]


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        (["S001_fat", "S001_water", "S002_fat", "S002_water"], ["S001", "S002"]),
        (["MS-7_Dixon345", "MS-7_Dixon460", "MS-7_Dixon575", "HC-1_Dixon345", "HC-1_Dixon460", "HC-1_Dixon575"], None),
        (["sub-01_ses-1_fat", "sub-01_ses-1_water", "sub-02_ses-1_fat"], ["sub-01", "sub-02"]),
        (["Anna_F", "Anna_W", "Bob_F", "Bob_W"], ["Anna", "Bob"]),
        (["GT01_Dixon-Fat", "GT01_Dixon-Water", "GT01_in_phase", "FF2.vibe_fat", "FF2.vibe_water"], ["FF2", "GT01"]),
    ],
)
def test_images_of_all_subjects_in_one_folder(names: Sequence[str], subjects: list[str] | None, tmp_path: Path) -> None:
    put(tmp_path / "all", *names)
    rows = table_of(tmp_path / "all")
    assert sorted(row[0] for row in rows) == (subjects or ["HC-1", "MS-7"])
    for subject, _, _, found in rows:
        assert all(file.startswith(subject) for file in found.values()) and found


def test_what_is_ambiguous_is_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "all" / "S001", "fat", "water")
    put(tmp_path / "all" / "S002", "fat", "fat_img")
    put(tmp_path / "all" / "S003", "mask")
    assert [row[0] for row in table_of(tmp_path / "all")] == ["S001"]
    assert "left out: " in caplog.text and "several images are fat: fat.nii.gz, fat_img.nii.gz" in caplog.text
    assert "holds no image of a scan that its name tells of: mask.nii.gz" in caplog.text


def test_two_subjects_are_never_taken_for_one(tmp_path: Path) -> None:
    put(tmp_path / "all" / "S001", "fat")
    put(tmp_path / "all" / "S002", "water")
    assert [row[3] for row in table_of(tmp_path / "all")] == [
        {"fat": "S001/fat.nii.gz"},
        {"image": "S002/water.nii.gz"},
    ]


def test_what_makes_no_table_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "cohort.csv"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no scan; give a folder with a folder for each subject"):
        find_scans(tmp_path / "empty", out)
    with pytest.raises(InputError, match="no such folder; correct the path"):
        find_scans(tmp_path / "missing", out)
    put(tmp_path / "all" / "S001", "fat")
    with pytest.raises(InputError, match=r"--region: no name tells that of .*S001; give calf or thigh"):
        find_scans(tmp_path / "all", out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(InputError, match=r"cohort\.csv: exists already"):
        find_scans(tmp_path / "all", out, Region.CALF)
    assert out.read_text() == "mine"


def test_the_command_shows_the_table_and_what_comes_next(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "all" / "S001" / "thigh", "fat", "water")
    put(tmp_path / "all" / "S002" / "thigh", *PAIR_NAMES)
    main(["find-scans", "all", "--out", "cohort.csv"])
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "subject  session  region  images",
        "S001              thigh   fat, water",
        "S002              thigh   all/S002/thigh",
    ]
    assert "next: look at cohort.csv, then musclesense segment --cohort cohort.csv --out DIR" in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_the_table_is_whole_though_it_cannot_be_shown(tmp_path: Path) -> None:
    """Work is not thrown away since the terminal's disk is full: the line says that the files are whole."""
    put(tmp_path / "all" / "S001" / "thigh", "fat", "water")
    for out, shown in (("shown.csv", os.devnull), ("unseen.csv", "/dev/full")):
        command = [sys.executable, "-m", "musclesense", "find-scans", "all", "--out", out]
        with Path(shown).open("w") as stdout:
            done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert done.returncode == (2 if shown == "/dev/full" else 0)
    assert done.stderr.splitlines()[-1].endswith("write it elsewhere; files of the command are whole")
    assert (tmp_path / "unseen.csv").read_bytes() == (tmp_path / "shown.csv").read_bytes()


def test_dicom_of_subjects_is_one_scan_each_or_several(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="reads DICOM")
    from tests.dicom.making import Series, of_type, pixels, vendor_dixon, write_classic

    for name, many in (
        ("S001", vendor_dixon()),
        ("S002", [Series(3, pixels(1), of_type("M")), Series(4, pixels(2)[:, :20], of_type("M"))]),
    ):
        for series in many:
            write_classic(tmp_path / "all" / name / "study" / f"series{series.number}", series)
    assert [(row[0], row[3]) for row in table_of(tmp_path / "all")] == [
        ("S001", "S001"),
        ("S002", "S002/study/series3"),
        ("S002", "S002/study/series4"),
    ]


def test_a_subject_named_as_in_bids_may_have_sessions_that_are_not(tmp_path: Path) -> None:
    for visit in ("baseline", "2024-01-31"):
        put(tmp_path / "all" / "sub-01" / visit / "anat", "sub-01_fat")
    assert [row[:2] for row in table_of(tmp_path / "all")] == [("sub-01", "2024-01-31"), ("sub-01", "baseline")]


def test_two_regions_in_the_folder_of_a_subject(tmp_path: Path) -> None:
    put(tmp_path / "all" / "S001", *(f"{region}_{kind}" for region in ("calf", "thigh") for kind in ("fat", "water")))
    assert [row[:3] for row in table_of(tmp_path / "all", None)] == [("S001", "", "calf"), ("S001", "", "thigh")]
