"""Sound inputs, from which bad ones are made: two round limbs, a cohort, a network, a study. All are tiny."""

import csv
import gzip
import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from musclesense.cli import main as cli
from musclesense.metrics.case import COLUMNS
from musclesense.networks.build import build_network
from musclesense.networks.spec import NetworkSpec
from musclesense.nnunet.record import RECORD
from musclesense.studies.layout import RunFolder, StudyFolder

SHAPE = (32, 20, 3)
ZOOMS = (5.0, 5.0, 8.0)
SUBJECTS = 8
IMAGES = ("fat", "water", "mask", *(f"te{t}_{kind}" for t in (345, 460, 575) for kind in ("magnitude", "phase")))
GRID = {"spacing_mm": 5.0, "rows": 24, "columns": 40, "fit": "centre"}
SPEC: dict[str, Any] = {
    "channels": ["fat"],
    "placed_by": "fat",
    "labels": {"muscle": []},
    "grid": GRID,
    "regions": ["thigh"],
    "network": {"name": "unet", "width": 1, "depth": 1},
    "threshold": 0.5,
    "flip": False,
    "scales": [1.0],
}
HYPER_2: dict[str, Any] = {
    "spec": SPEC,
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adamw"},
    "schedule": None,
}
"""What a checkpoint of format 2 says of its network."""
HYPER: dict[str, Any] = {
    "channels": ["fat"],
    "classes": {"muscle": []},
    "threshold": 0.5,
    "grid": GRID,
    "regions": ["thigh"],
    "model": {"_target_": "musclesense.training.unet.UNet", "width": 1, "depth": 1},
    "loss": {"_target_": "torch.nn.CrossEntropyLoss"},
    "optimizer": {"factory": None, "schedule": None},
}
"""What one of format 1 says."""


@dataclass(frozen=True)
class Seeds:
    """Where the sound inputs are.

    Attributes:
        conf: The project's configuration groups.
        images: Name of each image to its array.
        files: The bytes of each image's ``.nii.gz``.
        model: A checkpoint's bytes.
        weights: Its state.
        study: Files of a study's folder, by relative path.
        dataset: Files of the data set for nnU-Net that a cohort beside it becomes, likewise.
    """

    conf: Path
    images: dict[str, NDArray[Any]]
    files: dict[str, bytes]
    model: bytes
    weights: dict[str, torch.Tensor]
    study: dict[str, bytes]
    dataset: dict[str, bytes]


def make(folder: Path, conf: Path) -> Seeds:
    """Make all of them, using ``folder`` for a moment."""
    images = _images()
    files = {name: gzip.compress(nifti(data), mtime=0) for name, data in images.items()}
    torch.manual_seed(0)
    network: Any = build_network(NetworkSpec.from_config(SPEC))
    first, _, _, second, *_ = network.encoder[0]
    with torch.no_grad():
        for convolution in (first, second):  # what is above 0 comes through
            convolution.weight.zero_()[:, :, 1, 1] = 1.0
        network.head.weight[:, 0, 0, 0], network.head.bias[:] = torch.tensor([0.0, 20.0]), torch.tensor([0.0, -2.0])
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    write_checkpoint(folder / "model.ckpt", weights, HYPER_2)
    model = (folder / "model.ckpt").read_bytes()
    made = Seeds(conf, images, files, model, weights, _study(folder / "study", model), {})
    return replace(made, dataset=_dataset(folder, made))


def affine() -> NDArray[np.float64]:
    """Give the affine of the images: nothing oblique, scanner coordinates."""
    return np.array([[-5.0, 0, 0, 80], [0, 5, 0, -50], [0, 0, 8, -12], [0, 0, 0, 1]])


