"""Which configurations are one study, whatever release wrote them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from musclesense.studies.identity import differences, identity, study_name, upgrade, with_edition
from musclesense.vocabulary import EDITIONS

BEFORE = Path(__file__).parents[1] / "fixtures" / "before" / "study" / "study.yaml"
TODAY: dict[str, Any] = {
    "seed": 3,
    "study": "before",
    "runs": "runs",
    "data": "data",
    "cohort": {"path": None, "phantom": {"preset": "smoke", "seed": 1, "slices": "all"}},
    "folds": {"outer": 5, "inner": 5, "seed": 0},
    "edition": {"name": "professional"},
    "channels": ["fat", "water", "te345", "te575"],
    "region": {"name": "lower_limb", "regions": ["calf", "thigh"]},
    "labels": {"name": "whole_muscle", "column": "mask", "classes": {"muscle": []}},
    "inference": {"threshold": 0.5, "flip": False, "scales": [1.0]},
    "grid": {"spacing_mm": 6.4, "rows": 32, "columns": 64, "fit": "centre"},
    "augmentation": {"shift": 0.1, "scale": [0.9, 1.1], "flip_horizontal": 0.5, "flip_vertical": 0.0},
    "synthesis": {"name": "none"},
    "loader": {"batch_size": 4, "workers": 0, "overfit_cases": None},
    "model": {"name": "unet", "width": 4, "depth": 3},
    "loss": {"name": "dice_cross_entropy", "dice_weight": 1.0},
    "optimizer": {"name": "adamw", "lr": 0.02, "weight_decay": 0.0001},
    "schedule": {"name": "one_cycle", "pct_start": 0.2, "final_div_factor": 10000.0},
    "trainer": {
        "accelerator": "cpu",
        "devices": "1",
        "strategy": "auto",
        "precision": "32-true",
        "compile": "auto",
        "max_epochs": 4,
        "gradient_clip_val": 1.0,
    },
    "early_stopping": {"patience": 20, "min_delta": 0.0},
    "averaging": {"decay": None},
    "checkpoints": {"keep_every": None},
    "logger": {"name": "none"},
}
"""The study of the fixtures in today's words."""


@pytest.fixture
def before() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(BEFORE.read_text())
    return content


def changed(key: str, value: Any) -> dict[str, Any]:
    plain = copy.deepcopy(TODAY)
    *groups, last = key.split(".")
    below = plain
    for group in groups:
        below = below.setdefault(group, {})
    below[last] = value
    return plain


def test_a_study_of_the_release_before_is_the_same_study_today(before: dict[str, Any]) -> None:
    assert differences(before, TODAY, {}) == {}
    assert study_name(before, {}) == study_name(TODAY, {})
    assert {**upgrade(before), "synthesis": {}, "schedule": {}, "logger": {}} == {
        **TODAY,
        "synthesis": {},
        "schedule": {},
        "logger": {},
    }


def test_today_s_words_are_left_alone(before: dict[str, Any]) -> None:
    assert upgrade(TODAY) == TODAY
    assert upgrade(upgrade(before)) == upgrade(before)
    own = {"model": {"_target_": "mine.Net", "width": 3}, "optimizer": {"_target_": "mine.Steps", "lr": 1.0}}
    assert upgrade(own) == own


def test_upgrading_changes_nothing_that_it_is_given(before: dict[str, Any]) -> None:
    kept = copy.deepcopy(before)
    upgrade(before)
    identity(before)
    assert before == kept


@pytest.mark.parametrize(
    ("key", "old", "new", "today"),
    [
        ("labels.threshold", 0.4, "inference.threshold", 0.4),
        ("labels.mirrored", True, "inference.flip", True),
        ("labels.scales", [1.0, 1.3], "inference.scales", [1.0, 1.3]),
        ("callbacks.patience", 3, "early_stopping.patience", 3),
        ("callbacks.min_delta", 0.1, "early_stopping.min_delta", 0.1),
        ("callbacks.averaging", 0.9, "averaging.decay", 0.9),
        ("optimizer.factory.lr", 0.1, "optimizer.lr", 0.1),
        ("optimizer.schedule", None, "schedule", {"name": "constant"}),
        ("channels", {"fat": True, "water": False}, "channels", ["fat"]),
        ("cohort.phantom.preset", "robust", "cohort.phantom.preset", "any_scanner"),
        ("synthesis", {"name": "robust", "without": []}, "synthesis", {"name": "any_scanner", "without": []}),
        ("model", {"_target_": "musclesense.networks.unet.UNet", "width": 9}, "model", {"name": "unet", "width": 9}),
    ],
)
def test_each_old_word_is_a_new_one(before: dict[str, Any], key: str, old: Any, new: str, today: Any) -> None:
    *groups, last = key.split(".")
    below = before
    for group in groups:
        below = below[group]
    below[last] = old
    if key == "optimizer.factory.lr":
        before["optimizer"]["schedule"]["max_lr"] = old
    assert differences(before, changed(new, today), {}) == {}
    assert {name.partition(".")[0] for name in differences(before, TODAY, {})} == {new.partition(".")[0]}


