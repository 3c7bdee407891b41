"""Segmentation goes the way of training: equal arrays before the network, equal scores behind it, masks as before."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from musclesense.cli.main import main
from musclesense.cohort.cache import open_or_build
from musclesense.cohort.table import Acquisition, read_table
from musclesense.imaging.grid import Grid, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.networks.predictor import Predictor
from musclesense.networks.spec import NetworkSpec
from musclesense.networks.torch_predictor import TorchPredictor
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.training.run import train
from musclesense.training.settings import Settings

from ..shared.networks import BEFORE, spec_of
from ..shared.runs import rows_of

PHANTOM = BEFORE / "phantom-smoke-1"


class Recorder(Predictor):
    """A predictor that keeps what it is given."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.seen: list[NDArray[np.float32]] = []
        self.runtime: dict[str, str] = {}

    def looks(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        self.seen.extend(images)
        yield np.zeros((len(images), 1, *images.shape[2:]), np.float32)


def stored_otherwise(acquisition: Acquisition, codes: str, folder: Path) -> Acquisition:
    """Store the images of an acquisition with their axes in another order and direction."""

    def again(path: Path) -> Path:
        image = nib.load(path)
        there = nib.orientations.io_orientation(image.affine)
        turn = nib.orientations.ornt_transform(there, nib.orientations.axcodes2ornt(codes))
        folder.mkdir(exist_ok=True)
        nib.save(image.as_reoriented(turn), folder / path.name)
        return folder / path.name

    channels = {name: again(path) for name, path in acquisition.channels.items()}
    assert acquisition.mask is not None
    return dataclasses.replace(acquisition, channels=channels, mask=again(acquisition.mask))


@pytest.mark.parametrize(
    ("codes", "normalisation"),
    [("LPS", "z_score"), ("RAS", "z_score"), ("SAR", "body_z_score"), ("PIL", "percentile")],
)
@pytest.mark.parametrize(
    ("common", "network"),
    [
        (("fat", "water", "te345", "te460", "te575"), ("fat", "water", "te345", "te575")),
        (("fat", "water"), ("water",)),
        (("te345", "te575"), ("te575",)),  # the scan has a fat image, the cohort's other rows have none
        (("water",), ("water",)),
    ],
)
def test_a_network_is_given_what_it_was_trained_on(
    common: Sequence[str], network: tuple[str, ...], codes: str, normalisation: str, tmp_path: Path
) -> None:
    rows = [row for row in read_table(PHANTOM / "cohort.csv").acquisitions if row.subject == "sub-004"]
    rows = [stored_otherwise(row, codes, tmp_path / row.region) for row in rows]
    kept = [dataclasses.replace(row, channels={name: row.channels[name] for name in common}) for row in rows]
    grid, labels = Grid(4.0, 56, 100), LabelSet.from_config({"muscle": []})
    cache = open_or_build(tmp_path / "cache", kept, grid=grid, labels=labels, normalisation=normalisation)
    spec = spec_of(channels=network, placed_by=cache.placed_by, grid=grid, normalisation=normalisation)
    for position, case in enumerate(cache.cases):
        row = next(row for row in rows if row.line == case.acquisition.line)
        recorder = Recorder(spec)
        volumes = {name: read_volume(path) for name, path in row.channels.items()}
        images = {name: volume.data for name, volume in volumes.items()}
        Segmenter(recorder, (Path("none"),)).segment(images, volumes["fat"].geometry)
        trained = cache.images[position, [cache.channels.index(name) for name in network]]
        # In half precision, in which the cache keeps them.
        assert np.array_equal(recorder.seen[case.slice].astype(np.float16), trained)


def assert_scored_alike(rows: Sequence[Mapping[str, str]], model: Path, table: Path) -> None:
    """Segment every scored scan from its files, and count its voxels again."""
    of_line = {acquisition.line: acquisition for acquisition in read_table(table).acquisitions}
    found: dict[int, Any] = {}
    for row in rows:
        acquisition, number = of_line[int(row["line"])], int(row["slice"])
        if acquisition.line not in found:
            images: dict[str, Any] = dict(acquisition.channels)
            found[acquisition.line] = segment(read_scan(**images), model=model, region=acquisition.region, device="cpu")
        made = found[acquisition.line]
        assert acquisition.mask is not None and acquisition.fat_fraction is not None
        predicted = take_slice(made.mask, made.geometry, number) > 0
        true = take_slice(read_volume(acquisition.mask).data, made.geometry, number) > 0
        tp, fp, fn = (int(np.sum(part)) for part in (true & predicted, ~true & predicted, true & ~predicted))
        assert (tp, fp, fn) == tuple(int(row[name]) for name in ("tp", "fp", "fn"))
        assert float(row["dice"]) == 2 * tp / (2 * tp + fp + fn)
        percent = take_slice(read_volume(acquisition.fat_fraction).data, made.geometry, number).astype(np.float32)
        assert float(row["fat_fraction_true_mask"]) == mean_fat_fraction(percent, true)
        assert float(row["fat_fraction_predicted_mask"]) == mean_fat_fraction(percent, predicted)


def test_a_test_case_that_is_segmented_has_the_score_of_its_run(finished: Path, data: Path) -> None:
    rows = rows_of(finished / "cases.csv")
    assert len(rows) >= 4 and {row["region"] for row in rows} == {"calf", "thigh"}
    assert_scored_alike(rows, finished, data / "phantom-smoke-1" / "cohort.csv")


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_score_is_that_of_the_mask_at_whatever_precision_the_network_was_trained(
    configured: Callable[..., Settings], data: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are made in 32 bit."""
    settings = configured(f"trainer.precision={precision}", "trainer.max_epochs=2")
    tested: set[torch.dtype] = set()
    logits = TorchPredictor._logits

    def noted(self: TorchPredictor, images: Tensor) -> Tensor:
        found = logits(self, images)
        tested.add(found.dtype)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(TorchPredictor, "_logits", noted)
        train(settings)
    assert tested == {torch.float32}
    rows = rows_of(settings.run.cases)
    assert any(int(row["fp"]) or int(row["fn"]) for row in rows)
    assert_scored_alike(rows, settings.run.path, data / "phantom-smoke-1" / "cohort.csv")


def test_a_scan_is_segmented_as_by_the_release_before(tmp_path: Path) -> None:
    """By the two networks of a study of format 1."""
    folder = PHANTOM / "sub-004" / "ses-1" / "thigh"
    images = {name: folder / f"{name}.nii.gz" for name in ("fat", "water")}
    images |= {name: folder / f"{name}_magnitude.nii.gz" for name in ("te345", "te575")}
    files = [text for name, path in images.items() for text in (f"--{name}", str(path))]
    main(["segment", *files, "--region", "thigh", "--model", str(BEFORE / "study"), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "mask.nii.gz").read_bytes() == (BEFORE / "segment" / "mask.nii.gz").read_bytes()
    now, before = (
        (folder / "fat_fraction.csv").read_text().splitlines() for folder in (tmp_path / "out", BEFORE / "segment")
    )
    columns = before[0].count(",") + 1  # new ones stand behind them
    assert [",".join(line.split(",")[:columns]) for line in now] == before


CHECKPOINT = Path(__file__).parents[2] / "experiments" / "any_scanner_fat" / "model.ckpt"


@pytest.mark.parametrize(
    ("model", "by_torch"), [(["--model", str(CHECKPOINT)], True), ([], False), (["--device", "cpu", "--fast"], False)]
)
def test_segmenting_loads_nothing_of_training_and_a_network_of_the_package_no_torch(
    model: list[str], by_torch: bool, tmp_path: Path
) -> None:
    fat = PHANTOM / "sub-004" / "ses-1" / "thigh" / "fat.nii.gz"
    code = f"""
import sys
from musclesense.cli.main import main
main(["segment", "--fat", {str(fat)!r}, "--region", "thigh", *{model!r}, "--out", "out"])
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
print(*sorted(name for name in sys.modules if name.startswith("musclesense.training")))
from threadpoolctl import threadpool_info
print(*{{own["num_threads"] for own in threadpool_info() if own["internal_api"] == "openblas"}})
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=True,
    )
    mask, packages, training, threads = done.stdout.split("\n")[:4]
    assert mask == str(Path("out") / "mask.nii.gz")
    unwanted = {"lightning", "pytorch_lightning", "torchmetrics", "wandb", "hydra", "omegaconf", "submitit", "joblib"}
    assert not {*packages.split()} & {*unwanted, "pandas", "skimage", "pydicom"}
    assert ("torch" in packages.split()) == by_torch or torch.cuda.is_available()
    assert not training and threads == "1"  # those of BLAS wait busily
