"""One run from its configuration to its folder: whole, refused, failed."""

import json
import shutil
from collections import Counter
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from tests.shared.runs import DRAWN, done_of, interrupt, rows_of
from torch import Tensor

from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.imaging.frame import normalise
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.phantom import any_contrast
from musclesense.phantom.anatomy.templates import compartment_values
from musclesense.training.module import SegmentationModule
from musclesense.training.run import train
from musclesense.training.watch.progress import RunBar
from musclesense.vocabulary import Region

FILES = {"config.yaml", "metrics.csv", "cases.csv", "overlays.npz", "done.json", "checkpoints"}


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


@pytest.mark.parametrize(
    ("images", "labels", "region"),
    [("professional", "whole_muscle", "lower_limb"), ("simplified", "compartments", "thigh")],
)
def test_slices_of_any_scanner_s_dixon_are_trained_on_with_all_their_images(
    configured, monkeypatch, tmp_path, images, labels, region
):
    monkeypatch.setattr(any_contrast, "FINEST_MM", 2.5)
    own = (*DRAWN[1:], "synthesis=any_dixon", "synthesis.initial=4", "synthesis.per_epoch=4", "synthesis.growth=0")
    named = (f"edition={images}", f"labels={labels}", f"region={region}")
    config = configured(*own, *named, "synthesis.replace=true", "trainer.max_epochs=1", f"data={tmp_path}")
    train(config)
    assert config.synthesis is not None
    shape = config.synthesis.pool.read([0])["image"].shape[1:]
    assert shape[-2:] == (32, 64) and shape[:-2] == ((4,) if images == "professional" else ())
    weights = torch.load(config.run.checkpoints.best, weights_only=True)["state_dict"]
    assert next(one.shape[1] for one in weights.values() if one.ndim == 4) == len(config.spec.channels)
    assert {row["region"] for row in rows_of(config.run.path / "cases.csv")} == {*map(str, config.spec.regions)}


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_failing_run_writes_nothing_done(configured, monkeypatch, error):
    config = configured()
    interrupt(monkeypatch, RunBar, "on_train_epoch_end", 1, error)
    with pytest.raises((RuntimeError, SystemExit)):
        train(config)
    assert {path.name for path in config.run.path.iterdir()} == FILES - {"done.json", "cases.csv", "overlays.npz"}


def test_loss_is_averaged_over_cases_and_judging_is_in_evaluation_mode(configured, monkeypatch):
    losses: dict[int, list[tuple[float, int]]] = {}
    modes: set[bool] = set()
    original = SegmentationModule.training_step

    def training_step(self: SegmentationModule, batch: Any) -> Tensor:
        assert self.training and self.network.training
        loss = original(self, batch)
        losses.setdefault(self.current_epoch, []).append((float(loss.detach()), len(batch.case)))
        return loss

    monkeypatch.setattr(SegmentationModule, "training_step", training_step)

    validation_step = SegmentationModule.validation_step

    def watched(self: SegmentationModule, batch: Any) -> None:
        modes.update({self.training, self.network.training, torch.is_grad_enabled()})
        validation_step(self, batch)

    monkeypatch.setattr(SegmentationModule, "validation_step", watched)
    config = configured("loader.batch_size=5", "trainer.max_epochs=2")
    train(config)
    for row in rows_of(config.run.path / "metrics.csv"):
        values, counts = zip(*losses[int(row["epoch"])], strict=True)
        assert len(set(counts)) == 2, "batches of different sizes tell means apart"
        assert float(row["train_loss"]) == pytest.approx(np.average(values, weights=counts), rel=1e-5)
    assert modes == {False}


def test_sided_classes_are_trained_and_scored_each(configured, data, tmp_path):
    """Labels that number the sides: a row for each case and class."""
    values = {**compartment_values(Region.CALF), **compartment_values(Region.THIGH)}
    sides = {side: [value for name, value in values.items() if name.endswith(side)] for side in ("left", "right")}
    classes = ",".join(f"{side}:{own}".replace(" ", "") for side, own in sides.items())
    config = configured(
        "labels=sides", "labels.column=compartments", "trainer.max_epochs=1", f"labels.classes={{{classes}}}"
    )
    train(config)
    rows = rows_of(config.run.path / "cases.csv")
    assert Counter(row["label"] for row in rows)["left"] == Counter(row["label"] for row in rows)["right"] > 0
    dice = [float(row["dice"]) for row in rows]
    assert done_of(config.run.path)["scores"]["dice"] == pytest.approx(np.mean(dice))


def test_sides_that_no_mask_holds_are_refused(configured):
    """The phantom's mask holds no 2: nobody has a right."""
    config = configured("labels=sides", "labels.classes={left:[1],right:[2]}")
    with pytest.raises(InputError, match=r"no mask holds right \(2\), but left in images of both limbs"):
        train(config)
    assert not config.run.path.exists()


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
