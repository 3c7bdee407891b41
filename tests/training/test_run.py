"""One run from its configuration to its folder: whole, resumed, stopped early, failed."""

import errno
import itertools
import json
import os
import shutil
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.shared.runs import StopError, assert_same_run, done_of, interrupt, rows_of, same, train_until, weights_of
from torch import Tensor, nn

from musclesense.cohort.table import read_table
from musclesense.errors import DiskError, InputError
from musclesense.imaging.frame import normalise
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.training import run
from musclesense.training.callbacks import StepSeed
from musclesense.training.machine.devices import train_in_step
from musclesense.training.machine.hardware import Hardware, choose
from musclesense.training.module import SegmentationModule
from musclesense.training.record import TestFoldScores as FoldScores
from musclesense.training.run import train
from musclesense.training.settings import Settings
from musclesense.training.watch.progress import RunBar

FILES = {"config.yaml", "metrics.csv", "cases.csv", "overlays.npz", "done.json", "checkpoints"}


def script(patch: pytest.MonkeyPatch, dice: Sequence[float]) -> dict[int, dict[str, Tensor]]:
    """Let the validation DSC be ``dice``, epoch by epoch; give the weights at the end of each epoch."""
    weights: dict[int, dict[str, Tensor]] = {}

    def scripted(self: SegmentationModule) -> None:
        self.val_dice.reset()
        self.log("val_dice", torch.tensor(dice[self.current_epoch]))
        weights[self.current_epoch] = {key: value.clone() for key, value in self.state_dict().items()}

    patch.setattr(SegmentationModule, "on_validation_epoch_end", scripted)
    return weights


