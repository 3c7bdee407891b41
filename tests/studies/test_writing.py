"""What is written into the folders of studies and runs, and what stays out of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from musclesense.errors import InputError
from musclesense.studies.identity import study_name
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.overlays import KeptSlice, read_index, read_overlay, write_overlays
from musclesense.studies.reading import read_done, read_epochs, read_failure, read_run, read_settings
from musclesense.studies.study import RunStatus
from musclesense.studies.writing import (
    begin_run,
    named_study,
    open_study,
    record_failure,
    require_same_study,
    write_cases,
    write_command,
    write_done,
    write_epochs,
)

PLAIN: dict[str, Any] = {
    "cohort": {"path": "/scans/cohort.csv"},
    "channels": ["fat"],
    "region": {"name": "calf", "regions": ["calf"]},
    "model": {"name": "unet", "width": 4},
}


def test_a_study_is_written_once_and_says_its_format(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "mine")
    open_study(study, {"outer": 1, "inner": 2, **PLAIN}, {})
    written = study.settings.read_bytes()
    assert yaml.safe_load(written) == {"format": 2, **PLAIN}
    open_study(study, {**PLAIN, "new": {"key": 1}}, {"new": {"key": 1}})
    assert study.settings.read_bytes() == written
    assert read_settings(study, remedy="") == PLAIN


def test_another_configuration_is_refused_in_a_line(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "mine")
    open_study(study, PLAIN, {})
    with pytest.raises(InputError) as raised:
        require_same_study(study, {**PLAIN, "model": {"name": "unet", "width": 5}}, {})
    assert str(raised.value) == (
        f"{study.settings}: another configuration (model.width is 4 there and 5 here); "
        "give study=ANOTHER_NAME or the same configuration"
    )


def test_a_study_of_another_release_is_found_by_what_it_is(tmp_path: Path) -> None:
    named = named_study(tmp_path, PLAIN, {})
    assert named.path.parent == tmp_path and named.path.name.startswith("cohort-calf-fat-")
    stem = named.path.name[:-8]
    other, same = StudyFolder(tmp_path / f"{stem}00000000"), StudyFolder(tmp_path / f"{stem}11111111")
    for folder, width in ((other, 5), (same, 4)):
        folder.path.mkdir()
        old = {**PLAIN, "channels": {"fat": True}, "model": {"_target_": "musclesense.training.unet.UNet"}}
        old["model"]["width"] = width
        folder.settings.write_text(yaml.safe_dump(old))
    (tmp_path / f"{stem}22222222").mkdir()
    broken = StudyFolder(tmp_path / f"{stem}0000000b")
    broken.path.mkdir()
    broken.settings.write_text("a: [")
    assert named_study(tmp_path, PLAIN, {}) == same
    open_study(same, PLAIN, {})
    assert named_study(tmp_path, PLAIN, {}) == same
    open_study(named, PLAIN, {})
    assert named_study(tmp_path, PLAIN, {}) == named, "once it is there, the study of today's name goes on"


def test_a_study_of_a_cohort_that_was_called_otherwise_is_found(tmp_path: Path) -> None:
    today = {**PLAIN, "cohort": {"path": None, "phantom": {"preset": "any_scanner", "seed": 1}}}
    old = StudyFolder(tmp_path / "phantom-robust-calf-fat-01234567")
    old.path.mkdir()
    old.settings.write_text(
        yaml.safe_dump({**today, "cohort": {"path": None, "phantom": {"preset": "robust", "seed": 1}}})
    )
    assert named_study(tmp_path, today, {}) == old


def test_a_folder_that_today_s_format_names_is_taken_by_its_name_alone(tmp_path: Path) -> None:
    named = named_study(tmp_path, PLAIN, {})
    open_study(StudyFolder(named.path.with_name(f"{named.path.name[:-8]}00000000")), PLAIN, {})
    assert named_study(tmp_path, PLAIN, {}) == named


@pytest.mark.parametrize(("begun", "asked"), [("professional", "simplified"), ("simplified", "professional")])
def test_channels_and_the_edition_of_them_are_one_study(tmp_path: Path, begun: str, asked: str) -> None:
    """Whichever began it is found again, and has its own name where both are there."""
    one, other = ({**PLAIN, "channels": ["fat"], "edition": {"name": name}} for name in (begun, asked))
    folder = named_study(tmp_path, one, {})
    open_study(folder, one, {})
    assert named_study(tmp_path, one, {}) == named_study(tmp_path, other, {}) == folder
    require_same_study(folder, other, {})
    of_its_own = StudyFolder(tmp_path / study_name(other, {}))
    open_study(of_its_own, other, {})
    assert named_study(tmp_path, other, {}) == of_its_own != folder
    assert named_study(tmp_path, one, {}) == folder


def test_a_run_is_begun_fails_and_is_tried_again(tmp_path: Path) -> None:
    run = StudyFolder(tmp_path).run(0, 2)
    begin_run(run, {"outer": 0, "inner": 2, **PLAIN})
    assert yaml.safe_load(run.config.read_text())["inner"] == 2
    record_failure(run, "out of memory", outer=0, inner=2, details="Traceback ...")
    assert json.loads(run.failed.read_text()) == {"format": 2, "outer": 0, "inner": 2, "error": "out of memory"}
    assert run.error.read_text() == "Traceback ..."
    assert read_failure(run) == "out of memory"
    assert read_run(run).status is RunStatus.FAILED
    begin_run(run, PLAIN)
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_what_is_written_of_a_run_is_read(tmp_path: Path, make_case) -> None:
    run = StudyFolder(tmp_path).run(1, 0)
    cases = [make_case(outer=1, inner=0), make_case(outer=1, inner=0, dice=None, hd95_mm=None, slice=6)]
    rows = [
        {"epoch": 0, "train_loss": 1.5, "val_loss": 1.25, "val_dice": 0.5, "learning_rate": 0.001, "seconds": 2.5},
        {"epoch": 1, "train_loss": 1, "val_loss": 1, "val_dice": float("nan"), "learning_rate": 0.5, "seconds": 5.0},
    ]
    write_cases(run, cases)
    write_epochs(run, rows)
    write_done(run, outer=1, inner=0, scores={"dice": 0.5}, best_epoch=0)
    found = read_run(run)
    assert (found.outer, found.inner, found.status, found.best_epoch) == (1, 0, RunStatus.FINISHED, 0)
    assert found.cases == tuple(cases)
    assert found.unknown == frozenset()
    assert [(epoch.val_dice, epoch.seconds) for epoch in read_epochs(run)] == [(0.5, 2.5), (None, 5.0)]
    files = {name: hashlib.sha256((run.path / name).read_bytes()).hexdigest() for name in ("metrics.csv", "cases.csv")}
    fold = {"outer": 1, "inner": 0}
    expected = {"format": 2, **fold, "scores": {"dice": 0.5}, "best_epoch": 0, "files": files, "cohort": None}
    assert read_done(run) == expected


def test_a_folder_without_a_run_s_name_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run; give a folder such as runs/STUDY/outer0_inner0"):
        read_run(RunFolder(tmp_path))


def test_kept_slices_are_read_one_by_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    planes = np.arange(3 * 2 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    write_overlays(run, [KeptSlice(7, 3, *planes[0]), KeptSlice(9, 0, *planes[1])])
    assert read_index(run) == [(7, 3), (9, 0)]
    kept = read_overlay(run, 9, 0)
    assert (kept.line, kept.slice) == (9, 0)
    np.testing.assert_array_equal([kept.image, kept.truth, kept.prediction], planes[1])


def test_the_command_is_recorded(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path)
    write_command(study, "python train.py -m outer=0,1")
    assert study.command.read_text() == "python train.py -m outer=0,1\n"
