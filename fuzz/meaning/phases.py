"""The same three echoes, their phases stored in one way or another: the fat fraction must be that of the drawing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

Turns = NDArray[np.float64]
TIMES = (345, 460, 575)
KNOWN: Mapping[str, tuple[float, Callable[[Turns], NDArray[Any]]]] = {
    "radians": (2 * np.pi, lambda t: 2 * np.pi * _around(t)),
    "radians from 0": (2 * np.pi, lambda t: 2 * np.pi * (t % 1)),
    "milliradians": (2000 * np.pi, lambda t: np.round(2000 * np.pi * _around(t))),
    "degrees": (360, lambda t: np.round(360 * _around(t))),
    "degrees from 0": (360, lambda t: np.floor(360 * (t % 1))),
    "tenths of degrees": (3600, lambda t: np.round(3600 * _around(t))),
    "0..4095": (4096, lambda t: np.floor(4096 * (t % 1))),
    "0..4096": (4096, lambda t: np.floor(4096 * (t % 1)) * 4096 / 4095),
    "-2048..2047": (4096, lambda t: np.floor(4096 * _around(t))),
    "-4096..4094": (8192, lambda t: 2 * np.floor(4096 * (t % 1)) - 4096),
}
UNKNOWN = (1.0, 2.0, 100.0, 255.0, 1000.0, 5000.0, 16384.0, 36000.0, 65536.0)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Store phases in a unit that is found, told or none, or real and imaginary images; exchange echoes, turn one."""
    signal, percent = _limbs(draw)
    body = ndimage.binary_fill_holes(np.isfinite(percent).any(axis=2))
    air = np.repeat(~ndimage.binary_dilation(body)[..., None], percent.shape[2], axis=2)
    how = draw.one_of(("found", "found", "found", "found", "told", "unknown", "mixed", "parts", "order"))
    if draw.chance(0.3):  # readouts in both directions
        signal[1] *= np.exp(2j * np.pi * draw.random.uniform(-0.25, 0.25))
    verdict, options = Verdict.ACCEPT, list[str]()
    names = [draw.one_of(tuple(KNOWN))] * 3
    if how == "parts":
        pairs = [(echo.real, echo.imag) for echo in signal]
        options, said = ["--real-imaginary"], "real and imaginary images"
    elif how in ("told", "unknown"):
        turn = draw.one_of(UNKNOWN)
        pairs = [(np.abs(echo), turn * (np.angle(echo) / (2 * np.pi) % 1)) for echo in signal]
        options = ["--phase-turn", f"{turn:g}"] if how == "told" else []
        verdict, said = (Verdict.ACCEPT if how == "told" else Verdict.REFUSE), f"{turn:g} a turn, {how}"
    else:
        if how == "mixed":
            odd, other = draw.below(3), draw.one_of([n for n in KNOWN if KNOWN[n][0] != KNOWN[names[0]][0]])
            names[odd], verdict = other, Verdict.REFUSE
        sign, offset = draw.one_of((1, 1, -1)), draw.random.uniform(0, 1)
        turns = [np.angle(echo) / (2 * np.pi) + offset for echo in signal]
        pairs = [(np.abs(e), sign * KNOWN[n][1](t)) for e, n, t in zip(signal, names, turns, strict=True)]
        said = f"{', '.join(dict.fromkeys(names))}, sign {sign}"
    if how == "order":
        order = draw.one_of(((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)))
        pairs, verdict, said = [pairs[echo] for echo in order], Verdict.REFUSE, f"{said}, in the order {order}"
    masked = how not in ("unknown", "mixed") and draw.chance(0.4)
    if masked:
        nothing = draw.one_of((0.0, np.nan))
        pairs = [(np.where(air, nothing, a), np.where(air, nothing, b)) for a, b in pairs]
        said += f", air {nothing:g}"
    if how == "found" and draw.chance(0.3):
        box = tuple(slice(*np.flatnonzero((~air).any(axis=axis))[[0, -1]]) for axis in ((1, 2), (0, 2)))
        if draw.chance(0.5):
            box = (box[0], slice(box[1].start, (box[1].start + box[1].stop) // 2))
        pairs = [(a[box], b[box]) for a, b in pairs]
        percent, verdict, said = percent[box], Verdict.EITHER, f"{said}, cropped"
    arguments = ["separate", *options, "--out", "out"]
    whole = draw.one_of((True, False))
    for time, (first, second) in zip(TIMES, pairs, strict=True):
        for kind, data in (("a", first), ("b", second)):
            _save(folder / f"{time}{kind}.nii.gz", data, codes=whole and kind == "b" and not np.isnan(data).any())
        arguments += [f"--te{time}", f"{time}a.nii.gz", f"{time}b.nii.gz"]
    said += ", resaved with a slope" * whole
    return Case(arguments=tuple(arguments), changes=said, verdict=verdict, right=_like(percent))


def _around(turns: Turns) -> Turns:
    return (turns + 0.5) % 1 - 0.5


def _limbs(draw: Draw) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Draw three echoes of two limbs, (3, rows, columns, slices), and the fat fraction, NaN where there is no limb."""
    rows, columns = np.mgrid[: 90 + draw.below(30), : 170 + draw.below(50)]
    radius = min(rows.shape[0] / 2, rows.shape[1] / 4) - 4
    fat, water = np.zeros(rows.shape), np.zeros(rows.shape)
    muscle, layer = draw.random.uniform(0, 0.42), draw.random.uniform(0.1, 0.35)
    for column in (rows.shape[1] / 4, 3 * rows.shape[1] / 4):
        away = np.hypot(rows - rows.shape[0] / 2, columns - column) / radius
        for within, share, bright in ((1, 0.97, 100), (1 - layer, muscle, 90), (0.22, 0, 3), (0.14, 0.95, 90)):
            fat[away < within], water[away < within] = share * bright, (1 - share) * bright
    slices = 1 + draw.below(3)
    x, y = (columns - rows.shape[1] / 2) / rows.shape[1], rows / rows.shape[0] - 0.5
    hertz = draw.random.uniform(-80, 80) + x * draw.random.uniform(-200, 200) + y * draw.random.uniform(-200, 200)
    coils = np.exp(
        2j * np.pi * (draw.random.uniform() + x * draw.random.uniform(-2, 2) + y * draw.random.uniform(-2, 2))
    )
    decay, noise = draw.random.uniform(20, 60), draw.random.uniform(0.5, 3)
    echoes = []
    for step, time in zip((-1, 0, 1), TIMES, strict=True):
        turn = np.exp(2j * np.pi * hertz * 1.15e-3 * step) * np.exp(-time / 100 / decay)
        echo = ((water + (-1) ** step * fat) * turn * coils)[..., None]
        random = draw.random.normal(0, noise, (2, *rows.shape, slices))
        echoes.append(echo + random[0] + 1j * random[1])
    total = fat + water
    percent = np.where(ndimage.binary_erosion(total > 30), 100 * fat / np.maximum(total, 1), np.nan)
    return np.stack(echoes), np.repeat(percent[..., None], slices, axis=2)


def _save(path: Path, data: NDArray[Any], *, codes: bool) -> None:
    """Save as floats, or as nibabel does what it read of whole numbers: with a slope."""
    image = nib.Nifti1Image(data if codes else data.astype(np.float32), np.diag([2.0, 2.0, 10.0, 1.0]))
    if codes:
        image.set_data_dtype(np.int16)
    nib.save(image, path)


def _like(percent: NDArray[np.float64]) -> Callable[[Path, str], str | None]:
    def right(folder: Path, said: str) -> str | None:
        found = np.asarray(nib.load(folder / "out" / "fat_fraction.nii.gz").dataobj)
        off = np.abs(found - percent)[np.isfinite(percent)]
        far = float((off > 20).mean()) if off.size else 0.0
        return None if far < 0.02 else f"{100 * far:.1f} % of voxels more than 20 points off"

    return right
