"""What becomes of images that are not what they are given for: ``python -m experiments.trust.spoilt OUT``.

Each is given to ``musclesense segment`` twice: without a region, and as a thigh. ``spoilt.md`` has the exit code, what
is said, and how many slices with a mask are flagged as doubtful or off the levels. Where ``MUSCLESENSE_REAL_DATA``
names the folder of real scans, these are spoilt, too. Exit code 1: a spoilt image got a mask, no line and no flag, or
one that is as it should be got no mask, a line or a flag.
"""

import argparse
import contextlib
import csv
import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from experiments.region.others import draw_other
from numpy.typing import NDArray

from musclesense.cli.main import main as musclesense
from musclesense.phantom.any_contrast import synthetic_slice
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.sequences import three_echoes
from musclesense.segmentation.place import FRAME, Place
from musclesense.storage.records import write_text
from musclesense.vocabulary import Region

SEED = 20261130
PIXEL_MM, SLICE_MM = 1.25, 10.0
WITHOUT = (
    *("pose", "surroundings", "swaps", "cropping", "artefacts", "hips"),
    *("sides", "arms", "masses", "implants", "fluid"),
)
AXIAL = np.diag([-PIXEL_MM, -PIXEL_MM, SLICE_MM, 1.0])
RIGHT = "as it should be"
QUIET = (
    "model: ",
    "region: ",
    "quality: was not calibrated",
    "limbs: ",
    "frame: ",
    "measurements: the edge",
    "segment: ",
)
"""Lines that any scan may get."""
TOLD = ("region: given", "region: calf")
"""Those that no thigh may get."""
Volume = NDArray[Any]


class Case(NamedTuple):
    """Images by option, and where their voxels lie."""

    images: Mapping[str, Volume]
    affine: NDArray[np.float64] = AXIAL


def legs(region: Region = Region.THIGH, levels: tuple[float, ...] = (0.45, 0.55, 0.65)) -> dict[str, Volume]:
    """Draw fat and water of some slices of an adult, axes to the left and to posterior."""
    slices = []
    for level in levels:
        held = Held(build="usual", level=level, pixel_mm=PIXEL_MM, slice_mm=5.0, readout={"noise": 0.01, "finer": 1.0})
        rng = np.random.default_rng(SEED)
        one = synthetic_slice(rng, regions=[region], held=held, without=WITHOUT, acquired=three_echoes)
        slices.append({"fat": one.image, "water": one.others["water"]})
    rows, columns = np.max([one["fat"].shape for one in slices], axis=0)
    volumes = {name: np.zeros((columns, rows, len(slices)), np.float32) for name in slices[0]}
    for number, own in enumerate(slices):
        for name, image in own.items():
            left, top = (columns - image.shape[1]) // 2, (rows - image.shape[0]) // 2
            volumes[name][left : left + image.shape[1], top : top + image.shape[0], number] = image.T
    return volumes


