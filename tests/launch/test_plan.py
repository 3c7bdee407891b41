"""All runs of a command, composed and checked before any work."""

import math
import os
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.shared.commands import PlanOf

from musclesense.errors import InputError
from musclesense.launch import slurm
from musclesense.launch.plan import check, result_of
from musclesense.studies.identity import differences
from musclesense.studies.layout import RunFolder
from musclesense.studies.writing import open_study, write_done
from musclesense.training.composition import config_folder
from musclesense.training.machine.hardware import choose
from musclesense.training.session import make_trainer


@pytest.mark.parametrize("folds", ["range(0,5)", "0,1,2,3,4"])
def test_a_sweep_over_folds_is_25_runs_of_one_study(plan_of: PlanOf, folds: str) -> None:
    plan = plan_of(f"outer={folds}", f"inner={folds}")
    assert [(run.config.outer, run.config.inner) for run in plan.runs] == [(o, i) for o in range(5) for i in range(5)]
    assert len(plan.studies) == 1
    assert len({run.run for run in plan.runs}) == 25


@pytest.mark.parametrize(
    ("ablation", "studies"),
    [
        ("edition=professional,simplified", [("fat", "water", "te345", "te575"), ("fat",)]),
        ("channels=[fat],[fat,water],[te345,te575]", [("fat",), ("fat", "water"), ("te345", "te575")]),
    ],
)
def test_an_ablation_is_one_more_word(plan_of: PlanOf, ablation: str, studies: list[tuple[str, ...]]) -> None:
    plan = plan_of(ablation, "outer=range(0,5)", "inner=range(0,5)")
    assert [config.spec.channels for config in plan.studies.values()] == studies
    assert len(plan.runs) == 25 * len(studies)


PAPER, ECHOES, ALL_FIVE = (
    ["fat", "water", "te345", "te575"],
    ["te345", "te460", "te575"],
    ["fat", "water", "te345", "te460", "te575"],
)
ABLATIONS: dict[str, tuple[str, list[Any]]] = {
    "channels": ("channels", [PAPER, ["fat"], ["fat", "water"], ECHOES, ALL_FIVE]),
    "edition": ("edition.name", ["professional", "simplified"]),
    "augmentation": ("augmentation.shift", [0.5, 0.5, 0.1, 0.0]),
    "grid": ("grid.spacing_mm", [1.25, 2.5, 1.25]),
    "normalisation": ("normalisation", ["z_score", "body_z_score", "percentile"]),
    "width": ("model.width", [32, 16, 64]),
    "loss": ("loss.dice_weight", [1.0, 0.0]),
    "labels": ("labels.name", ["compartments_whole", "compartments_sides", "compartments"]),
    "region": ("region.name", ["lower_limb", "calf", "thigh"]),
}


def test_every_ablation_is_tested() -> None:
    assert {path.stem for path in (config_folder() / "ablation").glob("*.yaml")} == ABLATIONS.keys()


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("plus", ["+", ""])
@pytest.mark.parametrize("experiment", ["demo", "paper"])
def test_the_arms_of_an_ablation_are_studies_that_differ_in_it_alone(
    plan_of: PlanOf, ablation: str, plus: str, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key, arms = ABLATIONS[ablation]
    plan = plan_of(f"experiment={experiment}", f"{plus}ablation={ablation}", "outer=0..4", "inner=0,2")
    check(plan)
    assert plan.ablation == ablation
    plain = [run.config.plain for run in plan.studies.values()]
    assert [reduce(getitem, key.split("."), cast(Any, one)) for one in plain] == arms
    assert len(plan.runs) == 10 * len(arms)
    own = {one for other in plain[1:] for one in differences(plain[0], other, {})}
    assert {one.partition(".")[0] for one in own} <= {key.partition(".")[0], "channels", "model"}
    assert len({study.path.name[:-8] for study in plan.studies}) == len(arms), "the name shows the arm"


@pytest.mark.parametrize("region", ["lower_limb", "calf", "thigh"])
def test_the_label_sets_of_an_ablation_hold_the_same_muscles(plan_of: PlanOf, region: str) -> None:
    whole, sides, muscles = (
        run.spec.labels.to_config() for run in plan_of("+ablation=labels", f"region={region}").studies.values()
    )
    assert whole == {"muscle": []}, "any positive value"
    for side in ("left", "right"):
        own = {value for name, values in muscles.items() if name.endswith(f"_{side}") for value in values}
        assert own and (own == {*sides[side]} if region == "lower_limb" else own < {*sides[side]})


def test_an_arm_may_be_left_out_or_put_in(plan_of: PlanOf) -> None:
    plan = plan_of("experiment=demo", "+ablation=width", "model.width=8,12")
    assert [run.config.model["width"] for run in plan.runs] == [8, 12]


def test_ablations_are_combined_by_a_list(plan_of: PlanOf) -> None:
    plan = plan_of("experiment=demo", "+ablation=[width,loss]")
    assert plan.ablation == "width+loss"
    assert len(plan.studies) == 3 * 2


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["+ablation=channels,width"], "+ablation=channels,width: give one ablation, or [channels,width] for each arm"),
        (["ablation=colour"], "ablation=colour: no option 'colour'; give augmentation, channels, "),
        (["ablation="], "ablation=: no option ''; give augmentation, channels, "),
        (["+ablation=null"], "+ablation=null: "),
        (["+ablation=width", "ablation=loss"], "ablation=loss: ablation is given twice"),
        (["+ablation=width", "study=mine"], "the same run is asked for twice under one study"),
        (["+ablation=grid", "experiment=smoke"], "the same run is asked for twice under one study"),
    ],
)
def test_an_ablation_without_arms_of_its_own_is_refused(plan_of: PlanOf, overrides: list[str], line: str) -> None:
    with pytest.raises(InputError) as raised:
        check(plan_of(*overrides))
    (problem,) = raised.value.problems
    assert problem.startswith(line)