def test_run_folder_holds_the_record(finished, composed):
    assert {path.name for path in finished.iterdir()} == FILES
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    best = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    assert {*best} == {"format", "epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "state_dict"}
    assert (finished.parent / "study.yaml").is_file() and (finished.parent / "folds.json").is_file()
    config = yaml.safe_load((finished / "config.yaml").read_text(encoding="utf-8"))
    plain = composed("study=whole").config.plain
    assert config | {"data": "", "runs": ""} == {**plain} | {"data": "", "runs": ""}


def test_metrics_are_one_row_an_epoch(finished):
    rows = rows_of(finished / "metrics.csv")
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", "val_dice", "learning_rate", "seconds"]
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert all(0 <= float(row["val_dice"]) <= 1 and 0 < float(row["learning_rate"]) <= 2e-2 for row in rows)
    done = done_of(finished)
    assert done["epochs"] == 4
    assert done["best_epoch"] == int(np.argmax([float(row["val_dice"]) for row in rows]))


def test_scores_are_the_means_of_the_cases(finished):
    rows = rows_of(finished / "cases.csv")
    scores: dict[str, list[float]] = {"dice": [], "dice_calf": [], "dice_thigh": []}
    for row in rows:
        scores["dice"].append(float(row["dice"]))
        scores[f"dice_{row['region']}"].append(float(row["dice"]))
        tp, fp, fn = (int(row[name]) for name in ("tp", "fp", "fn"))
        assert float(row["dice"]) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert done_of(finished)["scores"] == pytest.approx({name: np.mean(own) for name, own in scores.items()})


def test_tested_cases_are_those_of_the_test_fold(finished, data):
    folds = json.loads((finished.parent / "folds.json").read_text(encoding="utf-8"))
    rows = rows_of(finished / "cases.csv")
    table = read_table(data / "phantom-smoke-1" / "cohort.csv")
    tested = {row["subject"] for row in rows}
    expected = [a.line for a in table.acquisitions if a.subject in tested]
    assert [int(row["line"]) for row in rows] == expected
    assert sorted(tested) in [sorted(part) for part in _lists(folds)]
    with np.load(finished / "overlays.npz") as overlays:
        assert overlays["line"].tolist() == expected
        assert overlays["image"].shape == overlays["truth"].shape == overlays["prediction"].shape == (len(rows), 32, 64)
        assert {overlays[name].dtype for name in ("image", "truth", "prediction")} == {np.dtype(np.uint8)}


def _lists(nested: Any) -> list[list[str]]:
    """Every list of names somewhere in a JSON document."""
    if isinstance(nested, dict):
        return [found for part in nested.values() for found in _lists(part)]
    if isinstance(nested, list) and nested and all(isinstance(part, str) for part in nested):
        return [nested]
    return [found for part in nested for found in _lists(part)] if isinstance(nested, list) else []


def test_case_scores_recomputed_from_the_files(finished, data):
    """Images to network to mask in scanner space once more, without cache, loader or trainer."""
    module = SegmentationModule.load(finished / "checkpoints" / "best.ckpt")
    of_line = {a.line: a for a in read_table(data / "phantom-smoke-1" / "cohort.csv").acquisitions}
    for row in rows_of(finished / "cases.csv"):
        acquisition, number = of_line[int(row["line"])], int(row["slice"])
        volumes = {name: read_volume(acquisition.channels[name]) for name in module.spec.channels}
        geometry = volumes["fat"].geometry
        images = {name: take_slice(volume.data, geometry, number) for name, volume in volumes.items()}
        placement = module.spec.grid.place(geometry, images["fat"])
        stacked = np.stack([normalise(image, placement)[0] for image in images.values()])
        with torch.inference_mode():
            (muscle,) = module.probabilities(torch.from_numpy(stacked)[None])[0].numpy()
        predicted = placement.to_scanner(muscle) >= 0.5
        mask = nib.load(acquisition.mask)
        true = take_slice(np.asarray(mask.dataobj), geometry, number) > 0
        dice = 2 * (true & predicted).sum() / (true.sum() + predicted.sum())
        assert float(row["dice"]) == pytest.approx(dice, abs=2e-3)  # the cache rounds to half precision
        millilitres = float(np.prod(mask.header.get_zooms()[:3])) / 1000
        assert float(row["volume_true_ml"]) == pytest.approx(true.sum() * millilitres, rel=1e-5)
        assert float(row["volume_predicted_ml"]) == pytest.approx(predicted.sum() * millilitres, rel=0.01)
        fraction = take_slice(np.asarray(nib.load(acquisition.fat_fraction).dataobj), geometry, number)
        assert float(row["fat_fraction_true_mask"]) == pytest.approx(fraction[true].mean(), rel=1e-4)
        assert float(row["fat_fraction_predicted_mask"]) == pytest.approx(fraction[predicted].mean(), rel=0.01)
        assert float(row["hd95_mm"]) > 0


def test_a_finished_run_is_left_alone(configured, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.parent, tmp_path / "runs" / "whole")
    config = configured("study=whole")
    files = [path for path in config.run.path.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    monkeypatch.setattr(SegmentationModule, "training_step", lambda *_: pytest.fail("trains again"))
    assert train(config) == done_of(finished)["scores"]
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.parametrize("state", ["finished", "begun"])
def test_another_configuration_under_the_same_name_is_refused(configured, finished, tmp_path, state):
    shutil.copytree(finished.parent, tmp_path / "runs" / "whole")
    if state == "begun":
        (tmp_path / "runs" / "whole" / "outer0_inner0" / "done.json").unlink()
    with pytest.raises(InputError, match=r"model\.width is 4 there and 6 here"):
        train(configured("study=whole", "model.width=6"))


@pytest.mark.parametrize(
    ("where", "hook"),
    [
        (RunBar, "on_train_epoch_end"),  # before the checkpoints of the epoch
        (ModelCheckpoint, "_save_none_monitor_checkpoint"),  # between best and last
        (RunBar, "on_train_start"),  # before the first
    ],
)
def test_an_interrupted_run_ends_as_if_it_had_never_stopped(configured, finished, where, hook):
    config = configured("study=whole")
    train_until(config, 0 if hook == "on_train_start" else 2, where=where, hook=hook)
    assert not (config.run.path / "done.json").exists()
    train(config)
    assert_same_run(config.run.path, finished)


@pytest.mark.parametrize(("damaged", "first"), [("last", 2), ("best", 0)])
def test_a_run_with_a_damaged_checkpoint_ends_as_if_it_had_never_been(
    configured, finished, monkeypatch, capsys, damaged, first
):
    config = configured("study=whole")
    train_until(config, 3)
    path = config.run.path / "checkpoints" / f"{damaged}.ckpt"
    path.write_bytes(path.read_bytes()[:-1000])
    epochs: list[int] = []
    original = RunBar.on_train_epoch_end
    monkeypatch.setattr(
        RunBar,
        "on_train_epoch_end",
        lambda self, trainer, module: (epochs.append(trainer.current_epoch), original(self, trainer, module)),
    )
    train(config)
    assert epochs == list(range(first, 4))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(str(path))]
    assert line.endswith(
        "the run goes on from previous.ckpt" if damaged == "last" else "the run is trained from the beginning"
    )
    assert_same_run(config.run.path, finished)


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_costs_no_epoch(configured, finished, monkeypatch):
    config = configured("study=whole")
    original = Path.write_bytes

    def full(self: Path, content: Any) -> int:
        if self.name == "last.ckpt" and (config.run.path / "checkpoints" / "previous.ckpt").is_file():
            original(self, bytes(content[:1000]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, content)

    with monkeypatch.context() as patch, pytest.raises(DiskError, match=r"last\.ckpt.*No space left"):
        patch.setattr(Path, "write_bytes", full)
        train(config)
    kept = config.run.path / "checkpoints"
    assert {path.name for path in kept.iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert torch.load(kept / "last.ckpt", weights_only=True)["epoch"] == 1
    train(config)
    assert_same_run(config.run.path, finished)


def test_a_run_goes_on_with_workers_that_read_ahead(configured, finished):
    train_until(configured("study=whole"), 2)
    config = configured("study=whole", "loader.workers=1")
    train(config)
    assert_same_run(config.run.path, finished)


DRAWN = (
    "edition=simplified",
    *(
        "synthesis=any_scanner",
        "synthesis.initial=8",
        "synthesis.per_epoch=6",
        "synthesis.growth=4",
        "synthesis.shard=4",
    ),
    "synthesis.workers=0",
)
AVERAGED = ("averaging.decay=0.9", "checkpoints.keep_every=2")


def test_drawn_slices_are_trained_on_beside_the_cohort_s(configured, drawn, monkeypatch, tmp_path):
    trained: list[list[int]] = []
    original = SegmentationModule.training_step
    monkeypatch.setattr(
        SegmentationModule,
        "training_step",
        lambda self, batch: (trained.append(batch.case.tolist()), original(self, batch))[1],
    )
    seen = []
    for replace in ("false", "true"):
        trained.clear()
        config = configured(*DRAWN, f"synthesis.replace={replace}", "trainer.max_epochs=2", f"data={tmp_path}")
        train(config)
        cases = [case for batch in trained for case in batch]
        end = 24  # of the smoke phantom's slices
        seen.append((sum(case < end for case in cases), sum(case >= end for case in cases), max(cases) - end))
        rate = float(rows_of(config.run.path / "metrics.csv")[-1]["learning_rate"])
        assert 0 < rate < 1e-6, "the schedule ends with the last step, that of the drawn slices counted"
    assert [part[1] for part in seen] == [12, 12]
    assert seen[0][0] > 0 and seen[1][0] == 0
    assert all(8 <= part[2] < 12 for part in seen), "the second epoch draws from a larger pool"
    assert len(drawn) == 12, "both runs share one pool"


def test_a_run_that_draws_and_averages_goes_on_as_if_it_had_never_stopped(configured, tmp_path, drawn):
    whole = configured(*DRAWN, *AVERAGED, f"data={tmp_path}")
    resumed = configured(*DRAWN, *AVERAGED, f"data={tmp_path / 'again'}", f"runs={tmp_path / 'resumed'}")
    train(whole)
    train_until(resumed, 2)
    train(resumed)
    assert_same_run(resumed.run.path, whole.run.path)


def test_averaged_weights_are_those_validated_kept_and_tested(configured, monkeypatch):
    validated: dict[int, dict[str, Tensor]] = {}
    trained: dict[int, dict[str, Tensor]] = {}
    tested: list[dict[str, Tensor]] = []
    validation_step, test_step = SegmentationModule.validation_step, SegmentationModule.test_step

    def copy(module: SegmentationModule) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in module.state_dict().items()}

    def validating(self: SegmentationModule, batch: Any) -> None:
        validated[self.current_epoch] = copy(self)
        validation_step(self, batch)

    def testing(self: SegmentationModule, batch: Any) -> Tensor:
        tested.append(copy(self))
        return test_step(self, batch)

    monkeypatch.setattr(SegmentationModule, "validation_step", validating)
    monkeypatch.setattr(SegmentationModule, "test_step", testing)
    monkeypatch.setattr(
        StepSeed, "on_validation_start", lambda self, _, module: trained.update({module.current_epoch: copy(module)})
    )
    config = configured(*AVERAGED, "trainer.max_epochs=5")
    train(config)
    folder = config.run.path
    best = done_of(folder)["best_epoch"]
    assert same(weights_of(folder), validated[best])
    assert same(tested[0], validated[best])
    assert same(weights_of(folder, "last"), validated[4])
    assert all(not same(validated[epoch], trained[epoch]) for epoch in range(5))
    assert any(not torch.equal(validated[4][key], trained[4][key]) for key in trained[4] if "running_var" in key)
    assert {path.name for path in (folder / "checkpoints").glob("epoch-*")} == {"epoch-0001.ckpt", "epoch-0003.ckpt"}
    for epoch in (1, 3):
        path = folder / "checkpoints" / f"epoch-{epoch:04}.ckpt"
        assert same(SegmentationModule.load(path).state_dict(), validated[epoch])
        assert path.stat().st_size < (folder / "checkpoints" / "last.ckpt").stat().st_size / 3


def test_kept_epochs_without_averaging_are_the_weights_as_trained(configured, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.1])
    config = configured("checkpoints.keep_every=1", "trainer.max_epochs=3")
    train(config)
    for epoch, expected in weights.items():
        assert same(weights_of(config.run.path, f"epoch-{epoch:04}"), expected)


def test_seconds_go_on_where_the_run_was_interrupted(configured, monkeypatch):
    clock = itertools.count(1000, 10)
    monkeypatch.setattr("musclesense.training.record.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = configured()
    train_until(config, 2)
    train(config)
    seconds = [float(row["seconds"]) for row in rows_of(config.run.path / "metrics.csv")]
    assert seconds == [10, 20, 30, 40]


class Dropping(nn.Module):
    """A network that draws random numbers itself."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(in_channels, out_channels, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def test_any_network_can_be_trained_and_resumed_though_it_drops_at_random(configured, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", types.SimpleNamespace(Dropping=Dropping))
    network = ("~model.width", "~model.depth", "model._target_=elsewhere.Dropping", "trainer.max_epochs=3")
    whole, resumed = configured(*network), configured(*network, f"runs={tmp_path / 'again'}")
    train(whole)
    train_until(resumed, 1)
    torch.manual_seed(123)
    train(resumed)
    assert_same_run(resumed.run.path, whole.run.path)


def test_best_checkpoint_is_the_best_epoch(configured, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.6, 0.3])
    config = configured()
    scored: list[dict[str, Tensor]] = []
    original = FoldScores.on_test_epoch_end
    monkeypatch.setattr(
        FoldScores,
        "on_test_epoch_end",
        lambda self, trainer, module: (scored.append(dict(module.state_dict())), original(self, trainer, module)),
    )
    train(config)
    folder = config.run.path
    assert done_of(folder)["best_epoch"] == 1
    assert same(weights_of(folder), weights[1])
    assert same(weights_of(folder, "last"), weights[3])
    assert not same(weights[1], weights[3])
    assert same(scored[0], weights[1]), "tested with another epoch than the best"


def test_best_epoch_is_remembered_where_the_study_was_moved(configured, tmp_path, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.1, 0.3])
    train_until(configured("study=moved"), 2)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    config = configured("study=moved", f"runs={tmp_path / 'elsewhere'}")
    train(config)
    assert done_of(config.run.path)["best_epoch"] == 1
    assert same(weights_of(config.run.path), weights[1])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("dice", "patience", "epochs"), [([0.5, 0.4, 0.3], 2, 3), ([0.5, 0.4], 1, 2), ([0.1, 0.2, 0.3, 0.4], 2, 4)]
)
def test_a_run_that_ended_before_its_test_is_only_tested(configured, monkeypatch, dice, patience, epochs):
    """After early stopping had fired, or after the last epoch: the script knows no further one."""
    weights = script(monkeypatch, dice)
    config = configured(f"early_stopping.patience={patience}")
    with monkeypatch.context() as patch, pytest.raises(StopError):
        interrupt(patch, FoldScores, "on_test_batch_end", epochs, StopError())
        patch.setattr(FoldScores, "on_test_epoch_end", _interrupted)
        train(config)
    assert (config.run.path / "checkpoints" / "last.ckpt").is_file()
    train(config)
    done = done_of(config.run.path)
    assert (done["epochs"], done["best_epoch"]) == (epochs, int(np.argmax(dice)))
    assert len(rows_of(config.run.path / "metrics.csv")) == epochs
    assert same(weights_of(config.run.path), weights[int(np.argmax(dice))])


def _interrupted(*_: Any) -> None:
    raise StopError


def test_patience_is_remembered_over_an_interruption(configured, monkeypatch):
    weights = script(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    config = configured("early_stopping.patience=3", "trainer.max_epochs=8")
    train_until(config, 2)
    weights.clear()
    train(config)
    assert set(weights) == {2, 3}, "goes on from the last epoch, though the first was the best"
    assert done_of(config.run.path)["epochs"] == 4


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_failing_run_writes_nothing_done(configured, monkeypatch, error):
    config = configured()
    interrupt(monkeypatch, RunBar, "on_train_epoch_end", 1, error)
    with pytest.raises((RuntimeError, SystemExit)):
        train(config)
    assert {path.name for path in config.run.path.iterdir()} == FILES - {"done.json", "cases.csv", "overlays.npz"}


def test_loss_is_averaged_over_cases_and_judging_is_in_evaluation_mode(configured, monkeypatch):
    losses: dict[int, list[tuple[float, int]]] = {}
    modes: dict[str, set[bool]] = {"validation_step": set(), "test_step": set()}
    original = SegmentationModule.training_step

    def training_step(self: SegmentationModule, batch: Any) -> Tensor:
        assert self.training and self.network.training
        loss = original(self, batch)
        losses.setdefault(self.current_epoch, []).append((float(loss.detach()), len(batch.case)))
        return loss

    monkeypatch.setattr(SegmentationModule, "training_step", training_step)

    def watched(name: str) -> Callable[..., Any]:
        own = getattr(SegmentationModule, name)

        def step(self: SegmentationModule, batch: Any) -> Any:
            modes[name] |= {self.training, self.network.training, torch.is_grad_enabled()}
            return own(self, batch)

        return step

    for name in modes:
        monkeypatch.setattr(SegmentationModule, name, watched(name))
    config = configured("loader.batch_size=5", "trainer.max_epochs=2")
    train(config)
    for row in rows_of(config.run.path / "metrics.csv"):
        values, counts = zip(*losses[int(row["epoch"])], strict=True)
        assert len(set(counts)) == 2, "batches of different sizes tell means apart"
        assert float(row["train_loss"]) == pytest.approx(np.average(values, weights=counts), rel=1e-5)
    assert modes == {"validation_step": {False}, "test_step": {False}}


def test_sided_classes_are_trained_and_scored_each(configured, data, tmp_path):
    """A table whose masks number the sides: a row for each case and class that somebody has."""
    config = configured("labels=sides", "trainer.max_epochs=1", "labels.classes={left:[1],right:[2]}")
    train(config)
    rows = rows_of(config.run.path / "cases.csv")
    # The phantom's mask holds no 2: nobody has a right, which then is not counted, whatever is predicted.
    assert {row["label"] for row in rows} == {"left"}
    left = [float(row["dice"]) for row in rows]
    assert done_of(config.run.path)["scores"]["dice"] == pytest.approx(np.mean(left))


def test_single_muscles_are_read_from_their_own_column_and_scored_in_their_region(configured):
    """A muscle of the calf and one of the thigh, in a network for both regions."""
    classes = ["~labels.classes.left", "~labels.classes.right"]
    for name, value in (("soleus", 47), ("vastus_lateralis", 2)):
        classes += [f"+labels.classes.{name}_right=[{value}]", f"+labels.classes.{name}_left=[{value + 100}]"]
    config = configured("labels=sides", "labels.column=compartments", *classes)
    train(config)
    rows = rows_of(config.run.path / "cases.csv")
    assert {(row["region"], row["label"]) for row in rows} == {
        *(("calf", "soleus_right"), ("calf", "soleus_left")),
        *(("thigh", "vastus_lateralis_right"), ("thigh", "vastus_lateralis_left")),
    }
    assert all(float(row["volume_true_ml"]) > 0 and row["dice"] for row in rows)


def test_every_muscle_of_a_region_is_trained_and_scored(configured):
    """The label set as it is shipped."""
    config = configured("labels=compartments", "region=calf", "trainer.max_epochs=1")
    train(config)
    rows = rows_of(config.run.path / "cases.csv")
    muscles = {name.rpartition("_")[0] for name in config.spec.labels.names}
    assert {"soleus", "tibialis_anterior", "gastrocnemius_medial"} <= muscles
    missing = {*config.spec.labels.names} - {row["label"] for row in rows}
    assert missing <= {"popliteus_left", "popliteus_right"}, "which ends above the middle of the calf"
    assert config.spec.labels.n_classes == 2 * len(muscles) == 20


def _noted(rank: int, config: Settings, notes: Path) -> None:
    """Train as one of two processes, and write down what it saw."""
    seen: dict[str, list[Any]] = {"trained": [], "validated": [], "statistics": []}
    training_step, validation_step = SegmentationModule.training_step, SegmentationModule.validation_step

    def training(self: SegmentationModule, batch: Any) -> Tensor:
        loss = training_step(self, batch)
        seen["trained"].append([self.current_epoch, batch.case.tolist(), float(loss.detach())])
        return loss

    def validating(self: SegmentationModule, batch: Any) -> None:
        if batch.case[0] not in seen["validated"]:
            seen["validated"] += batch.case.tolist()
        seen["statistics"].append([self.current_epoch, float(sum(b.double().sum() for b in self.network.buffers()))])
        validation_step(self, batch)

    SegmentationModule.training_step = training  # type: ignore[method-assign]
    SegmentationModule.validation_step = validating  # type: ignore[method-assign]
    run._as_rank(rank, config, (0, 1))
    (notes / f"{rank}.json").write_text(json.dumps(seen), encoding="utf-8")


def test_two_devices_train_judge_and_test_together(configured, finished, slices, tmp_path):
    """Two processes on the CPU, as with two GPUs."""
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2")
    config = configured(*two, "averaging.decay=0.9")
    folder = config.run.path
    train_in_step(_noted, (config, tmp_path), devices=2, look=lambda: None)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))

    alone = run.set_up(configured("averaging.decay=0.9", "study=alone"), slices, (0,), None)
    train_cases, validation_cases = alone.datamodule.train_cases, alone.datamodule.validation_cases
    assert sorted(one["validated"] + other["validated"]) == validation_cases, "each case is judged once"
    assert one["statistics"] and {tuple(pair) for pair in one["statistics"]} == {tuple(p) for p in other["statistics"]}
    rows = rows_of(folder / "metrics.csv")
    for row in rows:
        steps = [step for step in one["trained"] + other["trained"] if step[0] == int(row["epoch"])]
        cases = [case for step in steps for case in step[1]]
        assert {*cases} == {*train_cases} and len(cases) == len(train_cases) + len(train_cases) % 2
        assert max(len(step[1]) for step in steps) == 2  # of batches of 4
        expected = np.average([step[2] for step in steps], weights=[len(step[1]) for step in steps])
        assert float(row["train_loss"]) == pytest.approx(expected, rel=1e-5)
    last = SegmentationModule.load(folder / "checkpoints" / "last.ckpt")
    (judged,) = alone.trainer.validate(last, datamodule=alone.datamodule, verbose=False)
    assert float(rows[-1]["val_dice"]) == pytest.approx(judged["val_dice"], abs=1e-6)
    lines = [row["line"] for row in rows_of(folder / "cases.csv")]
    assert lines == [row["line"] for row in rows_of(finished / "cases.csv")], "each case is tested once, in order"
    done = done_of(folder)
    assert (done["devices"], done["epochs"], len(rows)) == (2, 2, 2)
    assert done["scores"]["dice"] == pytest.approx(
        np.mean([float(row["dice"]) for row in rows_of(folder / "cases.csv")])
    )


def test_several_gpus_are_named_to_lightning_and_share_batch_statistics(configured, slices, monkeypatch):
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(run, "Trainer", lambda **named: made.append(named))
    monkeypatch.setattr(run, "choose", lambda config: Hardware("cuda", "bf16-mixed", "pretended"))
    for own in ((2,), (1, 3)):
        session = run.set_up(configured("trainer=ddp"), slices, own, None)
        assert session.datamodule.train_dataloader().pin_memory
    assert [named["devices"] for named in made] == [[2], [1, 3]]
    assert [named["strategy"] for named in made] == ["auto", "ddp"]
    assert [named["sync_batchnorm"] for named in made] == [False, True]


def test_lightning_requeues_no_job(composed, tmp_path, monkeypatch):
    """It would save in the middle of an epoch, and later go on from there rather than from ``last.ckpt``."""
    for name, value in {"NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    settings = composed()
    trainer = run.make_trainer(settings, choose(settings.config.trainer), (0,), None, [])
    environment = trainer._accelerator_connector.cluster_environment  # which the handlers of signals look at
    assert type(environment).__name__ == "LightningEnvironment", "and not that of Slurm"
