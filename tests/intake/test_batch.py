"""Many scans of a table: masks and one table; what was done is not done again, and one bad scan ends nothing."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from musclesense.cli.main import main
from musclesense.cohort.table import read_table, write_table
from musclesense.errors import InputError
from musclesense.imaging.digests import image_digest
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.intake import batch
from musclesense.intake.batch import How, segment_table
from musclesense.segmentation.measuring import COLUMNS, ERODED_COLUMNS
from musclesense.segmentation.segmenter import Segmenter
from musclesense.studies.layout import StudyFolder

from ..segmentation.conftest import FOLDS, fat_of, write_run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network that finds muscle wherever the fat image is bright."""
    return write_run(tmp_path / "runs" / "alone" / "outer0_inner0", channels=["fat"])


def written(out: Path) -> dict[str, int]:
    """When each result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/run.json")}


def whole(out: Path) -> "pandas.DataFrame":
    table = pandas.read_csv(out / "measurements.csv", dtype=str, keep_default_na=False)
    return table[table["slice"] == "all"]


# Networks of a study


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_cohort_is_segmented_out_of_fold(
    study: StudyFolder,
    cohort: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: bool,
) -> None:
    """Of an old study, the table's bytes say that the cohort is its own."""
    if old:
        study.cohort.unlink()
    out = tmp_path / "masks"
    main(["segment", "--cohort", str(cohort), "--model", str(study.path), "--out-of-fold", "--out", str(out)])
    assert capsys.readouterr().out == f"{out / 'cohort.csv'}\n"
    made, given = read_table(out / "cohort.csv").acquisitions, read_table(cohort).acquisitions
    assert [row.subject for row in made] == ["s/3", "s0", "s1", "s2", "s/3"]
    for row, of_cohort in zip(made, given, strict=True):
        assert row.mask is not None and row.mask.resolve().is_relative_to(out.resolve())
        mask = read_volume(row.mask)
        assert mask.data.any() == (mask.data[12, 12] == 1).all() == (row.subject in FOLDS[1])
        assert mask.geometry.difference(read_volume(of_cohort.channels["fat"]).geometry) is None
        assert image_digest(row.channels["fat"]) == image_digest(of_cohort.channels["fat"])


def _other_image(study: StudyFolder, cohort: Path, out: Path) -> None:
    shutil.copy(fat_of(cohort, 1), fat_of(cohort, 2))


def _other_row(study: StudyFolder, cohort: Path, out: Path) -> None:
    cohort.write_text(cohort.read_text().replace("s2,", "s9,"))


def _no_run(study: StudyFolder, cohort: Path, out: Path) -> None:
    for inner in (0, 1):
        study.run(1, inner).done.unlink()


def _own_table(study: StudyFolder, cohort: Path, out: Path) -> None:
    out.mkdir()
    shutil.copy(cohort, out / "cohort.csv")


