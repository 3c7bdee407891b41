"""Masks drawn on scans: the best, the median and the worst case of each region."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.storage.paths import is_file, require_file
from musclesense.studies.reading import Case, Run, Study

SHOWN_WIDTH = 640
CONTOUR_WIDTH = 2
"""Pixels; a page shows the picture at about half its width, where contours are then one pixel wide."""

_INDEX, _IMAGES = ("line", "slice"), ("image", "truth", "prediction")
_MOST_BYTES = 512 * 1024**2

TRUTH, PREDICTION, BOTH = (255, 176, 32), (64, 196, 255), (255, 255, 255)
"""Colours of the contours: of the truth, of the prediction, and where they run together."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """One labelled slice with the contours of truth and prediction.

    Attributes:
        rank: ``best``, ``median`` or ``worst`` of its region, by Dice averaged over labels.
        case: Whose slice it is (the first of its labels).
        dice: Dice averaged over the labels that have one.
        pixels: RGB, uint8, the grid enlarged by a whole number to ``SHOWN_WIDTH`` or more.
    """

    rank: str
    case: Case
    dice: float
    pixels: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"overlay_{self.case.region}_{self.rank}"

    def png(self) -> bytes:
        """Encode the picture; the same pixels give the same bytes."""
        buffer = io.BytesIO()
        imsave(buffer, self.pixels, format="png", pil_kwargs={"optimize": True})
        return buffer.getvalue()


def overlays(study: Study, region: str) -> list[Overlay]:
    """Draw the best, the median and the worst case of a region among those whose images were kept."""
    kept = [(dice, run, case) for run in study.runs for dice, case in _kept(run, region)]
    kept.sort(key=lambda entry: -entry[0])
    if not kept:
        return []
    ranks = {"best": 0, "median": len(kept) // 2, "worst": len(kept) - 1}
    chosen = [(rank, *kept[position]) for rank, position in ranks.items()]
    return [
        Overlay(rank=rank, case=case, dice=dice, pixels=draw(*_images(run, case))) for rank, dice, run, case in chosen
    ]


def draw(image: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the contours of two label maps on a grey image, all of shape (H, W), after enlarging them."""
    times = -(-SHOWN_WIDTH // image.shape[1])
    grey, true, predicted = (
        np.kron(plane, np.ones((times, times), dtype=np.uint8)) for plane in (image, truth, prediction)
    )
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    in_truth, in_prediction = _contour(true), _contour(predicted)
    pixels[in_truth] = TRUTH
    pixels[in_prediction] = PREDICTION
    pixels[in_truth & in_prediction] = BOTH
    return pixels


def _contour(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the labelled pixels that lie less than the contour's width from another value, along rows or columns."""
    marked = np.zeros(labels.shape, dtype=bool)
    for reach in range(1, CONTOUR_WIDTH + 1):
        padded = np.pad(labels, reach)
        middle, less, more = slice(reach, -reach), slice(None, -2 * reach), slice(2 * reach, None)
        for neighbour in (padded[less, middle], padded[more, middle], padded[middle, less], padded[middle, more]):
            marked |= labels != neighbour
    return marked & (labels > 0)


def _kept(run: Run, region: str) -> Iterable[tuple[float, Case]]:
    """Give mean Dice and first case of each slice of a region that the run kept the images of."""
    slices: dict[tuple[int, int], list[Case]] = {}
    for case in run.cases:
        if case.region == region and case.dice is not None:
            slices.setdefault((case.line, case.slice), []).append(case)
    if not slices or not is_file(run.folder.overlays):
        return
    lines, numbers = _load(run, *_INDEX)
    for line, number in zip(lines.tolist(), numbers.tolist(), strict=True):
        if cases := slices.get((line, number)):
            yield fmean(case.dice for case in cases if case.dice is not None), cases[0]


def _images(run: Run, case: Case) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    lines, numbers, *images = _load(run, *_INDEX, *_IMAGES)
    index = int(np.flatnonzero((lines == case.line) & (numbers == case.slice))[0])
    image, truth, prediction = (stack[index] for stack in images)
    return image, truth, prediction


def _load(run: Run, *names: str) -> list[NDArray[Any]]:
    """Read arrays that a run kept: whole numbers (cases,) that name slices, and images (cases, rows, columns)."""
    path = run.folder.overlays
    remedy = "remove its folder and run train.py again"
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise InputError(f"{path}: unpacks to more than {_MOST_BYTES // 1024**2} MiB; {remedy}")
            arrays = [_array(archive, name) for name in names]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zlib.error, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {remedy}") from error
    shapes = {
        name: array.shape[:1] if name in _INDEX else array.shape for name, array in zip(names, arrays, strict=True)
    }
    images = {shapes[name] for name in names if name in _IMAGES}
    if len({shape[:1] for shape in shapes.values()}) > 1 or len(images) > 1:
        raise InputError(f"{path}: arrays of {', '.join(map(str, shapes.values()))} do not belong together; {remedy}")
    return arrays


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read one array, once its header has been compared with the bytes that are there."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{name} has format {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        size = archive.getinfo(f"{name}.npy").file_size - file.tell()
        of_kind = len(shape) == 3 and dtype == np.uint8 if name in _IMAGES else len(shape) == 1 and dtype.kind in "iu"
        if not of_kind or fortran or 0 in shape or math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} holds {size} bytes of type {dtype} and shape {shape}")
        return np.frombuffer(file.read(), dtype=dtype).reshape(shape)