def header(data: NDArray[Any]) -> nib.Nifti1Header:
    """Give a header that fits ``data``."""
    made = nib.Nifti1Header()
    made.set_data_dtype(data.dtype)
    made.set_data_shape(data.shape)
    made.set_qform(affine(), code="scanner")
    made.set_sform(affine(), code="scanner")
    made.set_xyzt_units("mm", "sec")
    made["vox_offset"], made["magic"] = 352, b"n+1"
    return made


def nifti(data: NDArray[Any]) -> bytes:
    """Give the bytes of a ``.nii`` file."""
    return bytes(header(data).binaryblock) + bytes(4) + data.tobytes(order="F")


def write_checkpoint(path: Path, weights: dict[str, torch.Tensor], hyper: dict[str, Any]) -> None:
    """Write what training would."""
    version = {"format": 2} if "spec" in hyper else {}
    torch.save({**version, "state_dict": weights, "hyper_parameters": hyper}, path)


def write_cohort(folder: Path, seeds: Seeds) -> list[dict[str, str]]:
    """Write the images of a cohort into a folder, and give the rows of its table."""
    rows = []
    for number in range(SUBJECTS):
        files = {name: f"s{number}/{name}.nii.gz" for name in ("fat", "water", "mask")}
        for name, file in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            made = _mask_of_subject if name == "mask" else _of_subject
            (folder / file).write_bytes(made(number, seeds.images[name]))
        rows.append(
            {
                "subject": f"S{number}",
                "session": "1",
                "group": ("control", "ALS")[number % 2],
                "region": ("calf", "thigh")[number // 2 % 2],
                "limbs": "both",
                **files,
                "slice": "1",
            }
        )
    return rows


def _of_subject(number: int, image: NDArray[Any]) -> bytes:
    """Give an image as the scan of one subject, which is nobody else's."""
    noise = np.random.default_rng(number).integers(0, 20, image.shape)
    return gzip.compress(nifti((image + noise).astype(image.dtype)), mtime=0)


def _mask_of_subject(number: int, mask: NDArray[Any]) -> bytes:
    """Give a mask that is nobody else's: of each subject another voxel is missing."""
    own = mask.copy()
    own[tuple(np.argwhere(mask)[number])] = 0
    return gzip.compress(nifti(own), mtime=0)


def table_text(rows: list[dict[str, str]]) -> str:
    """Give the text of a table."""
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _dataset(folder: Path, seeds: Seeds) -> dict[str, bytes]:
    """Export a cohort, whose table is then named without its folder."""
    table, out = folder / "cohort.csv", folder / "Dataset001_A"
    table.write_text(table_text(write_cohort(folder, seeds)))
    with redirect_stdout(io.StringIO()):
        cli.main(["export-nnunet", str(table), str(out), "--channels", "fat", "water"])
    files = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    files[RECORD] = files[RECORD].replace(str(table).encode(), table.name.encode())
    return files


def _images() -> dict[str, NDArray[Any]]:
    i, j, _ = np.indices(SHAPE)
    limbs = np.any([np.hypot(i - x, j - 9.5) < 6 for x in (8, 23)], axis=0)
    muscle = np.any([np.hypot(i - x, j - 9.5) < 4 for x in (8, 23)], axis=0)
    noise = np.random.default_rng(0).integers(0, 5, SHAPE)
    fat, water = limbs * np.where(muscle, 30, 180) + noise, limbs * np.where(muscle, 170, 20) + noise
    images = {"fat": fat, "water": water, "mask": muscle}
    field = 0.2 + 0.01 * i
    for time, turn in ((345, -1), (460, 0), (575, 1)):
        signal = (water + fat * (-1) ** turn) * np.exp(1j * field * turn)
        images[f"te{time}_magnitude"] = np.abs(signal).round()
        images[f"te{time}_phase"] = np.mod(np.angle(signal) * 4096 / (2 * np.pi), 4096).round() % 4096
    return {name: data.astype(np.uint8 if name == "mask" else np.int16) for name, data in images.items()}


def _study(folder: Path, model: bytes) -> dict[str, bytes]:
    """Write a study of 2 x 2 runs, of which three have finished and one has failed."""
    subjects = [f"S{number}" for number in range(SUBJECTS)]
    folds, outer = [], [subjects[::2], subjects[1::2]]
    for tested in outer:
        rest = [name for name in subjects if name not in tested]
        folds.append({"test": tested, "validation": [rest[::2], rest[1::2]]})
    config = {
        "format": 2,
        "seed": 0,
        "runs": "runs",
        "cohort": {"path": None, "phantom": {"preset": "smoke", "seed": 1}},
        "folds": {"outer": 2, "inner": 2, "seed": 0},
        "edition": {"name": "simplified"},
        "channels": {"fat": True, "water": False},
        "region": {"name": "lower_limb", "regions": ["calf", "thigh"]},
        "labels": {"name": "whole_muscle", "classes": {"muscle": []}, "threshold": 0.5},
        "grid": GRID,
        "model": HYPER["model"],
        "trainer": {"max_epochs": 3},
    }
    study = StudyFolder(Path())
    files = {
        study.settings: yaml.safe_dump(config, sort_keys=False).encode(),
        study.folds: json.dumps({"format": 2, "table": "0" * 64, "seed": 0, "outer": folds}).encode(),
        study.command: b"python train.py -m outer=0,1 inner=0,1\n",
    }
    folder.mkdir()
    for fold, tested in enumerate(outer):
        for inner in (0, 1):
            run = study.run(fold, inner)
            if (fold, inner) == (1, 1):
                files[run.failed] = json.dumps({"format": 2, "outer": 1, "inner": 1, "error": "out of memory"}).encode()
                continue
            rows = [scores(fold, inner, subject, index) for index, subject in enumerate(tested)]
            files |= {
                run.cases: _csv(folder, tuple(COLUMNS), rows),
                run.metrics: _csv(
                    folder,
                    ("epoch", "train_loss", "val_loss", "val_dice"),
                    [
                        {"epoch": e, "train_loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1), "val_dice": 0.3 * e}
                        for e in range(3)
                    ],
                ),
                run.overlays: _overlays(folder, [row["line"] for row in rows]),
                run.checkpoints.best: model,
                run.done: json.dumps(
                    {"format": 2, "outer": fold, "inner": inner, "scores": {"dice": 0.9}, "best_epoch": 2, "epochs": 3}
                ).encode(),
            }
    return {path.as_posix(): content for path, content in files.items()}


def scores(outer: int, inner: int, subject: str, index: int) -> dict[str, Any]:
    """Give the scores of one test case."""
    tp, fp, fn = 90 + index, 5 + inner, 7
    return {
        "outer": outer,
        "inner": inner,
        "line": 2 + 2 * index + outer,
        "subject": subject,
        "session": "1",
        "group": ("control", "ALS")[index % 2],
        "region": ("calf", "thigh")[index % 2],
        "slice": 1,
        "label": "muscle",
        "dice": 2 * tp / (2 * tp + fp + fn),
        "hd95_mm": 2.5,
        "volume_true_ml": 20.0 + index,
        "volume_predicted_ml": 21.0,
        "fat_fraction_true_mask": 10.0 + index,
        "fat_fraction_predicted_mask": 11.0,
        "tp": tp,
        "fp": fp,
        "fn": fn,
    }


def _csv(folder: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path.read_bytes()


def _overlays(folder: Path, lines: list[int]) -> bytes:
    frames = np.zeros((len(lines), 24, 40), dtype=np.uint8)
    frames[:, 8:16, 10:30] = 1
    images = {"image": frames * 200, "truth": frames, "prediction": np.roll(frames, 1, axis=2)}
    path = RunFolder(folder).overlays
    arrays: dict[str, Any] = {**images, "line": np.array(lines), "slice": np.ones(len(lines), int)}
    np.savez_compressed(path, **arrays)
    return path.read_bytes()