def _swapped_limb(alone: bool) -> Case:
    own = legs()
    half = np.s_[: own["fat"].shape[0] // 2]
    own["fat"][half], own["water"][half] = own["water"][half].copy(), own["fat"][half].copy()
    return Case({"fat": own["fat"]} if alone else own)


def _body(own: Mapping[str, Volume]) -> tuple[Volume, Volume]:
    total = own["fat"] + own["water"]
    return total, total > 0.15 * total.max()


def _phase(masked: bool) -> Case:
    rng, own = np.random.default_rng(SEED), legs()
    _, body = _body(own)
    air = 0 if masked else rng.uniform(0, 4095, body.shape)
    field = own["fat"] / 100 + np.indices(body.shape)[0] / 15 + rng.normal(0, 0.05, body.shape)
    return Case({"image": np.where(body, field % (2 * np.pi) * 652, air).astype(np.int16)})


def _ct(offset: int) -> Case:
    own = legs()
    total, body = _body(own)
    numbers = np.where(body, 50 - 150 * own["fat"] / np.maximum(total, 1e-6), -1000)
    numbers += np.random.default_rng(SEED).normal(0, 15, body.shape)
    return Case({"image": (numbers + offset).clip(min=offset - 1024).astype(np.int16)})


def _fraction() -> Case:
    own = legs()
    total, _ = _body(own)
    return Case({"fat": (100 * own["fat"] / np.maximum(total, 1e-6)).astype(np.float32)})


def _noisy() -> Case:
    own, rng = legs()["fat"], np.random.default_rng(SEED)
    noise = 0.35 * float(np.percentile(own, 98)) * rng.normal(size=(2, *own.shape))
    return Case({"fat": np.hypot(own + noise[0], noise[1]).astype(np.float32)})


def _drawn(place: Place) -> Case:
    slices = [draw_other(np.random.default_rng([SEED, number]), place, FRAME) for number in range(3)]
    affine = np.diag([-FRAME.grid.spacing_mm, -FRAME.grid.spacing_mm, SLICE_MM, 1.0])
    return Case({"image": np.stack([(one - one.min()).T for one in slices], axis=-1)}, affine)


def _long(across: int) -> Case:
    """Slices along the limbs: coronal (1) or sagittal (0); the last axis runs along the limbs."""
    own = legs()["fat"][..., 1]
    places = np.linspace(0.3, 0.7, 5) * own.shape[across]
    planes = [np.repeat(np.take(own, int(place), across)[:, None], 200, axis=1) for place in places]
    volume = np.stack(planes, axis=across)
    zooms = [PIXEL_MM, PIXEL_MM, 1.5]
    zooms[across] = 8.0
    return Case({"image": volume}, np.diag([-zooms[0], -zooms[1], zooms[2], 1.0]))


def _coloured() -> Case:
    grey = np.clip(legs()["fat"] / 2, 0, 255).astype(np.uint8)
    colour = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    image = np.zeros(grey.shape, colour)
    for name in "RGB":
        image[name] = grey
    return Case({"image": image})


def _times() -> Case:
    fat = legs()["fat"]
    return Case({"": np.stack([fat, 0.98 * fat, 1.01 * fat, 0.99 * fat], axis=-1)})


SPOILT: Mapping[str, Callable[[], Case]] = {
    f"fat and water, {RIGHT}": lambda: Case(legs()),
    f"fat alone, {RIGHT}": lambda: Case({"fat": legs()["fat"]}),
    f"any image, {RIGHT}": lambda: Case({"image": legs()["water"]}),
    "water given as fat, alone": lambda: Case({"fat": legs()["water"]}),
    "fat and water exchanged": lambda: Case(dict(zip(("fat", "water"), reversed(legs().values()), strict=True))),
    "fat given as fat and as water": lambda: Case(dict.fromkeys(("fat", "water"), legs()["fat"])),
    "fat and water swapped in one limb": lambda: _swapped_limb(alone=False),
    "the same, fat alone": lambda: _swapped_limb(alone=True),
    "phase image": lambda: _phase(masked=False),
    "phase image, air masked": lambda: _phase(masked=True),
    "image of zeros": lambda: Case({"image": np.zeros((320, 160, 3), np.float32)}),
    "one value everywhere": lambda: Case({"image": np.full((320, 160, 3), 7, np.float32)}),
    "noise alone": lambda: Case({"image": np.random.default_rng(SEED).rayleigh(20, (320, 160, 3)).astype(np.float32)}),
    "much noise": _noisy,
    "CT": lambda: _ct(0),
    "CT, stored from 0": lambda: _ct(1024),
    "fat fraction in percent, as fat": _fraction,
    "mask of muscle": lambda: Case({"image": (legs()["water"] > legs()["fat"]).astype(np.uint8)}),
    "coronal slices": lambda: _long(1),
    "sagittal slices": lambda: _long(0),
    "turned by 90 degrees": lambda: Case({"image": np.ascontiguousarray(np.rot90(legs()["fat"]))}),
    "colours": _coloured,
    "4-D, no echoes": _times,
    "brain": lambda: _drawn(Place.HEAD),
    "abdomen or chest": lambda: _drawn(Place.ABDOMEN),
    "arm": lambda: _drawn(Place.ARM),
    "foot": lambda: _drawn(Place.FOOT),
    "bottles, ramps, scouts": lambda: _drawn(Place.NOTHING),
    "knee": lambda: Case({"fat": legs(Region.THIGH, (0.0, 0.04, 0.08))["fat"]}),
    "calf": lambda: Case({"fat": legs(Region.CALF, (0.4, 0.5, 0.6))["fat"]}),
    "thigh down to the knee": lambda: Case({"fat": legs(Region.THIGH, (0.0, 0.05, 0.3, 0.4, 0.5, 0.6))["fat"]}),
}
REAL: Mapping[str, tuple[str, str, slice]] = {
    f"ideal_thigh fat, {RIGHT}": ("ideal_thigh/fat", "fat", np.s_[4:7]),
    "ideal_thigh water as fat": ("ideal_thigh/water", "fat", np.s_[4:7]),
    "ideal_thigh labels": ("ideal_thigh/muscles", "image", np.s_[4:7]),
    "siemens_thigh phase": ("siemens_thigh/te345_phase", "image", np.s_[3:6]),
    "ge_thigh phase": ("ge_thigh/te345_phase_mrad", "image", np.s_[:]),
    "ge_thigh fat fraction": ("ge_thigh/reference_fatfraction", "fat", np.s_[:]),
    "obese_thigh_hip, the hip": ("obese_thigh_hip/gradient_echo", "image", np.s_[34:40]),
    "siemens_calf, the knee": ("siemens_calf/te345_magnitude", "image", np.s_[88:96]),
}
"""File, option and slices."""


def main() -> None:
    """Read the command line, spoil, segment and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", help="kinds (default: all)")
    options = parser.parse_args()
    cases = dict(SPOILT)
    if folder := os.environ.get("MUSCLESENSE_REAL_DATA"):
        cases |= {kind: lambda own=own: _real(Path(folder), *own) for kind, own in REAL.items()}  # type: ignore[misc]
    wrong: list[str] = []
    lines = ["| image | given as | without a region | as a thigh |", "|---|---|---|---|"]
    for kind in options.only or cases:
        case = cases[kind]()
        answers = [Answer.of(case, options.out / "work", asked) for asked in ((), ("--region", "thigh"))]
        given = " and ".join(f"`--{name}`" if name else "a path" for name in case.images)
        lines.append(f"| {kind} | {given} | {' | '.join(answer.said for answer in answers)} |")
        print(lines[-1], flush=True)
        wrong += [kind for answer in answers if answer.silent is (RIGHT not in kind)]
    write_text(options.out / "spoilt.md", "\n".join(lines) + "\n")
    sys.exit(f"silent, or told without cause: {', '.join(wrong)}" if wrong else 0)


def _real(folder: Path, file: str, option: str, slices: slice) -> Case:
    image = nib.load(folder / f"{file}.nii.gz").slicer[:, :, slices]
    return Case({option: np.asarray(image.dataobj)}, image.affine)


class Answer(NamedTuple):
    """What the command says of images; silent: a mask without a line that not every scan gets, and without a flag."""

    said: str
    silent: bool

    @classmethod
    def of(cls, case: Case, work: Path, asked: tuple[str, ...]) -> "Answer":
        """Segment images."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        given: list[str] = []
        for name, volume in case.images.items():
            nib.save(nib.Nifti1Image(volume, case.affine), work / f"{name or 'scan'}.nii")
            given += [*([f"--{name}"] if name else []), str(work / f"{name or 'scan'}.nii")]
        said, out, code = io.StringIO(), work / "out", 0
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                musclesense(["segment", *given, *asked, "--out", str(out)])
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        notes = said.getvalue().replace(f"{work}/", "").replace("|", "/").strip().splitlines()
        telling = [note for note in notes if not note.startswith(QUIET) or note.startswith(TOLD)]
        flagged, masked = _flagged(out)
        counts = [f"{flagged} of {masked} slices with a mask are flagged"] if masked else []
        text = f"exit code {code}: " + "; ".join([*telling, *counts] or ["nothing is said, and there is no mask"])
        return cls(text, silent=code == 0 and masked > 0 and not telling and not flagged)


def _flagged(out: Path) -> tuple[int, int]:
    """Count slices that are flagged as doubtful or off the levels, and slices with a mask."""
    if not (out / "measurements.csv").is_file():
        return 0, 0
    with (out / "measurements.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["slice"] != "all" and int(row["voxels"])]
    marked = {row["slice"] for row in rows if {"doubtful", "off_level"} & {*row["flags"].split()}}
    return len(marked), len({row["slice"] for row in rows})


if __name__ == "__main__":
    main()