def test_an_absent_key_reads_as_its_default_in_comparison_and_name() -> None:
    new = changed("trainer.warmup", 7)
    defaults = {"trainer": {"warmup": 7}}
    assert differences(TODAY, new, defaults) == {}
    assert study_name(TODAY, defaults) == study_name(new, defaults) == study_name(TODAY, {})
    assert differences(TODAY, changed("trainer.warmup", 8), defaults) == {"trainer.warmup": (7, 8)}
    assert study_name(changed("trainer.warmup", 8), defaults) != study_name(TODAY, defaults)


def test_defaults_may_be_in_the_words_of_format_1() -> None:
    lacking = {key: value for key, value in TODAY.items() if key != "inference"}
    defaults = {"labels": {"threshold": 0.5, "mirrored": False, "scales": [1.0]}}
    assert differences(lacking, TODAY, defaults) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outer", 1),
        ("format", 2),
        ("runs", "x"),
        ("data", "x"),
        ("logger.name", "wandb"),
        ("trainer.devices", "2"),
        ("loader.workers", 3),
        ("checkpoints.keep_every", 3),
        ("synthesis.slices", 5),
        ("schedule.max_lr", 0.02),
    ],
)
def test_what_changes_no_score_is_no_difference(key: str, value: Any) -> None:
    assert study_name(changed(key, value), {}) == study_name(TODAY, {})


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 4), ("channels", ["water", "fat"]), ("schedule.max_lr", 1), ("model.depth", 4)]
)
def test_what_changes_scores_is_a_difference(key: str, value: Any) -> None:
    assert study_name(changed(key, value), {}) != study_name(TODAY, {})


def test_name_is_of_cohort_region_and_channels() -> None:
    assert study_name(TODAY, {})[:-8] == "phantom-smoke-lower_limb-fat+water+te345+te575-"
    own = study_name(changed("cohort.path", "/scans/my hospital/cohort.csv"), {})
    assert own[:-8] == "cohort-lower_limb-fat+water+te345+te575-"


@pytest.mark.parametrize("path", ["/scans/my hospital/cohort.csv", "cohort.csv", "/elsewhere/patients.csv"])
def test_a_table_counts_by_its_rows_and_not_by_its_path(path: str) -> None:
    here, there = changed("cohort.path", path), changed("cohort.path", "/mnt/scans/cohort.csv")
    assert study_name(here, {}, "rows") == study_name(there, {}, "rows") != study_name(here, {}, "other rows")
    assert differences(here, there, {}) == {}
    assert "cohort.path" in differences(here, TODAY, {})


@pytest.mark.parametrize("arm", ["width_16", "centre_1.25mm"])
def test_the_arm_of_an_ablation_begins_the_name_and_parts_no_study(arm: str) -> None:
    assert study_name({**TODAY, "arm": arm}, {}) == f"{arm}-{study_name(TODAY, {})}"
    assert study_name({**TODAY, "arm": None}, {}) == study_name(TODAY, {})
    assert differences({**TODAY, "arm": arm}, TODAY, {}) == {}


def test_rows_of_a_phantom_do_not_count() -> None:
    assert study_name(TODAY, {}, "rows") == study_name(TODAY, {})


@pytest.mark.parametrize("strange", [3, None, [], [1], "x", {"factory": 3}, {"_target_": [1]}, {"path": [2]}, {1: {}}])
@pytest.mark.parametrize("key", ["labels", "inference", "optimizer", "channels", "synthesis", "cohort", "model"])
def test_a_configuration_that_somebody_spoilt_differs(key: str, strange: Any) -> None:
    assert differences({**TODAY, key: strange}, TODAY, {})
    differences({**TODAY, "callbacks": strange}, TODAY, {})  # means nothing today, and must end


@pytest.mark.parametrize(
    ("channels", "named", "shown"),
    [
        (["fat"], "professional", "simplified"),
        (["fat"], "simplified", "simplified"),
        (["te575", "water", "fat", "te345"], "simplified", "professional"),
        (["fat", "water"], "professional", "none"),
        (["water"], "simplified", "none"),
        (["fat", "water"], "of_our_clinic", "of_our_clinic"),
    ],
)
def test_the_edition_shown_is_what_the_channels_are(channels: list[str], named: str, shown: str) -> None:
    plain = {**TODAY, "channels": channels, "edition": {"name": named}}
    assert with_edition(plain) == {**plain, "edition": {"name": shown}}
    assert plain["edition"] == {"name": named}
    assert differences(plain, {**plain, "edition": {"name": shown}}, {}) == {}


@pytest.mark.parametrize("strange", [None, 3, [], "x", {"name": [1]}])
def test_an_edition_that_somebody_spoilt_can_be_shown(strange: Any) -> None:
    with_edition({**TODAY, "edition": strange})
    with_edition({**TODAY, "channels": strange})


def test_names_of_studies_have_the_edition_that_was_asked_for_as_ever() -> None:
    """So every study is found again under the name that it got."""
    simplified = {**TODAY, "channels": ["fat"], "edition": {"name": "simplified"}}
    assert study_name(simplified, {}) == "phantom-smoke-lower_limb-fat-108302ce"
    assert (
        study_name({**simplified, "edition": {"name": "professional"}}, {}) == "phantom-smoke-lower_limb-fat-6dfbf264"
    )


def test_editions_are_those_of_the_configuration() -> None:
    folder = Path(__file__).parents[2] / "conf" / "edition"
    found = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")]
    assert {one["edition"]["name"]: tuple(one["channels"]) for one in found} == EDITIONS
