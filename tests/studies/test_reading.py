"""Study folders, whole, unfinished and broken."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import InputError
from musclesense.studies.content import write_content
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import finished_runs, read_done, read_run, read_study, require_own_file
from musclesense.studies.study import RunStatus
from musclesense.studies.writing import record_failure, write_cases, write_done

StudyWriter = Callable[..., Path]


def test_finished_study_has_every_case_of_every_run(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(outer, inner) for outer in range(5) for inner in range(5)]))
    assert [(run.outer, run.inner) for run in study.runs] == [
        (outer, inner) for outer in range(5) for inner in range(5)
    ]
    assert {run.status for run in study.runs} == {RunStatus.FINISHED}
    # 10 subjects, two regions, each tested by the 5 inner runs of its outer fold.
    assert len(study.cases) == 10 * 2 * 5
    assert (study.regions, study.labels) == (("calf", "thigh"), ("muscle",))
    assert study.groups == ("ALS", "CMT", "HYPOPP", "control")
    assert len(study.subjects) == 10
    assert study.runs[0].best_epoch == 9
    assert [epoch.epoch for epoch in study.runs[0].epochs] == list(range(12))


def test_a_closed_folder_is_not_called_one_that_is_no_study(
    write_study: StudyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = write_study(finished=[(0, 0)]), Path.stat

    def closed(path: Path, **how: Any) -> Any:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return state(path, **how)

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(InputError, match=rf"^{re.escape(str(folder))}: cannot be read .*Permission denied.*; ask who"):
        read_study(folder)


def test_values_are_typed_and_blank_is_undefined(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    cases = folder / "outer0_inner0" / "cases.csv"
    lines = cases.read_text().splitlines()
    row = "0,0,2,S00,v1,ALS,calf,5,muscle,,nan,0,0,,12.5,0,0,0"
    later = "," * (lines[0].count(",") - row.count(","))  # columns that were added since are blank
    cases.write_text(f"{lines[0]}\n{row}{later}\n")
    (case,) = read_study(folder).cases
    assert (case.subject, case.session, case.line, case.slice, case.tp) == ("S00", "v1", 2, 5, 0)
    assert case.dice is None
    assert case.hd95_mm is None
    assert case.volume_true_ml == 0.0
    assert case.fat_fraction_predicted_mask == 12.5
    assert case.fat_fraction_bias is None
    assert case.volume_bias_ml == 0.0


def test_unfinished_study_says_which_runs_failed_and_which_are_missing(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0), (0, 1)])
    failed, interrupted = folder / "outer0_inner2", folder / "outer1_inner0"
    failed.mkdir()
    (failed / "failed.json").write_text(json.dumps({"outer": 0, "inner": 2, "error": "loss is not finite"}))
    interrupted.mkdir()
    for name in ("cases.csv", "metrics.csv"):
        (interrupted / name).write_bytes((folder / "outer0_inner0" / name).read_bytes())
    study = read_study(folder)
    assert [run.name for run in study.with_status(RunStatus.FINISHED)] == ["outer0_inner0", "outer0_inner1"]
    (run,) = study.with_status(RunStatus.FAILED)
    assert (run.name, run.error) == ("outer0_inner2", "loss is not finite")
    missing = study.with_status(RunStatus.MISSING)
    assert len(missing) == 22
    by_name = {run.name: run for run in missing}
    assert by_name["outer1_inner0"].cases == ()
    assert len(by_name["outer1_inner0"].epochs) == 12


def test_a_run_that_finished_after_a_failure_is_finished(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / "outer0_inner0" / "failed.json").write_text(json.dumps({"error": "earlier"}))
    assert read_study(folder).runs[0].status is RunStatus.FINISHED


def test_phantom_is_a_made_cohort_or_a_table_beside_its_mark(write_study: StudyWriter, tmp_path: Path) -> None:
    table = tmp_path / "cohort" / "cohort.csv"
    table.parent.mkdir()
    made, own = read_study(write_study("made", finished=[])), read_study(write_study("own", finished=[], table=table))
    assert made.phantom
    assert made.table is None
    assert not own.phantom
    assert own.table == table
    (table.parent / "phantom.json").write_text("{}")
    assert read_study(own.folder.path).phantom


@pytest.mark.parametrize("lacking", ["study.yaml", "folds.json"])
def test_folder_that_is_no_study_is_refused(write_study: StudyWriter, lacking: str) -> None:
    folder = write_study(finished=[])
    (folder / lacking).unlink()
    with pytest.raises(InputError, match=f"not a study \\(no {lacking}\\)"):
        read_study(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: not a study"):
        read_study(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["- a list\n", "a: [unclosed\n"])
def test_broken_settings_are_refused(write_study: StudyWriter, content: str) -> None:
    folder = write_study(finished=[])
    (folder / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=r"study\.yaml"):
        read_study(folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cases.csv", None, r"cases\.csv: cannot be read"),
        ("cases.csv", "outer,inner\n0,0\n", r"cases\.csv: no column 'line'"),
        ("metrics.csv", "epoch,train_loss,val_loss,val_dice\nzero,1,1,1\n", r"metrics\.csv: cannot be read .*'zero'"),
        ("metrics.csv", "epoch,train_loss,val_loss,val_dice\n0,1\n", r"metrics\.csv: cannot be read"),
        ("done.json", "{", r"done\.json: cannot be read"),
    ],
)
def test_broken_record_of_a_finished_run_is_named(
    write_study: StudyWriter, name: str, content: str | None, said: str
) -> None:
    folder = write_study(finished=[(0, 0)])
    record = folder / "outer0_inner0" / name
    if content is None:
        record.unlink()
    else:
        record.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_study(folder)
    assert len(str(caught.value).splitlines()) == 1


# Past failures, found by `make fuzz`: files beside the report, warnings, tracebacks.


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("region", "../../../x", "region '../../../x' is none"),
        ("dice", "7", "Dice 7.0 lies outside 0 to 1"),
        ("volume_true_ml", "1e308", "1e308 is too large"),
        ("slice", "-1", "-1 is no count"),
        ("tp", "9" * 5000, "cannot be read"),
        ("label", "a\x1b[31m", "is no name"),
        ("label", "x" * 5000, "is no name"),
        ("outer", "3", "holds cases of run 3-0"),
    ],
)
def test_scores_that_cannot_be_are_refused(write_study: StudyWriter, column: str, value: str, said: str) -> None:
    folder = write_study(finished=[(0, 0)])
    record = folder / "outer0_inner0" / "cases.csv"
    with record.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = value
    with record.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match=r"cases\.csv: .*" + re.escape(said)):
        read_study(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("study.yaml", "a: &a [x]\nb: *a"),
        ("study.yaml", "cohort: 3"),
        ("study.yaml", "cohort: {path: [1]}"),
        ("study.yaml", "1: 2"),
        ("folds.json", '{"table": "", "seed": 1e999, "outer": []}'),
        ("outer0_inner0/done.json", '{"best_epoch": "../x"}'),
        ("outer0_inner0/done.json", '{"best_epoch": -1}'),
    ],
)
def test_records_that_cannot_be_are_refused(write_study: StudyWriter, name: str, content: str) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(name)):
        read_study(folder)


@pytest.mark.parametrize("name", ["study.yaml", "outer0_inner0/done.json", "outer0_inner1/failed.json", "folds.json"])
def test_records_of_a_later_release_are_refused_in_one_line(write_study: StudyWriter, name: str) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    study.run(0, 1).path.mkdir()
    record_failure(study.run(0, 1), "no luck", outer=0, inner=1, details="")
    record = study.path / name
    text = record.read_text()
    assert text.count("format") == 1
    record.write_text(text.replace("format: 2", "format: 3").replace('"format": 2', '"format": 3'))
    with pytest.raises(InputError, match=re.escape(f"{name}: format 3, and this release knows up to 2")) as caught:
        read_study(study.path)
    assert "\n" not in str(caught.value)


def test_a_study_without_format_numbers_is_of_the_release_before(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    for record in (study.settings, study.run(0, 0).done):
        record.write_text(record.read_text().replace("format: 2\n", "").replace('"format": 2,', ""))
    assert read_study(study.path).with_status(RunStatus.FINISHED)


def test_learning_curves_without_later_columns_are_read(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    study.run(0, 0).metrics.write_text("epoch,train_loss,val_loss,val_dice\n0,1,1,0.5\n")
    (epoch,) = read_study(study.path).runs[0].epochs
    assert (epoch.val_dice, epoch.learning_rate, epoch.seconds) == (0.5, None, None)


def test_a_table_that_is_too_large_is_named_once(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    with study.run(0, 0).cases.open("ab") as file:
        file.truncate(65 * 1024**2)
    with pytest.raises(InputError) as caught:
        read_study(study.path)
    assert str(caught.value).count("cases.csv") == 1


def test_names_that_a_spreadsheet_would_compute_are_read_back_equal(write_study: StudyWriter, make_case) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    names = {"subject": "=1+1", "session": "-v", "group": "+ALS", "label": "@muscle"}
    write_cases(study.run(0, 0), [make_case(**names, line=2), make_case(subject="'=1", line=3)])
    assert "=1" not in study.run(0, 0).cases.read_text().replace("\n", ",").split(",")
    one, other = read_run(study.run(0, 0)).cases
    assert {name: getattr(one, name) for name in names} == names
    assert other.subject == "'=1"


@pytest.fixture
def bound(write_study: StudyWriter) -> StudyFolder:
    """A study with two finished runs, bound to what it is made from as runs of today are."""
    study = StudyFolder(write_study(finished=[(0, 0), (0, 1)]))
    write_content(study, [], [])
    for inner in (0, 1):
        run = study.run(0, inner)
        run.config.write_bytes(study.settings.read_bytes())
        run.checkpoints.path.mkdir()
        run.checkpoints.best.write_bytes(b"weights %d" % inner)
        done = read_done(run)
        write_done(run, **{key: value for key, value in done.items() if key != "format"})
    return study


def test_a_bound_study_is_read(bound: StudyFolder, tmp_path: Path) -> None:
    assert len(read_study(bound.path).with_status(RunStatus.FINISHED)) == 2
    assert finished_runs(bound) == [bound.run(0, 0), bound.run(0, 1)]
    moved = StudyFolder(bound.path.rename(tmp_path / "moved"))
    assert finished_runs(moved) == [moved.run(0, 0), moved.run(0, 1)]
    assert read_study(moved.path).cases


def _swap_subjects(study: StudyFolder) -> None:
    folds = json.loads(study.folds.read_text())
    one, other = folds["outer"][0], folds["outer"][1]
    one["test"][0], other["test"][0] = other["test"][0], one["test"][0]
    for fold, before, now in ((one, other["test"][0], one["test"][0]), (other, one["test"][0], other["test"][0])):
        fold["validation"] = [[before if name == now else name for name in own] for own in fold["validation"]]
    study.folds.write_text(json.dumps(folds))
    NestedFolds.load(study.folds)  # they are nested folds


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_swap_subjects, r"folds\.json: changed since the study began; put back"),
        (lambda s: _edit(s.folds, '"seed": 1', '"seed": 2'), r"folds\.json: changed since the study began"),
        (
            lambda s: _edit(s.cohort, '"rows": []', '"rows": [ ]'),
            r"cohort\.json: is not that with which .*outer0_inner0",
        ),
        (lambda s: s.cohort.unlink(), r"cohort\.json: is not that with which .*outer0_inner0 was made"),
        (
            lambda s: _edit(s.run(0, 1).cases, "0.9", "0.8"),
            r"outer0_inner1/cases\.csv: is not the file that the run wrote",
        ),
        (lambda s: _edit(s.run(0, 0).metrics, "0.", "1."), r"outer0_inner0/metrics\.csv: is not the file that the run"),
        (lambda s: shutil.copy(s.run(0, 0).overlays, s.run(0, 1).overlays), r"outer0_inner1/overlays\.npz: is not the"),
        (
            lambda s: _edit(s.run(0, 1).config, "width: 16", "width: 8"),
            r"outer0_inner1/config\.yaml: model\.width differs",
        ),
        (lambda s: _edit(s.settings, "spacing_mm: 1.25", "spacing_mm: 2"), r"config\.yaml: grid\.spacing_mm differs"),
        (
            lambda s: shutil.copytree(s.run(0, 0).path, s.run(2, 3).path),
            r"outer2_inner3/cases\.csv: holds cases of run 0-0",
        ),
    ],
)
def test_what_was_changed_after_a_run_is_named(bound: StudyFolder, change: Any, told: str) -> None:
    change(bound)
    with pytest.raises(InputError, match=told) as caught:
        read_study(bound.path)
    assert len(caught.value.problems) == 1


def test_weights_of_another_run_are_named(bound: StudyFolder) -> None:
    run = bound.run(0, 1)
    require_own_file(run, run.checkpoints.best)
    shutil.copy(bound.run(0, 0).checkpoints.best, run.checkpoints.best)
    with pytest.raises(InputError, match=r"outer0_inner1/checkpoints/best\.ckpt: is not the file that the run wrote"):
        require_own_file(run, run.checkpoints.best)


def test_subjects_whom_the_folds_test_elsewhere_are_named_in_any_study(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    _swap_subjects(study)
    with pytest.raises(InputError, match=r"outer0_inner0/cases\.csv: tests 'S00', whom the folds test elsewhere"):
        read_study(study.path)


def test_copies_of_runs_are_no_runs_of_the_study(bound: StudyFolder) -> None:
    for name in ("outer0_inner0_backup", "copy of outer0_inner0", "outer00_inner0", "outer9_inner9"):
        shutil.copytree(bound.run(0, 0).path, bound.path / name)
    assert finished_runs(bound) == [bound.run(0, 0), bound.run(0, 1)]
    assert len(read_study(bound.path).with_status(RunStatus.FINISHED)) == 2
    shutil.copytree(bound.run(0, 0).path, bound.run(0, 2).path)
    with pytest.raises(InputError, match=r"outer0_inner2/done\.json: of outer=0 inner=0; put back what was there, or"):
        finished_runs(bound)


@pytest.mark.parametrize(("labels", "taken"), [(255, True), (256, False)])
def test_a_run_has_no_more_labels_than_a_label_set(write_study: StudyWriter, labels: int, taken: bool) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    cases = study.run(0, 0).cases
    header, first, *_ = cases.read_text(encoding="utf-8").splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    many = [",".join((row | {"label": f"muscle {number}"}).values()) for number in range(labels)]
    cases.write_text("\n".join([header, *many]) + "\n")
    with nullcontext() if taken else pytest.raises(InputError, match="256 labels, where a label set has 255"):
        read_study(study.path)
