"""Golden bytes of the phantom: what each preset and the generator of synthetic slices make, slice by slice.

``python -m tests.phantom.golden`` writes them anew where a version was raised. With the same version it adds those of a
new preset, and what this machine computes of the others, which must lie within `MOST_OTHER` of what is there:
processors round differently.
"""

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from threadpoolctl import threadpool_limits

from musclesense.phantom import any_scanner
from musclesense.phantom.cohorts.generate import scan_subject
from musclesense.phantom.cohorts.presets import PRESETS, find_preset
from musclesense.phantom.cohorts.subjects import list_subjects
from musclesense.phantom.version import current_version

DIGESTS = Path(__file__).parents[1] / "fixtures" / "golden_phantom.json"
PIXELS = DIGESTS.with_suffix(".npz")
ACQUISITIONS = 2
"""Of the first subjects of each preset, the middle slice of each."""
DRAWN = 4
"""Synthetic slices."""
KEPT = 48
"""About as many rows and columns of each image are kept, evenly spread."""
MOST_OTHER = 1 / 500
"""Part of the kept pixels that may differ where a machine rounds otherwise; the most of nine settings was 1 / 2500."""
CHANGED = (
    "images changed; if meant, raise a version (src/musclesense/phantom/version.py) and remake the golden bytes "
    "with 'python -m tests.phantom.golden'"
)

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Golden:
    """What is kept of the images of one version of the phantom.

    Attributes:
        versions: By the name of a preset or generator.
        digests: By fingerprint of the machine's arithmetic, the digest of each array by its name.
        pixels: Every so many pixels of each array, by its name.
    """

    versions: Mapping[str, int]
    digests: Mapping[str, Mapping[str, str]]
    pixels: Arrays

    @classmethod
    def read(cls) -> "Golden":
        record = json.loads(DIGESTS.read_text())
        with np.load(PIXELS) as kept:
            return cls(record["versions"], record["digests"], dict(kept))

    def write(self) -> None:
        DIGESTS.write_text(json.dumps({"versions": self.versions, "digests": self.digests}, indent=1) + "\n")
        np.savez_compressed(PIXELS, allow_pickle=False, **self.pixels)


def made(name: str) -> Arrays:
    """Make the slices of a preset, or ``synthetic slices``, by one thread as ``musclesense phantom`` does."""
    with threadpool_limits(1):
        return dict(_synthetic_slices() if name == "synthetic slices" else _preset(name))


def _preset(name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    preset = find_preset(name)
    subjects = list_subjects(preset)[:ACQUISITIONS]
    sessions = (
        (subject, session)
        for subject in subjects
        for session in scan_subject(preset, subject, seed=1, middle_only=True)
    )
    for subject, session in itertools.islice(sessions, ACQUISITIONS):
        place = f"{name}/{subject.name}/{session.visit.name}/{session.region}"
        yield from ((f"{place}/{file}", data) for file, data in sorted(session.scan.volumes().items()))
        yield f"{place}/affine", session.scan.affine


def _synthetic_slices() -> Iterator[tuple[str, NDArray[Any]]]:
    for number in range(DRAWN):
        one = any_scanner.synthetic_slice(np.random.default_rng([4, 1, number]))
        place = f"synthetic slices/{number} {one.region} {one.limbs}"
        # Whole numbers, as they are stored: the last digits of floats differ between processors.
        yield f"{place}/image", np.rint(one.image).astype(np.int16)
        yield f"{place}/mask", one.mask
        yield f"{place}/compartments", one.compartments
        yield f"{place}/affine", one.geometry.affine


def digest(array: NDArray[Any]) -> str:
    """Digest an array's kind, shape and bytes."""
    what = array.dtype.str.encode() + repr(tuple(map(int, array.shape))).encode()
    return hashlib.sha256(what + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def thinned(array: NDArray[Any]) -> NDArray[Any]:
    """Give every so many rows and columns of an image."""
    rows, columns = (max(1, size // KEPT) for size in array.shape[:2])
    return np.ascontiguousarray(array[::rows, ::columns])


def other(array: NDArray[Any], kept: NDArray[Any]) -> float:
    """Give the part of the kept pixels that differ."""
    if array.shape != kept.shape or array.dtype != kept.dtype:
        return 1.0
    return float(np.mean(~np.isclose(array, kept, rtol=1e-6, atol=1e-6)))


def fingerprint() -> str:
    """Digest what this machine's arithmetic makes of fixed numbers, by the operations that the phantom uses."""
    rng, results = np.random.default_rng(0), []
    with threadpool_limits(1):
        for kind in (np.float32, np.float64):
            x, y = rng.uniform(0.01, 3, (2, 160, 320)).astype(kind)
            results += [np.exp(x), np.log(x), np.sin(x), np.cos(x), np.sqrt(x), np.hypot(x, y), np.arctan2(x, y)]
            results += [x**y, x @ y.T, x.mean(axis=0), x.sum(), np.std(x), np.einsum("ij,ij->j", x, y)]
            z = x + 1j * y
            results += [z * z.conj(), np.abs(z), np.angle(z), np.exp(1j * x), fft.fft2(z), np.fft.fft2(z)]
            results += [ndimage.gaussian_filter(x, 1.5), ndimage.zoom(x, 0.5, order=3)]
    return hashlib.sha256(b"".join(np.asarray(result).tobytes() for result in results)).hexdigest()[:16]


def problems(arrays: Arrays, golden: Golden) -> list[str]:
    """Name the arrays that are not as they were: to the bit on a known machine, within `MOST_OTHER` on another one."""
    names = {array.partition("/")[0] for array in arrays}
    expected = {name for name in golden.pixels if name.partition("/")[0] in names}
    if expected != set(arrays):
        return sorted(expected ^ set(arrays))
    known = golden.digests.get(fingerprint(), {})

    def changed(name: str, array: NDArray[Any]) -> bool:
        return (
            digest(array) != known[name] if name in known else other(thinned(array), golden.pixels[name]) > MOST_OTHER
        )

    return [name for name, array in arrays.items() if changed(name, array)]


def main() -> None:
    """Write or complete the golden bytes."""
    arrays = {name: array for preset in (*PRESETS, "synthetic slices") for name, array in made(preset).items()}
    digests = {fingerprint(): {name: digest(array) for name, array in arrays.items()}}
    pixels = {name: thinned(array) for name, array in arrays.items()}
    versions = {preset: current_version(preset) for preset in (*PRESETS, "synthetic slices")}
    golden = Golden.read() if DIGESTS.is_file() else Golden({}, {}, {})
    # What was made by another version is forgotten.
    stays = {name for name, version in golden.versions.items() if versions.get(name) == version}
    kept = {name: array for name, array in golden.pixels.items() if name.partition("/")[0] in stays}
    others = {
        machine: {name: one for name, one in own.items() if name in kept} for machine, own in golden.digests.items()
    }
    if wrong := problems({name: array for name, array in arrays.items() if name in kept}, golden):
        sys.exit(f"{', '.join(wrong[:3])} and others: {CHANGED}")
    Golden(versions, {**others, **digests}, {**pixels, **kept}).write()


if __name__ == "__main__":
    main()