def _own_measurements(study: StudyFolder, cohort: Path, out: Path) -> None:
    out.mkdir()
    (out / "measurements.csv").write_text("mine\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_other_image, r"scan2/fat\.nii\.gz: changed since"),
        (_other_row, r"cohort\.csv: lacks subject s2, thigh"),
        (_no_run, r"no finished run of outer=1, which tests 's2'; train it first"),
        (_own_table, r"cohort\.csv: exists already; give another folder"),
        (_own_measurements, r"measurements\.csv: exists already; give another folder"),
    ],
)
def test_nothing_is_written_where_it_is_another_cohort_or_another_folder(
    study: StudyFolder,
    cohort: Path,
    tmp_path: Path,
    change,
    told: str,
) -> None:
    out = tmp_path / "masks"
    change(study, cohort, out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=told):
        segment_table(cohort, out, How(model=study.path, out_of_fold=True))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_out_of_fold_takes_a_whole_study(cohort: Path, study: StudyFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out_of_fold: takes a study below runs/"):
        segment_table(cohort, tmp_path / "out", How(model=study.run(0, 0).path, out_of_fold=True))


# Any networks


def test_measurements_of_a_table_carry_subject_and_session(cohort: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    asked = ["--cohort", str(cohort), "--model", str(model), "--out", str(out)]
    main(["segment", *asked, "--erode", "9", "--slices", "0:0", "--with-cut", "--anonymous"])
    table = pandas.read_csv(out / "measurements.csv", dtype={"session": str}, keep_default_na=False)
    assert [*table.columns] == ["subject", "session", "region", "group", *COLUMNS, *ERODED_COLUMNS]
    visits = table[(table["slice"] == "all") & (table["subject"] == "s/3")]
    assert {*visits["session"]} == {"a", "b"} and {*table["counted_slices"]} == {0, 1}
    for row in read_table(out / "cohort.csv").acquisitions:
        assert row.mask is not None
        alone = pandas.read_csv(row.mask.parent / "measurements.csv")
        own = table[(table["subject"] == row.subject) & (table["session"] == row.session)]
        assert own["voxels"].tolist() == alone["voxels"].tolist()
        record = json.loads((row.mask.parent / "run.json").read_text())
        assert [*record["inputs"]["fat"]] == ["sha256"]


def test_what_was_done_is_not_done_again_and_what_changed_is(cohort: Path, model: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "out", How(model=model)
    assert segment_table(cohort, out, how) == []
    first, table = written(out), whole(out)
    assert segment_table(cohort, out, how) == [] and written(out) == first
    volume = read_volume(fat_of(cohort, 2))
    write_volume(fat_of(cohort, 2), volume.data[::-1] * 2, volume.geometry, np.float32)
    shutil.copy(cohort, cohort.with_name("longer.csv"))
    rows = read_table(cohort).acquisitions
    write_table(cohort.with_name("longer.csv"), [rows[3], *rows])  # lines are others now
    assert segment_table(cohort.with_name("longer.csv"), out, how) == []
    changed = {name for name, when in written(out).items() if first.get(name) != when}
    assert changed == {"s1-thigh", "s2-thigh-no2"}
    assert len(whole(out)) == len(table) + 2
    other = write_run(tmp_path / "runs" / "other" / "outer0_inner0", channels=["fat"], bias=-3.0)
    assert segment_table(cohort, out, How(model=other)) == []
    assert not {*written(out).values()} & {*first.values()}


def test_one_bad_scan_is_told_at_the_end_and_done_later(
    cohort: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, bad = tmp_path / "out", fat_of(cohort, 1)
    whole_file = bad.read_bytes()
    bad.write_bytes(whole_file[:-20])
    fat_of(cohort, 3).unlink()
    for _ in range(2):
        with pytest.raises(SystemExit, match="1"):
            main(["segment", "--cohort", str(cohort), "--model", str(model), "--out", str(out)])
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert said.out == f"{out / 'cohort.csv'}\n"
        assert lines[-3].startswith(f"{cohort}, line 3: {bad}: voxels cannot be read (")
        assert lines[-2].startswith(f"{cohort}, line 5: ") and "no such file" in lines[-2]
        assert lines[-1] == "scans without a result: 2; the same command does these alone"
        assert [row.subject for row in read_table(out / "cohort.csv").acquisitions] == ["s/3", "s1", "s/3"]
        assert {*whole(out)["subject"]} == {"s/3", "s1"}
    before = written(out)
    bad.write_bytes(whole_file)
    assert len(segment_table(cohort, out, How(model=model))) == 1
    assert {name for name in written(out) if name not in before} == {"s0-thigh"}
    assert {name: written(out)[name] for name in before} == before


def test_a_corrected_mask_is_kept(cohort: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment_table(cohort, out, How(model=model))
    mask = out / "s1-thigh" / "mask.nii.gz"
    volume = read_volume(mask)
    write_volume(mask, 1 - volume.data, volume.geometry, np.uint16)
    corrected = mask.read_bytes()
    assert segment_table(cohort, out, How(model=model)) == []
    write_run(model, channels=["fat"], bias=-3.0)
    batch._networks.cache_clear()
    batch._digest_of_network.cache_clear()
    (problem,) = segment_table(cohort, out, How(model=model))
    assert problem.startswith("line 4: ") and "mask.nii.gz: was changed after it was written here" in problem
    assert mask.read_bytes() == corrected


def test_several_at_once_give_the_same(cohort: Path, model: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        assert segment_table(cohort, tmp_path / str(jobs), How(model=model, jobs=jobs)) == []
    one, two = ((tmp_path / jobs / "measurements.csv").read_bytes() for jobs in "12")
    assert one == two
    with pytest.raises(InputError, match="--jobs 0: is too few"):
        segment_table(cohort, tmp_path / "0", How(model=model, jobs=0))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_of_a_table_are_all_of_it(cohort: Path, model: Path, tmp_path: Path, parts: int) -> None:
    """The last call does what no part has done, and writes the tables; there are five scans."""
    how = How(model=model, effort="fast")
    assert segment_table(cohort, tmp_path / "whole", how) == []
    out, each = tmp_path / "parts", []
    for number in range(1, parts + 1):
        before = {*written(out)}
        assert segment_table(cohort, out, replace(how, part=(number, parts))) == []
        each.append({*written(out)} - before)
        assert not (out / "cohort.csv").exists() and not (out / "measurements.csv").exists()
    assert sum(map(len, each)) == 5 and max(map(len, each)) - min(map(len, each)) <= 1
    before_tables = written(out)
    assert segment_table(cohort, out, how) == []
    assert written(out) == before_tables
    tables = [(folder / "measurements.csv").read_bytes() for folder in (out, tmp_path / "whole")]
    assert tables[0] == tables[1]


def test_a_part_ends_with_a_scan_that_it_cannot_use(cohort: Path, model: Path, tmp_path: Path, capsys) -> None:
    fat_of(cohort, 1).write_bytes(b"")
    asked = ["segment", "--cohort", str(cohort), "--model", str(model), "--out", str(tmp_path / "out")]
    main([*asked, "--part", "1/2"])
    assert "part 1 of 2; after all parts, the same command without --part writes tables" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main([*asked, "--part", "2/2"])
    assert len(written(tmp_path / "out")) == 4 and not (tmp_path / "out" / "cohort.csv").exists()
    with pytest.raises(SystemExit, match="1"):
        main(asked)
    assert (tmp_path / "out" / "cohort.csv").exists()


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "1/0", "-1/2", "a/b", "1/2/3", ""])
def test_a_part_that_is_none_is_refused(cohort: Path, tmp_path: Path, capsys, part: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["segment", "--cohort", str(cohort), "--out", str(tmp_path / "out"), f"--part={part}"])
    assert f"error: --part {part}: is no part; give its number" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["segment", str(fat_of(cohort, 0)), "--out", str(tmp_path / "out"), "--part", "1/2"])
    assert "error: --part 1/2: goes with --cohort" in capsys.readouterr().err


def test_a_network_is_loaded_once_for_all_scans(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    loaded, load = list[str](), Segmenter.load

    def counted(model: str, *asked: Any) -> Segmenter:
        loaded.append(str(model))
        return load(model, *asked)

    batch._networks.cache_clear()
    monkeypatch.setattr(Segmenter, "load", counted)
    assert segment_table(cohort, tmp_path / "out", How(model=None, effort="fast", device="cpu")) == []
    assert loaded == ["any_scanner_fat"] and len(written(tmp_path / "out")) == 5


def test_a_row_may_name_a_scan_instead_of_images(cohort: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "scans.csv"
    table.write_text(f"subject,region,scan\ns0,thigh,{fat_of(cohort, 1)}\ns1,thigh,work/cohort/scan2\n")
    assert segment_table(table, tmp_path / "found", How(model=model)) == []
    segment_table(cohort, tmp_path / "named", How(model=model))
    for name in ("s0-thigh", "s1-thigh"):
        found, given = (read_volume(tmp_path / of / name / "mask.nii.gz").data for of in ("found", "named"))
        np.testing.assert_array_equal(found, given)
    made = read_table(tmp_path / "found" / "cohort.csv").acquisitions
    assert [row.scan.resolve() for row in made if row.scan] == [fat_of(cohort, n).parent for n in (1, 2)] or made
    table.write_text("subject,region,group\ns0,thigh,A\n")
    with pytest.raises(InputError, match=r"scans\.csv, line 2: names no image and no scan; add one"):
        segment_table(table, tmp_path / "none", How(model=model))


def test_a_scan_whose_files_are_called_otherwise_is_done_again(cohort: Path, model: Path, tmp_path: Path) -> None:
    """The names tell what the images are, though not one byte of them has changed."""
    scan, table, out = fat_of(cohort, 1).parent, tmp_path / "scans.csv", tmp_path / "out"
    table.write_text(f"subject,region,scan\ns0,thigh,{scan}\n")
    assert segment_table(table, out, How(model=model)) == []
    before = written(out)
    assert segment_table(table, out, How(model=model)) == [] and written(out) == before
    (scan / "fat.nii.gz").rename(scan / "a_fat.nii.gz")
    assert segment_table(table, out, How(model=model)) == [] and written(out) != before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--slices", "0:9"], r"error: --slices 0:9: .*scan0/fat\.nii\.gz has slices 0 to 1; give some of them"),
        (["--region", "thigh"], "error: --region: does not go with --cohort"),
        (["--fat", "a.nii.gz"], "error: --fat: does not go with --cohort"),
        (["--limbs", "left"], "error: --limbs: does not go with --cohort"),
        (["scan"], "error: SCAN: does not go with --cohort"),
    ],
)
def test_what_does_not_go_with_a_table_is_refused_before_the_work(
    cohort: Path,
    model: Path,
    tmp_path: Path,
    capsys,
    more: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["segment", *more, "--cohort", str(cohort), "--model", str(model), "--out", str(tmp_path / "out")])
    assert re.match(said, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_looks_of_another_number_do_every_scan_again(cohort: Path, model: Path, tmp_path: Path) -> None:
    written = []
    for effort in ("default", "default", "fast"):
        assert segment_table(cohort, tmp_path / "out", How(model=model, effort=effort)) == []
        written.append([file.read_bytes() for file in sorted((tmp_path / "out").glob("*/run.json"))])
    assert written[0] == written[1] and not {*written[1]} & {*written[2]} and len(written[2]) == len(written[0]) > 0
