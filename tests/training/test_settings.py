"""What a configuration means; names of folders, and who may use them."""

from pathlib import Path

import pytest
import yaml

from musclesense.errors import InputError
from musclesense.studies.reading import read_settings
from musclesense.studies.writing import open_study
from musclesense.training.config import defaults
from musclesense.training.inputs import require_own_study
from musclesense.training.settings import Settings

DRAWN = ("edition=simplified", "synthesis=any_scanner")


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("outer=3", "inner=2"),
        ("logger=wandb",),
        ("trainer.accelerator=gpu", "trainer.devices=4", "trainer.strategy=ddp", "trainer.compile=always"),
        ("loader.workers=3",),
        ("data=other",),
        ("checkpoints.keep_every=3",),
        ("synthesis.slices=5", "synthesis.seed=4", "synthesis.without=[pose]"),
    ],
)
def test_what_cannot_change_a_score_does_not_change_the_name(composed, elsewhere):
    assert composed(*elsewhere).study.path == composed().study.path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DRAWN, [*DRAWN, "synthesis.workers=7", "synthesis.shard=8"]),
        *[[[*DRAWN, f"synthesis.without=[{names}]"] for names in ("pose,noise", "noise,pose")]],
        *[[["cohort.path=/scans/a.csv", f"cohort.phantom.preset={preset}"] for preset in ("demo", "paper")]],
    ],
)
def test_what_changes_a_score_only_elsewhere_does_not_change_the_name_here(composed, one, other):
    assert composed(*one).study.path == composed(*other).study.path


@pytest.mark.parametrize("changed", ["slices=4096", "initial=2048", "growth=1", "per_epoch=512", "replace=true",
                                     "seed=2", "without=[pose]"])  # fmt: skip
def test_whatever_changes_what_is_drawn_changes_the_name(composed, changed):
    assert composed(*DRAWN, f"synthesis.{changed}").study != composed(*DRAWN).study
    assert composed(*DRAWN).study != composed(DRAWN[0]).study


def test_runs_is_the_folder_above(composed):
    assert composed("runs=there").study.path == Path("there") / composed().study.path.name


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
        "inference.threshold=0.4",
        "inference.flip=true",
        "inference.scales=[1.0,1.3]",
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
        "optimizer.lr=1e-4",
        "schedule=constant",
        "trainer.max_epochs=5",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=null",
        "early_stopping.patience=3",
        "early_stopping.min_delta=0.1",
        "averaging.decay=0.9",
    ],
)
def test_whatever_changes_the_result_changes_the_name(composed, changed):
    assert composed(changed).study.path != composed().study.path


def test_name_tells_cohort_region_and_channels(composed):
    assert composed().study.path.name.startswith("phantom-smoke-lower_limb-fat+water+te345+te575-")
    name = composed("cohort.path=/scans/my hospital/cohort.csv", "region=calf", "channels=[fat]").study.path.name
    assert name.startswith("cohort-calf-fat-")
    assert composed("cohort.path=/scans/thighs.csv").study == composed("cohort.path=/scans/cohort.csv").study


def test_run_is_named_after_its_folds(composed):
    settings = composed("outer=2", "inner=4", "study=mine", "runs=there")
    assert settings.run.path == Path("there/mine/outer2_inner4")
    assert settings.at(1, 3).run.path == Path("there/mine/outer1_inner3")
    assert settings.at(1, 3).config.plain == settings.config.plain | {"outer": 1, "inner": 3}


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "a\\\\b"])
def test_study_names_that_are_no_folder_are_refused(composed, name):
    with pytest.raises(InputError, match="no folder name"):
        composed(f"study='{name}'")


def test_plain_configuration_resolves_and_survives_yaml(composed):
    plain = composed("optimizer.lr=0.125").config.plain
    assert plain["schedule"]["max_lr"] == 0.125
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain


def begin(settings: Settings) -> None:
    open_study(settings.study, settings.config.plain, defaults())


def test_study_is_written_once_without_folds(composed, tmp_path):
    settings = composed(f"runs={tmp_path}", "study=mine", "outer=1")
    begin(settings)
    written = settings.study.settings.read_bytes()
    plain = yaml.safe_load(written)
    assert plain["model"]["width"] == 4 and plain["seed"] == 0
    assert not {"outer", "inner"} & set(plain)
    begin(composed(f"runs={tmp_path}", "study=mine", "outer=2", "logger=wandb"))
    assert settings.study.settings.read_bytes() == written


def test_another_configuration_is_refused_with_the_key_that_differs(composed, tmp_path):
    begin(composed(f"runs={tmp_path}", "study=mine"))
    for changed, shown in (
        ("model.width=5", "model.width is 4 there and 5 here"),
        ("trainer.max_epochs=9", "trainer.max_epochs is 4 there and 9 here"),
        ("+model.more=1", "model.more is None there and 1 here"),
    ):
        with pytest.raises(InputError) as raised:
            require_own_study(composed(f"runs={tmp_path}", "study=mine", changed))
        assert shown in str(raised.value)
        assert "\n" not in str(raised.value)


def test_unreadable_study_is_named(composed, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "study.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"study\.yaml: cannot be read"):
        require_own_study(composed(f"runs={tmp_path}", "study=mine"))


def test_an_anonymous_study_names_no_path_and_is_the_same_study(composed, tmp_path):
    (tmp_path / "cohort.csv").write_text("subject,region\nS1,calf\n")
    asked = (f"cohort.path={tmp_path}/cohort.csv", f"runs={tmp_path}/runs", f"data={tmp_path}/data")
    plain, hidden = composed(*asked), composed(*asked, "anonymous=true")
    assert str(tmp_path) in yaml.safe_dump(plain.config.plain)
    assert str(tmp_path) not in yaml.safe_dump(hidden.config.plain)
    assert hidden.study.path == plain.study.path
    open_study(hidden.study, hidden.config.plain, defaults())
    require_own_study(plain)
    read = read_settings(hidden.study, remedy="")
    assert (read["cohort"]["path"], read["runs"], read["data"]) == ("left-out.csv", "runs", "data")


def test_a_phantom_has_nothing_to_hide(composed, tmp_path):
    (tmp_path / "phantom.json").write_text("{}")
    asked = composed(f"cohort.path={tmp_path}/cohort.csv", "anonymous=true").config.plain
    assert asked["cohort"]["path"] == f"{tmp_path}/cohort.csv"
