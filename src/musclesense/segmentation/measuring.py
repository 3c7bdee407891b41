"""What is measured in a mask: areas, volumes and fat fractions by slice, limb and label, and over all slices."""

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import ArgumentError, plain
from musclesense.imaging.grid import slice_count, slice_zooms, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.metrics.depots import fat_depots
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.trust import DOUBTED_BELOW, Key
from musclesense.vocabulary import Channel, Limbs, Side

COLUMNS = (
    *("slice", "limb", "label", "voxels", "volume_ml", "fat_fraction_percent", "beyond_frame_percent"),
    *("fat_fraction_median_percent", "fat_fraction_sd_percent", "area_cm2", "largest_area_cm2", "largest_area_slice"),
    *("subcutaneous_fat_cm2", "intermuscular_fat_cm2", "subcutaneous_fat_ml", "intermuscular_fat_ml"),
    *("counted_slices", "flags", "quality"),
)
"""Of a table of measurements; new ones stand behind those of earlier releases."""
ERODED_COLUMNS = (
    *("eroded_voxels", "eroded_fat_fraction_percent", "eroded_fat_fraction_median_percent"),
    "eroded_fat_fraction_sd_percent",
)
DIGITS = {"quality": ".2f", "volume_ml": ".3f", "beyond_frame_percent": ".1f", "largest_area_slice": ".0f"} | {
    name: ".3f" if name.endswith("_ml") else ".2f"
    for name in (*COLUMNS, *ERODED_COLUMNS)
    if name.endswith(("_cm2", "_ml")) or "fat_fraction" in name
}
"""How numbers are written, with as many digits as mean something."""
CUT, LIMB_CUT, LEFT_OUT, OFF_LEVEL, DOUBTFUL = "cut", "limb_cut", "left_out", "off_level", "doubtful"
"""Flags: the edge of the image cuts the region, or the fat of the limb; the slice is not among those asked for, or
shows another place than the region; the mask of the limb is likely wrong."""
_MOST_EROSION_MM = 100.0


