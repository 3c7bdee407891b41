"""How far separated fat fractions can be trusted: one fat peak or six, with T1 correction or without.

``python -m benchmarks.validity.separation COHORT.csv [--every N]`` prints

- for a drawn limb of known fat fraction, without noise and at falling signal-to-noise ratios (in-phase muscle over the
  noise of the real and imaginary parts): the error of the fat fraction in muscle;
- for the labelled slices of a phantom, from their stored echoes as they are and with more noise: the error in muscle
  where signal is adequate, voxel by voxel in bins of the true fat fraction, and of the mean of each muscle; what fat
  tissue reads; and how long a slice takes.

Errors are given as median / median absolute / share of voxels more than 40 points off (fat and water swapped).
Signal is adequate where the in-phase magnitude exceeds a quarter of the brightest percentile of the slice.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, read_table
from musclesense.dixon.echoes import read_echoes
from musclesense.dixon.fat import Excitation, FatModel, fat_phasor
from musclesense.dixon.separation import ECHO_TIMES_MS, Separation, separate
from musclesense.imaging.grid import slice_axis, take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.phantom.scanner.signal import FLIP_DEGREES, TR_MS
from musclesense.vocabulary import Echo

BINS = (0, 5, 10, 20, 35, 45, 55, 70, 100)
ADDED_NOISE = (0.0, 0.05, 0.10)
DRAWN = (5, 10, 20, 35, 50, 65, 80, 90)
DRAWN_NOISY = (10, 40, 50, 60, 80)
RATIOS = (50, 20, 10, 5, 3)
ADEQUATE = 0.25
SWAPPED = 40
FEWEST_VOXELS = 50
EXCITATION = Excitation(FLIP_DEGREES, TR_MS)
MODELS = {
    "one peak": FatModel(),
    "one peak, T1": FatModel(excitation=EXCITATION),
    "six peaks": FatModel(peaks=6),
    "six peaks, T1": FatModel(peaks=6, excitation=EXCITATION),
}

SHIFTED = "six peaks, T1, fat moved back"

Percent = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Case:
    """The labelled slice of a phantom: its echoes (3, i, j, 1), its muscle and its true fat fraction in percent.

    ``muscle`` is the labelled muscle where signal is adequate, ``fat`` nearly pure fat elsewhere; ``shift`` is how far
    fat lies off along the axes of the slice, as the scanner's bandwidth tells.
    """

    echoes: NDArray[np.complex64]
    muscles: NDArray[np.integer]
    muscle: NDArray[np.bool_]
    fat: NDArray[np.bool_]
    true: Percent
    shift: tuple[float, float]

    @classmethod
    def read(cls, row: Acquisition) -> "Case":
        """Read the labelled slice of a phantom's acquisition."""
        assert row.slice is not None and row.mask is not None and row.fat_fraction is not None
        folder = row.mask.parent
        pairs = [(folder / f"{echo}_magnitude.nii.gz", folder / f"{echo}_phase.nii.gz") for echo in Echo]
        echoes, geometry, _ = read_echoes(pairs)
        index, axis = row.slice, slice_axis(geometry)
        mask, muscles, true = (
            take_slice(read_volume(path).data, geometry, index)[..., None]
            for path in (row.mask, folder / "compartments.nii.gz", row.fat_fraction)
        )
        chosen = np.moveaxis(echoes, axis + 1, 3)[..., [index]]
        signal = np.abs(chosen[1])
        adequate = signal > ADEQUATE * np.percentile(signal, 98)
        along, across = json.loads((folder / "scan.json").read_text())["fat_shift_voxels"]
        return cls(chosen, muscles, adequate & (mask > 0), adequate & (mask == 0) & (true > 85), true, (along, across))

    @property
    def models(self) -> dict[str, FatModel]:
        """`MODELS`, and the last of them with fat moved back."""
        return {**MODELS, SHIFTED: replace(MODELS["six peaks, T1"], shift=self.shift)}

    def noisier(self, share: float, seed: int) -> "Case":
        """Add noise whose standard deviation, in real and imaginary parts, is this share of muscle's signal."""
        rng = np.random.default_rng(seed)
        level = share * np.median(np.abs(self.echoes[1])[self.muscle])
        noise = level * rng.standard_normal((2, *self.echoes.shape))
        return replace(self, echoes=(self.echoes + noise[0] + 1j * noise[1]).astype(np.complex64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--every", type=int, default=1, help="separate each N-th acquisition only")
    options = parser.parse_args()
    report_drawn_limb()
    cases = [Case.read(row) for row in read_table(options.cohort).acquisitions[:: options.every]]
    for share in ADDED_NOISE:
        print(f"\n{len(cases)} slices, noise of {share:.0%} of muscle's signal added to that of the scan")
        report([case.noisier(share, seed) for seed, case in enumerate(cases)])


def report_drawn_limb() -> None:
    print("drawn limb without noise")
    line("true %", MODELS)
    for percent in DRAWN:
        line(f"{percent}", (cell(error) for error in drawn_errors(percent, np.inf)))
    for ratio in RATIOS:
        print(f"\ndrawn limb, signal-to-noise ratio {ratio}")
        line("true %", MODELS)
        for percent in DRAWN_NOISY:
            line(f"{percent}", (cell(error) for error in drawn_errors(percent, ratio)))


def drawn_errors(percent: float, ratio: float) -> Iterable[Percent]:
    """Give separated - true in a muscle of this fat fraction within subcutaneous fat, under a slanting field."""
    y, x = np.mgrid[-60:60, -60:60]
    radius = np.hypot(x, y)
    muscle, ring = radius < 35, (radius >= 35) & (radius < 50)
    fraction = np.where(muscle, percent / 100, 0.9)
    phase = 2 * np.pi * (40 + 0.8 * x + 0.5 * y)  # field in Hz, times 1 s
    echoes = []
    for time_ms in ECHO_TIMES_MS:
        fat = EXCITATION.fat_gain * fraction * fat_phasor(time_ms)
        decayed = np.exp((1j * phase - np.where(muscle, 35.0, 30.0)) * time_ms / 1000)
        echoes.append((muscle | ring) * (1 - fraction + fat) * decayed)
    rng = np.random.default_rng(0)
    clean = np.stack(echoes)[..., None]
    noise = rng.standard_normal((2, *clean.shape)) * np.abs(clean[1])[muscle].mean() / ratio
    signal = (clean + noise[0] + 1j * noise[1]).astype(np.complex64)
    inside = radius < 30
    return [separate(signal, model=model).fat_fraction[inside] - percent for model in MODELS.values()]


def report(cases: list[Case]) -> None:
    """Print a row for each bin of the true fat fraction, then muscle means, fat tissue and time."""
    parts: dict[str, list[Separation]] = {}
    seconds = []
    for name in (*MODELS, SHIFTED):
        start = time.perf_counter()
        parts[name] = [separate(case.echoes, model=case.models[name]) for case in cases]
        seconds.append((time.perf_counter() - start) / len(cases))
    true = np.concatenate([case.true[case.muscle] for case in cases])
    errors = [
        np.concatenate([part.fat_fraction[case.muscle] for part, case in zip(found, cases, strict=True)]) - true
        for found in parts.values()
    ]
    line("true %", ("voxels", *parts))
    for low, high in (*pairwise(BINS), (0, 101)):
        inside = (true >= low) & (true < high)
        line(f"{low}-{min(high, 100)}", (str(inside.sum()), *(cell(error[inside]) for error in errors)))
    means = [
        np.array([e for part, case in zip(found, cases, strict=True) for e in muscle_errors(part, case)])
        for found in parts.values()
    ]
    line("means of muscles", (str(means[0].size), *(cell(error) for error in means)))
    fat = [
        np.concatenate([part.fat_fraction[case.fat] for part, case in zip(found, cases, strict=True)])
        for found in parts.values()
    ]
    fat_true = np.median(np.concatenate([case.true[case.fat] for case in cases]))
    line(f"fat tissue, {fat_true:.1f} %, reads", (str(fat[0].size), *(f"{np.median(values):.1f} %" for values in fat)))
    line("time for a slice", ("", *(f"{1000 * value:.0f} ms" for value in seconds)))


def muscle_errors(part: Separation, case: Case) -> Iterable[float]:
    """Give separated - true of the mean of each muscle, in points; noise below 0 % is kept, since it averages out."""
    for value in np.unique(case.muscles[case.muscle]):
        inside = case.muscle & (case.muscles == value)
        if inside.sum() >= FEWEST_VOXELS:
            fat, water = part.fat[inside], part.water[inside]
            yield float(100 * np.mean(fat / (fat + water)) - case.true[inside].mean())


def cell(errors: NDArray[np.floating]) -> str:
    absolute = np.abs(errors)
    return f"{np.median(errors):+.1f} / {np.median(absolute):.1f} / {np.mean(absolute > SWAPPED):.2%}"


def line(first: str, cells: Iterable[str]) -> None:
    print(f"| {first} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
