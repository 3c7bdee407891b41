"""Names of folders, and who may use them."""

import json
from pathlib import Path

import pytest
import yaml

from musclesense.errors import InputError
from musclesense.training.folders import (
    forget_failure,
    is_finished,
    open_study,
    record_failure,
    require_same_study,
    run_folder,
    run_name,
    study_folder,
    to_plain,
)


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("outer=3", "inner=2"),
        ("logger=wandb",),
        ("trainer.accelerator=gpu", "trainer.devices=4", "trainer.strategy=ddp", "trainer.compile=always"),
        ("loader.workers=3",),
        ("data=other",),
        ("callbacks.keep_every=3",),
        ("synthesis.slices=5", "synthesis.seed=4", "synthesis.without=[pose]"),
    ],
)
def test_what_cannot_change_a_score_does_not_change_the_name(composed, elsewhere):
    assert study_folder(composed(*elsewhere)) == study_folder(composed())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["synthesis=any_scanner"], ["synthesis=any_scanner", "synthesis.workers=7", "synthesis.shard=8"]),
        *[[["synthesis=any_scanner", f"synthesis.without=[{names}]"] for names in ("pose,noise", "noise,pose")]],
        *[[["cohort.path=/scans/a.csv", f"cohort.phantom.preset={preset}"] for preset in ("demo", "paper")]],
    ],
)
def test_what_changes_a_score_only_elsewhere_does_not_change_the_name_here(composed, one, other):
    assert study_folder(composed(*one)) == study_folder(composed(*other))


@pytest.mark.parametrize("changed", ["slices=4096", "initial=2048", "growth=1", "per_epoch=512", "replace=true",
                                     "seed=2", "without=[pose]"])  # fmt: skip
def test_whatever_changes_what_is_drawn_changes_the_name(composed, changed):
    assert study_folder(composed("synthesis=any_scanner", f"synthesis.{changed}")) != study_folder(
        composed("synthesis=any_scanner")
    )


def test_runs_is_the_folder_above(composed):
    assert study_folder(composed("runs=there")) == Path("there") / study_folder(composed()).name


@pytest.mark.parametrize(
    "changed",
    [
        "seed=1",
        "folds.seed=1",
        "folds.outer=4",
        "folds.inner=3",
        "cohort.phantom.seed=2",
        "cohort.path=/elsewhere/cohort.csv",
        "edition=simplified",
        "channels=[fat,te345]",
        "region=calf",
        "labels=sides",
        "labels.threshold=0.4",
        "grid.spacing_mm=6.5",
        "grid.rows=48",
        "grid.fit=stretch",
        "augmentation.shift=0.2",
        "augmentation=none",
        "loader.batch_size=5",
        "loader.overfit_cases=4",
        "model.width=5",
        "+model.dropout=0.1",
        "loss.dice_weight=2",
        "optimizer.factory.lr=1e-4",
        "optimizer.schedule=null",
        "trainer.max_epochs=5",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=null",
        "callbacks.patience=3",
        "callbacks.min_delta=0.1",
        "callbacks.averaging=0.9",
        "synthesis=any_scanner",
    ],
)
def test_whatever_changes_the_result_changes_the_name(composed, changed):
    assert study_folder(composed(changed)) != study_folder(composed())


def test_name_tells_cohort_region_and_channels(composed):
    assert study_folder(composed()).name.startswith("phantom-smoke-lower_limb-fat+water+te345+te575-")
    name = study_folder(composed("cohort.path=/scans/my hospital/cohort.csv", "region=calf", "channels=[fat]")).name
    assert name.startswith("my_hospital-calf-fat-")
    assert study_folder(composed("cohort.path=/scans/thighs.csv")).name.startswith("thighs-lower_limb-")


def test_run_is_named_after_its_folds(composed):
    config = composed("outer=2", "inner=4", "study=mine", "runs=there")
    assert run_name(config) == "outer2_inner4"
    assert run_folder(config) == Path("there/mine/outer2_inner4")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "a\\\\b"])
def test_study_names_that_are_no_folder_are_refused(composed, name):
    config = composed()
    config.study = name
    with pytest.raises(InputError, match="no folder name"):
        study_folder(config)


def test_plain_configuration_resolves_and_survives_yaml(composed):
    plain = to_plain(composed("optimizer.factory.lr=0.125"))
    assert plain["optimizer"]["schedule"]["max_lr"] == 0.125
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain


def test_study_is_written_once_without_folds(composed, tmp_path):
    folder = open_study(composed(f"runs={tmp_path}", "study=mine", "outer=1"))
    written = (folder / "study.yaml").read_bytes()
    plain = yaml.safe_load(written)
    assert plain["model"]["width"] == 4 and plain["seed"] == 0
    assert not {"outer", "inner"} & set(plain)
    open_study(composed(f"runs={tmp_path}", "study=mine", "outer=2", "logger=wandb"))
    assert (folder / "study.yaml").read_bytes() == written


def test_another_configuration_is_refused_with_the_key_that_differs(composed, tmp_path):
    open_study(composed(f"runs={tmp_path}", "study=mine"))
    for changed, shown in (
        ("model.width=5", "model.width is 4 there and 5 here"),
        ("trainer.max_epochs=9", "trainer.max_epochs is 4 there and 9 here"),
        ("+model.more=1", "model.more is None there and 1 here"),
    ):
        with pytest.raises(InputError) as raised:
            require_same_study(composed(f"runs={tmp_path}", "study=mine", changed))
        assert shown in str(raised.value)
        assert "\n" not in str(raised.value)


def test_unreadable_study_is_named(composed, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "study.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"study\.yaml: cannot be read"):
        require_same_study(composed(f"runs={tmp_path}", "study=mine"))


def test_only_done_finishes_a_run(tmp_path):
    assert not is_finished(tmp_path)
    (tmp_path / "failed.json").touch()
    assert not is_finished(tmp_path)
    (tmp_path / "done.json").touch()
    assert is_finished(tmp_path)


def test_a_failure_is_written_down_until_the_run_is_tried_again(composed, tmp_path):
    config = composed(f"runs={tmp_path}", "study=mine", "inner=2")
    record_failure(config, "out of memory", details="Traceback ...")
    folder = run_folder(config)
    written = json.loads((folder / "failed.json").read_text())
    assert written == {"format": 2, "outer": 0, "inner": 2, "error": "out of memory"}
    assert (folder / "error.txt").read_text() == "Traceback ..."
    forget_failure(config)
    assert list(folder.iterdir()) == []
    forget_failure(config)