@dataclass(frozen=True)
class Measuring:
    """How masks are measured.

    Attributes:
        erode: Measure once more without this many mm along the border of each region; None: only as it is.
        slices: First and last slice that totals count; None: all of them.
        with_cut: Let totals count what the edge of the image cuts.
    """

    erode: float | None = None
    slices: tuple[int, int] | None = None
    with_cut: bool = False

    @classmethod
    def asked(
        cls, erode: float | None = None, slices: "str | Sequence[int] | None" = None, with_cut: bool = False
    ) -> Self:
        """Understand what a user asks for.

        >>> Measuring.asked(erode=2, slices="3:8")
        Measuring(erode=2, slices=(3, 8), with_cut=False)

        Raises:
            InputError: No such erosion or slices.
        """
        if erode is not None and not 0 < erode <= _MOST_EROSION_MM:
            said = f"{{erode}}: is no erosion; give more than 0 and up to {_MOST_EROSION_MM:g} mm, or leave it out"
            raise ArgumentError(said, erode=str(erode))
        return cls(erode, None if slices is None else _first_and_last(slices), with_cut)

    def require_slices(self, geometry: Geometry, image: str = "the image") -> None:
        """Refuse slices that an image does not have."""
        last = slice_count(geometry) - 1
        if self.slices is not None and self.slices[1] > last:
            said = f"{{slices}}: {{image}} has slices 0 to {last}; give some of them"
            raise ArgumentError(said.replace("{image}", plain(image)), slices="{}:{}".format(*self.slices))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table."""
        return COLUMNS if self.erode is None else COLUMNS + ERODED_COLUMNS

    def to_record(self) -> dict[str, Any]:
        """Give plain values."""
        slices = None if self.slices is None else list(self.slices)
        return {"erode_mm": self.erode, "slices": slices, "with_cut": self.with_cut}


PLAIN = Measuring()
"""Masks as they are, all slices."""


def _first_and_last(slices: str | Sequence[int]) -> tuple[int, int]:
    shown = ":".join(map(str, slices)) if isinstance(slices, Sequence) and not isinstance(slices, str) else str(slices)
    wanted = "give FIRST:LAST, both counted from 0, such as 2:8"
    try:
        first, last = map(int, slices.split(":")) if isinstance(slices, str) else map(operator.index, slices)
    except (TypeError, ValueError):
        raise ArgumentError(f"{{slices}}: is no range of slices; {wanted}", slices=shown) from None
    if not 0 <= first <= last:
        raise ArgumentError(f"{{slices}}: holds no slice; {wanted}", slices=shown)
    return first, last


@dataclass(frozen=True, eq=False)
class _Limb:
    """A limb in a slice: voxels of it, and of its fat where that is known."""

    body: int
    beyond: int
    fat: tuple[int, int] | None
    counted: bool
    fat_counted: bool
    quality: float | None


@dataclass(frozen=True, eq=False)
class _Part:
    """A label of a limb in a slice: voxels, and the fat fractions of those that have one."""

    number: int
    voxels: int
    values: NDArray[np.floating[Any]]
    eroded_voxels: int
    eroded: NDArray[np.floating[Any]]
    flags: tuple[str, ...]
    counted: bool


def measure(
    scan: Scan,
    classes: NDArray[np.uint8],
    labels: LabelSet,
    halves: Mapping[Side | Limbs, NDArray[np.bool_]],
    beyond: NDArray[np.bool_] | None,
    how: Measuring,
    off: Collection[int] = (),
    quality: Mapping[Key, float] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Measure each label of each limb, slice by slice, then over ``all`` slices that are counted.

    Args:
        scan: The images.
        classes: Class indices (0 is background) of ``scan.geometry.shape``.
        labels: What they are.
        halves: Where each limb lies.
        beyond: The body beyond the networks' frame, None where there is no frame.
        how: What is asked for.
        off: Slices that show another place than the region.
        quality: Scores of the mask of a limb in a slice, where they are known.

    Returns:
        Rows of ``how.columns``; what is not known is None.
    """
    parts: dict[tuple[Side | Limbs, int], list[_Part]] = {}
    limbs: dict[Side | Limbs, list[_Limb]] = {}
    for number, limb in product(range(slice_count(scan.geometry)), halves):
        score = quality.get((number, limb))
        shown, found = _measure_limb(scan, classes, labels, halves[limb], beyond, how, number, number in off, score)
        limbs.setdefault(limb, []).append(shown)
        for index, part in enumerate(found):
            parts.setdefault((limb, index), []).append(part)
    scale = _Scale(scan, beyond is not None, how)
    keys = list(product(halves, range(len(labels.names))))
    rows = []
    for number in range(slice_count(scan.geometry)):
        for limb, index in keys:
            row = scale.row(parts[limb, index][number], limbs[limb][number])
            rows.append({"slice": number, "limb": str(limb), "label": labels.names[index], **row})
    for limb, index in keys:
        row = scale.total(parts[limb, index], limbs[limb])
        rows.append({"slice": "all", "limb": str(limb), "label": labels.names[index], **row})
    return rows


def _measure_limb(
    scan: Scan,
    classes: NDArray[np.uint8],
    labels: LabelSet,
    half: NDArray[np.bool_],
    beyond: NDArray[np.bool_] | None,
    how: Measuring,
    number: int,
    off: bool,
    quality: float | None,
) -> tuple[_Limb, list[_Part]]:
    """Measure one limb in one slice."""

    def part(volume: NDArray[Any]) -> NDArray[Any]:
        return take_slice(volume, scan.geometry, number)

    zooms, inside = slice_zooms(scan.geometry), part(half)
    body, found = part(scan.bodies) & inside, np.where(inside, part(classes), 0)
    fraction = None if scan.fat_fraction is None else part(scan.fat_fraction)
    asked = how.slices is None or how.slices[0] <= number <= how.slices[1]
    depots = None
    if fraction is not None and body.any():
        signal = part(scan.channels[Channel.FAT]) + part(scan.channels[Channel.WATER])
        depots = fat_depots(fraction, signal, body, found > 0, zooms)
    limb_cut = depots is not None and any(_touches_edge(depot) for depot in depots)
    limb = _Limb(
        body=_count(body),
        beyond=0 if beyond is None else _count(part(beyond) & inside),
        fat=None if depots is None else (_count(depots[0]), _count(depots[1])),
        counted=asked and not off,
        fat_counted=asked and not off and (how.with_cut or not limb_cut),
        quality=quality,
    )
    doubted = quality is not None and quality < DOUBTED_BELOW
    parts = []
    for index in range(1, len(labels.names) + 1):
        mask = found == index
        eroded = mask if how.erode is None else _eroded(mask, zooms, how.erode)
        cut = _touches_edge(mask)
        flags = ((CUT, cut), (LIMB_CUT, limb_cut), (LEFT_OUT, not asked), (OFF_LEVEL, off), (DOUBTFUL, doubted))
        parts.append(
            _Part(
                number=number,
                voxels=_count(mask),
                values=_finite(fraction, mask),
                eroded_voxels=_count(eroded),
                eroded=_finite(fraction, eroded),
                flags=tuple(flag for flag, holds in flags if holds),
                counted=limb.counted and (how.with_cut or not cut),
            )
        )
    return limb, parts


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _touches_edge(mask: NDArray[np.bool_]) -> bool:
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _eroded(mask: NDArray[np.bool_], zooms: tuple[float, float], erosion_mm: float) -> NDArray[np.bool_]:
    """Leave out voxels whose middle lies no further than ``erosion_mm`` from that of a voxel outside the mask."""
    if not mask.any() or mask.all():
        return mask
    deep: NDArray[np.bool_] = ndimage.distance_transform_edt(mask, sampling=zooms) > erosion_mm + 1e-6
    return deep