@pytest.mark.parametrize(
    ("overrides", "problems"),
    [
        (["+ablation=[channels,edition]"], 5),
        (["+ablation=edition", "channels=[fat]"], 1),
        (["arm=a,b"], 1),
        (["arm=a,b", "seed=0,1"], 2),
        (["edition=professional,simplified"], 0),
        (["study=a,b"], 0),  # to see how far chance goes
        (["seed=0,1", "outer=0,1"], 0),
    ],
)
def test_what_would_be_trained_twice_under_two_names_is_refused(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], problems: int
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("experiment=smoke", *overrides)
    if not problems:
        check(plan)
        return
    with pytest.raises(InputError) as raised:
        check(plan)
    assert len(raised.value.problems) == problems
    assert all("would be the same training; give" in problem for problem in raised.value.problems)
    assert list(tmp_path.iterdir()) == []


def test_an_arm_that_was_trained_under_another_name_is_found(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first arms of two ablations are one study, and may be that of no ablation."""
    monkeypatch.chdir(tmp_path)
    (begun,) = plan_of("experiment=paper", "model.width=32").runs
    open_study(begun.study, begun.config.plain, {})
    for asked in (["+ablation=width"], ["+ablation=loss", "model.width=32"]):
        first, other, *_ = plan_of("experiment=paper", *asked).studies
        assert first == begun.study != other


def test_what_depends_on_the_fold_is_built_for_each(plan_of: PlanOf) -> None:
    plan = plan_of("outer=0,1", "seed=${outer}", "edition=professional,simplified")
    assert [(run.config.outer, run.config.seed, run.config.edition.name) for run in plan.runs] == [
        (0, 0, "professional"),
        (0, 0, "simplified"),
        (1, 1, "professional"),
        (1, 1, "simplified"),
    ]
    assert len(plan.studies) == 4


def test_chosen_channels_outdo_the_edition(plan_of: PlanOf) -> None:
    (run,) = plan_of("edition=simplified", "channels=[fat,te460]").runs
    assert run.spec.channels == ("fat", "te460")


def test_places_that_cannot_be_written_are_refused(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("experiment=smoke", "runs=full/runs", "outer=0,1")
    Path("full").write_text("")
    with pytest.raises(InputError) as caught:
        check(plan)
    assert caught.value.problems == (
        "full/runs: cannot be written (Not a directory); give a writable place with free space",
    )


LINKS = ["runs/s", "runs/s/outer1_inner0", "runs/s/outer0_inner0/checkpoints", "data", "data/cache"]


@pytest.mark.parametrize("link", [*LINKS, "data/phantom-smoke-1"])
def test_a_link_that_leads_nowhere_is_told_before_any_work(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("experiment=smoke", "study=s", "outer=0,1")
    Path(link).parent.mkdir(parents=True, exist_ok=True)
    Path(link).symlink_to("disk/that/is/gone")
    with pytest.raises(InputError) as caught:
        check(plan)
    assert caught.value.problems == (f"{link}: a link that leads nowhere; correct or remove it",)


@pytest.mark.parametrize("closed", ["runs/s", "runs/s/outer1_inner0", "runs/s/outer0_inner0/checkpoints"])
def test_what_lies_in_a_folder_that_is_refused_is_not_told_of(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("experiment=smoke", "study=s", "outer=0,1", "inner=0,1")
    for run in plan.runs:
        run.run.checkpoints.path.mkdir(parents=True)
    rights, below = os.access, Path(closed)
    monkeypatch.setattr(os, "access", lambda path, how: not Path(path).is_relative_to(below) and rights(path, how))
    with pytest.raises(InputError) as caught:
        check(plan)
    assert caught.value.problems == (
        f"{closed}: cannot be written (Permission denied); give a writable place with free space",
    )


@pytest.mark.parametrize("link", ["data/phantom-smoke-2", "runs/other", "runs/s/outer3_inner3", "runs/s/outer0_inner0"])
def test_links_that_are_not_followed_and_those_that_lead_somewhere_are_no_matter(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("experiment=smoke", "study=s", "outer=0,1")
    Path(link).parent.mkdir(parents=True, exist_ok=True)
    there = tmp_path / "other disk"
    if link.endswith("outer0_inner0"):
        there.mkdir()
    Path(link).symlink_to(there)
    check(plan)


def test_an_overlay_changes_what_it_lists(plan_of: PlanOf) -> None:
    (plain,), (demo,) = (plan_of(*overrides).runs for overrides in ([], ["experiment=demo"]))
    assert (plain.spec.grid.spacing_mm, demo.spec.grid.spacing_mm) == (1.25, 2.5)
    assert demo.config.loader.batch_size == 8
    assert demo.spec.labels == plain.spec.labels


@pytest.mark.parametrize(
    "overlay",
    [
        *("smoke", "demo", "paper", "overfit", "any_scanner_fat", "any_scanner_ablation"),
        *("any_contrast", "any_contrast_muscles", "any_dixon"),
    ],
)
@pytest.mark.parametrize("region", ["calf", "thigh", "lower_limb"])
def test_every_overlay_and_region_passes_the_checks(
    plan_of: PlanOf, overlay: str, region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of(f"experiment={overlay}", f"region={region}", "model.width=2")
    check(plan)
    assert plan.runs[0].config.plain["region"]["name"] == region


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("outer=5", "outer=5: no such fold; give 0 to 4"),
        ("inner=-1", "inner=-1: no such fold; give 0 to 4"),
        ("outer=a", "outer=a: not a whole number"),
        ("outer=1.5", "outer=1.5: not a whole number"),
        ("edition=gold", "edition=gold: no option 'gold'; give any_contrast, professional, simplified"),
        (
            "channels=[fat,sugar]",
            "channels=['fat', 'sugar']: give some of fat, water, te345, te460, te575, image, each once",
        ),
        ("channels=perhaps", "channels=perhaps:"),
        ("wdith=3", "wdith: no such key"),
        ("+trainer.max_epoch=1", "trainer.max_epoch: no such key; did you mean trainer.max_epochs?"),
        ("+max_epochs=3", "max_epochs: no such key; did you mean trainer.max_epochs?"),
        ("+grid.row=1", "grid.row: no such key; did you mean grid.rows?"),
        ("+inference.flips=true", "inference.flips: no such key; did you mean inference.flip?"),
        ("+augmentation.shear=1", "augmentation.shear: no such key; give one of augmentation.shift, "),
        ("+trainr.max_epochs=1", "trainr: no such key; did you mean trainer?"),
        ("+workers=1", "workers: no such key; did you mean synthesis.workers or loader.workers?"),
        ("+weight_decay=1", "weight_decay: no such key; did you mean optimizer.weight_decay?"),
        ("+nothing.like={it: 1}", "nothing: no such key; see conf/ for all keys"),
        ("++cohort.phantom.sede=2", "cohort.phantom.sede: no such key; did you mean cohort.phantom.seed?"),
        ("+trainer.logger=true", "trainer.logger: no such key"),
        ("+trainer.limit_test_batches=0.1", "trainer.limit_test_batches: no such key"),
        ("+trainer.check_val_every_n_epoch=2", "trainer.check_val_every_n_epoch: no such key"),
        ("logger.mode=ofline", "logger.mode=ofline: give auto or online or offline or disabled"),
        ("+loss._args_=[1]", "loss._args_: no argument by its name"),
        ("+trainer.gradient_clip_algorithm=x", "trainer.lightning={'gradient_clip_algorithm': 'x'}: "),
        ("+trainer.lightning.nope=1", "trainer.lightning={'nope': 1}: Trainer.__init__() got an unexpected"),
        ("model.widht=3", "model.widht: no such key; did you mean model.width?"),
        ("model.width=0", "model.width=0 is no size of a network"),
        ("model._target_=os.system", "model._target_=os.system is no torch module"),
        ("model._target_=builtins.dict", "model._target_=builtins.dict is no torch module"),
        ("normalisation=minmax", "normalisation=minmax: give z_score or body_z_score or percentile"),
        ("grid.spacing_mm=-1", "grid.spacing_mm=-1.0 is no pixel size"),
        ("grid.fit=squeeze", "grid.fit=squeeze is unknown"),
        ("augmentation.scale=[1.3,0.7]", "augmentation.scale=[1.3, 0.7] is no range"),
        ("loader.batch_size=0", "loader.batch_size=0: give 1 or more"),
        ("inference.threshold=1.5", "inference.threshold=1.5: give a probability"),
        ("inference.scales=[1,3]", "inference.scales=[1.0, 3.0]: give 1 to 32, each from 0.5 to 2"),
        ("inference.scales=[]", "inference.scales=[]: give 1 to 32, each from 0.5 to 2"),
        ("trainer.max_epochs=many", "trainer.max_epochs=many:"),
        ("cohort.path=nowhere.csv", "nowhere.csv: no such cohort table"),
        ("cohort.phantom.preset=huge", "preset 'huge' is unknown"),
        ("study=../elsewhere", "study=../elsewhere is no folder name"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_is_written(
    plan_of: PlanOf, override: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        check(plan_of(override, multirun=False))
    (problem,) = raised.value.problems
    assert problem.startswith(line)
    assert "\n" not in problem
    assert list(tmp_path.iterdir()) == []


def test_several_values_need_multirun(plan_of: PlanOf) -> None:
    with pytest.raises(InputError, match="outer: several values ask for several runs; add -m"):
        plan_of("outer=range(0,5)", multirun=False)


def test_a_fixed_study_name_is_refused_for_two_configurations(plan_of: PlanOf) -> None:
    plan = plan_of("study=same", "edition=professional,simplified")
    with pytest.raises(InputError, match="asked for twice under one study"):
        check(plan)


def test_unfinished_runs_are_those_without_done(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of("inner=0,1", f"runs={tmp_path}")
    done = plan.runs[0].run.done
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    assert [run.config.inner for run in plan.unfinished] == [1]


def test_hydra_is_given_what_a_run_elsewhere_has_come_to(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert math.isnan(result_of(run).return_value)
    write_done(run, outer=0, inner=0, scores={"dice": 0.8, "dice_calf": 0.9})
    assert result_of(run).return_value == 0.8


# Past failures, found by `make fuzz`: taken, and then every run failed; a traceback; a process short of memory.


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study=${study}", "study=${study}: cannot be resolved ("),
        ("seed=${nope}", "seed=${nope}: cannot be resolved ("),
        ("data=${oc.env:SURELY_NOT_SET}", "data=${oc.env:SURELY_NOT_SET}: cannot be resolved ("),
        ("loss=${oc.decode:'1'}", "loss=${oc.decode:'1'}: "),
        ("outer=???", "outer: has no value; give outer=VALUE"),
        ("channels=null", "channels=null: "),
        ("optimizer._target_=os.system", "optimizer._target_=os.system is no optimizer"),
        ("schedule._target_=torch.optim.SGD", "schedule._target_=torch.optim.SGD is no schedule"),
        ("optimizer.lr=-1", "optimizer: adamw cannot be made"),
        ("schedule.max_lr=-1", "optimizer: "),
        ("loss.dice_weight=nan", "loss: gives no finite number"),
        ("loss._target_=torch.nn.Identity", "loss: "),
        ("model._target_=torch.nn.Identity", "model: gives "),
        ("model.width=1000000", "model.width=1000000 makes too large a network"),
        ("model.depth=1000000", "model.depth=1000000 makes too large a network"),
        ("model.width=1024", "model: "),
        ("grid.rows=1000000000", "grid.rows=1000000000 is no size"),
        ("grid.spacing_mm=1e-30", "grid.spacing_mm=1e-30 is no pixel size"),
        ("trainer.accelerator=abacus", "trainer.accelerator=abacus: give auto or cpu"),
        ("trainer.precision=3", "trainer.precision=3: give auto or"),
        ("trainer.precision=64-true", "trainer.precision=64-true: give auto or"),
        ("trainer.devices=x", "trainer.devices=x: give auto"),
        ("trainer.strategy=hope", "trainer.strategy=hope: give auto or"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1.0: give a number above 0"),
        ("early_stopping.min_delta=nan", "early_stopping.min_delta=nan: give a number"),
        ("seed=99999999999999999999", "seed=99999999999999999999: give 0 or more, up to"),
        ("study=" + "x" * 300, "study=xxx"),
        ("runs=" + "x" * 300, "runs=xxx"),
    ],
)
def test_what_no_run_could_use_is_refused_at_once(
    plan_of: PlanOf, override: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        check(plan_of(override, multirun=False))
    assert raised.value.problems[0].startswith(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["outer=range(0,100)", "inner=range(0,100)"], "outer inner: 10000 runs are asked for; ask for 2500 at most"),
        (["seed=range(0,20)", "folds.seed=range(0,20)"], "400 studies are asked for; ask for 256 at most"),
    ],
)
def test_more_runs_than_can_be_planned_are_refused(plan_of: PlanOf, overrides: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_of(*overrides)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_an_accelerator_that_is_not_here_is_refused_unless_a_cluster_trains(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(slurm, "require_slurm", lambda: None)
    asked = ("experiment=smoke", f"trainer.accelerator={accelerator}")
    with pytest.raises(InputError) as caught:
        check(plan_of(*asked))
    said = f"trainer.accelerator={accelerator}: not found on this machine; give auto or cpu"
    assert caught.value.problems == (said,)
    check(plan_of(*asked, "hydra/launcher=slurm"))
    check(plan_of("experiment=smoke", "trainer.accelerator=cpu", "trainer.devices=2"))


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("++optimizer.lrr=3", "'lrr'); did you mean optimizer.lr?"),
        ("+model.widht=3", "'widht'); did you mean model.width?"),
        ("+schedule.max_lrr=3", "did you mean schedule.max_lr?"),
        ("+loss.nothing_like_it=3", "correct loss=... or its arguments"),
    ],
)
def test_an_argument_that_is_like_another_is_answered_with_it(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        check(plan_of("experiment=smoke", added))
    assert len(caught.value.problems) == 1 and caught.value.problems[0].endswith(said)


@pytest.mark.parametrize(
    "added",
    [
        "+trainer.accumulate_grad_batches=2",
        "++trainer.lightning.benchmark=false",
        "++trainer.max_epochs=3",
        "+optimizer.amsgrad=true",
        "++seed=3",
        "++data=elsewhere",
    ],
)
def test_what_may_be_added_is_taken(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: str
) -> None:
    monkeypatch.chdir(tmp_path)
    check(plan_of("experiment=smoke", added))


def test_arguments_of_lightning_reach_its_trainer_and_part_studies(plan_of: PlanOf) -> None:
    (plain,), (added,), (same,) = (
        plan_of("experiment=smoke", *more).runs
        for more in ([], ["+trainer.accumulate_grad_batches=2"], ["++trainer.lightning.accumulate_grad_batches=2"])
    )
    assert make_trainer(added, choose(added.config.trainer), (0,), []).accumulate_grad_batches == 2
    assert make_trainer(plain, choose(plain.config.trainer), (0,), []).accumulate_grad_batches == 1
    assert added.study == same.study != plain.study


@pytest.mark.parametrize("machine", ["gpu", "gpu_shared"])
@pytest.mark.parametrize("experiment", ["any_scanner_fat", "any_contrast", "any_contrast_muscles", "any_dixon"])
def test_what_suits_a_machine_wins_over_the_experiment(plan_of: PlanOf, machine: str, experiment: str) -> None:
    (plain,) = plan_of(f"experiment={experiment}").runs
    (run,) = plan_of(f"experiment={experiment}", f"machine={machine}", "trainer.accelerator=cpu").runs
    drawn, epochs = run.config.synthesis, run.config.trainer.max_epochs
    assert drawn.slices == drawn.initial + (epochs - 1) * drawn.growth, "all slices are trained on"
    assert epochs * drawn.per_epoch > plain.config.trainer.max_epochs * plain.config.synthesis.per_epoch
    assert run.config.early_stopping.patience >= epochs
    assert run.spec == plain.spec