def _finite(fraction: NDArray[np.floating[Any]] | None, mask: NDArray[np.bool_]) -> NDArray[np.floating[Any]]:
    values = np.empty(0) if fraction is None else fraction[mask]
    return values[np.isfinite(values)]


class _Scale:
    """Turns voxels into the numbers of rows."""

    def __init__(self, scan: Scan, framed: bool, how: Measuring) -> None:
        self._voxel_cm2 = math.prod(slice_zooms(scan.geometry)) / 100
        self._voxel_ml = math.prod(scan.geometry.zooms) / 1000
        self._framed, self._how = framed, how

    def total(self, parts: Sequence[_Part], limbs: Sequence[_Limb]) -> dict[str, Any]:
        """Sum up the slices that are counted."""
        counted = [part for part in parts if part.counted]
        shown = [limb for limb in limbs if limb.counted]
        largest = max((part for part in counted if part.voxels), key=lambda part: part.voxels, default=None)
        return self._sums(counted, shown, [limb for limb in shown if limb.fat_counted]) | {
            "largest_area_cm2": largest.voxels * self._voxel_cm2 if largest else None,
            "largest_area_slice": largest.number if largest else None,
            "counted_slices": len(counted),
            "quality": min((limb.quality for limb in shown if limb.quality is not None), default=None),
            "flags": " ".join(dict.fromkeys(flag for part in parts for flag in part.flags)),
        }

    def row(self, part: _Part, limb: _Limb) -> dict[str, Any]:
        """Say what one slice shows, counted or not."""
        subcutaneous, intermuscular = limb.fat or (None, None)
        return self._sums([part], [limb], [limb]) | {
            "area_cm2": part.voxels * self._voxel_cm2,
            "subcutaneous_fat_cm2": None if subcutaneous is None else subcutaneous * self._voxel_cm2,
            "intermuscular_fat_cm2": None if intermuscular is None else intermuscular * self._voxel_cm2,
            "counted_slices": int(part.counted),
            "quality": limb.quality,
            "flags": " ".join(part.flags),
        }

    def _sums(self, parts: Sequence[_Part], limbs: Sequence[_Limb], fatty: Sequence[_Limb]) -> dict[str, Any]:
        voxels, body = sum(part.voxels for part in parts), sum(limb.body for limb in limbs)
        beyond = sum(limb.beyond for limb in limbs)
        fat = [limb.fat for limb in fatty if limb.fat is not None]
        sums: dict[str, Any] = dict.fromkeys(self._how.columns[3:])
        sums |= {
            "voxels": voxels,
            "volume_ml": voxels * self._voxel_ml,
            "beyond_frame_percent": 100 * beyond / body if body and self._framed else None,
            "subcutaneous_fat_ml": sum(one for one, _ in fat) * self._voxel_ml if fat else None,
            "intermuscular_fat_ml": sum(one for _, one in fat) * self._voxel_ml if fat else None,
            **_fractions("", [part.values for part in parts]),
        }
        if self._how.erode is not None:
            sums |= {"eroded_voxels": sum(part.eroded_voxels for part in parts)}
            sums |= _fractions("eroded_", [part.eroded for part in parts])
        return sums


def _fractions(prefix: str, values: Sequence[NDArray[np.floating[Any]]]) -> dict[str, float | None]:
    """Name mean, median and standard deviation of the voxels' fat fractions."""
    together = np.concatenate(values).astype(np.float64) if values else np.empty(0)
    kinds: Mapping[str, Callable[[NDArray[Any]], Any]] = {"": np.mean, "_median": np.median, "_sd": np.std}
    return {
        f"{prefix}fat_fraction{kind}_percent": float(function(together)) if together.size else None
        for kind, function in kinds.items()
    }
