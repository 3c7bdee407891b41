"""A segmented scan: mask, fat fractions, a picture to judge it by, and what made it."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.grid import Placement, slice_count, take_slice
from musclesense.imaging.limbs import part_limbs
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.networks.spec import NetworkSpec
from musclesense.segmentation.scan import Scan
from musclesense.storage.atomic import atomic_path
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_there, require_writable
from musclesense.storage.records import read_json, write_csv, write_json
from musclesense.version import __version__
from musclesense.vocabulary import Limbs, Region, Side

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ("slice", "limb", "label", "voxels", "volume_ml", "fat_fraction_percent", "beyond_frame_percent")
MASK, TABLE, PICTURE, RECORD = FILES = ("mask.nii.gz", "fat_fraction.csv", "qc.png", "run.json")
RECORD_FORMAT = 2
_WRITTEN = {"volume_ml": ".3f", "fat_fraction_percent": ".2f", "beyond_frame_percent": ".1f"}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in a scan.

    Attributes:
        scan: The images.
        classes: Class indices (0 is background), uint8 of ``geometry.shape``.
        spec: What the networks are that found them.
        networks: The files of their weights.
        region: What the scan shows.
        limbs: Both limbs side by side, or the one that it shows, as given or found.
    """

    scan: Scan
    classes: NDArray[np.uint8]
    spec: NetworkSpec
    networks: tuple[Path, ...]
    region: Region
    limbs: Limbs

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.scan.geometry

    @property
    def mask(self) -> NDArray[np.uint16]:
        """The mask with the values of the labels, of ``geometry.shape``."""
        return self.spec.labels.decode(self.classes)

    @cached_property
    def halves(self) -> Mapping[Side | Limbs, NDArray[np.bool_]]:
        """The part of the volume in which each limb lies, of ``geometry.shape``; a piece of another is in none."""
        return part_limbs(self.scan.limbs, self.limbs, self.scan.bodies, self.geometry)

    def placement(self, number: int) -> Placement:
        """Lay the grid over a slice as it was laid before the networks."""
        by, scan = self.spec.frame.placed_by, self.scan
        body = take_slice(scan.bodies, scan.geometry, number) if by == scan.reference else None
        return self.spec.grid.place(scan.geometry, take_slice(scan.channels[by], scan.geometry, number), body)

    @cached_property
    def beyond(self) -> NDArray[np.bool_]:
        """The body beyond the networks' frame, of ``geometry.shape``: nothing of it is segmented."""
        beyond: NDArray[np.bool_] = self.scan.bodies.copy()
        for number in range(slice_count(self.geometry)):
            placement = self.placement(number)
            inside = placement.to_scanner(np.ones(placement.grid_shape)) > 0.5
            take_slice(beyond, self.geometry, number)[inside] = False
        return beyond

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of `table`; the fat fraction is None where water is not known or the label is absent."""
        own = {limb: np.where(half, self.classes, 0) for limb, half in self.halves.items()}
        return [
            {"slice": "all" if number is None else number, "limb": str(limb), **measured}
            for number in (*range(slice_count(self.geometry)), None)
            for limb, classes in own.items()
            for measured in self._measure(classes, self.halves[limb], number)
        ]

    def _measure(
        self, classes: NDArray[np.uint8], half: NDArray[np.bool_], number: int | None
    ) -> Iterator[dict[str, Any]]:
        """Measure each label of a limb in one slice or, where there is no number, in all of them."""

        def part(volume: NDArray[Any]) -> NDArray[Any]:
            return volume if number is None else np.ascontiguousarray(take_slice(volume, self.geometry, number))

        limb, beyond = (np.count_nonzero(part(volume) & part(half)) for volume in (self.scan.bodies, self.beyond))
        found, voxel_mm3 = part(classes), float(np.prod(self.geometry.zooms))
        fraction = None if self.scan.fat_fraction is None else part(self.scan.fat_fraction)
        for index, label in enumerate(self.spec.labels.names, start=1):
            mask = found == index
            voxels = int(np.count_nonzero(mask))
            yield {
                "label": label,
                "voxels": voxels,
                "volume_ml": voxels * voxel_mm3 / 1000,
                "fat_fraction_percent": None if fraction is None else mean_fat_fraction(fraction, mask),
                "beyond_frame_percent": 100 * beyond / limb if limb else None,
            }

    @cached_property
    def table(self) -> "DataFrame":
        """Voxels, volume and mean fat fraction of each label: by slice and limb, then over ``all`` slices.

        ``beyond_frame_percent`` is the part of the limb's body that lies beyond the networks' frame.
        """
        from pandas import DataFrame  # takes long to import

        table = DataFrame(self.rows, columns=list(COLUMNS))
        return table.astype(dict.fromkeys(_WRITTEN, float))

    def figure(self) -> "Figure":
        """Draw the outline of the mask on slices of the scan."""
        from musclesense.segmentation.quality import draw_quality_control

        return draw_quality_control(self)

    def save(self, folder: str | Path, *, anonymous: bool = False) -> Path:
        """Write ``mask.nii.gz``, ``fat_fraction.csv``, ``qc.png`` and ``run.json``, all of them or none.

        Args:
            folder: Made where it is missing. Results of an earlier call are replaced, unless somebody changed them.
            anonymous: Leave the names of files out of ``run.json``; their SHA-256 stay.

        Returns:
            The folder.

        Raises:
            InputError: It cannot be written, or holds a file of another origin, or a changed one, under one of the
                names.
        """
        out = Path(folder)
        replaced = require_place(out)
        with ExitStack() as drafts:
            mask, table, picture, record = (drafts.enter_context(atomic_path(out / name)) for name in FILES)
            write_volume(mask, self.mask, self.geometry, np.uint16)
            write_csv(table, COLUMNS, [_as_text(row) for row in self.rows])
            self.figure().savefig(picture)
            results = {path.name: digest_of_bytes(path) for path in (mask, table, picture)}
            others = dict(replaced.items() - results.items())
            write_json(record, self._record(anonymous) | {"results": results, "replaced": others})
        return out

    def _record(self, anonymous: bool) -> dict[str, Any]:
        """Say what made the mask, so that it can be made again."""
        spec = self.spec
        return {
            "format": RECORD_FORMAT,
            "versions": {
                "musclesense": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "region": str(self.region),
            "limbs": str(self.limbs),
            "phase_unit": self.scan.phase_unit,
            "inputs": {name: _digest(path, anonymous) for name, path in self.scan.files.items()},
            "channels": list(spec.channels),
            "labels": spec.labels.to_config(),
            "threshold": spec.threshold,
            "grid": spec.grid.to_config(),
            "networks": [_digest(path, anonymous) for path in self.networks],
        }


def require_place(folder: Path) -> dict[str, str]:
    """Refuse a folder for results before the work, which takes long.

    Returns:
        Digests of the results that will be replaced, by name.

    Raises:
        InputError: It cannot be written, or holds what no earlier call wrote under one of the names, such as a mask
            drawn by hand that lies beside the images, or one that was corrected.
    """
    require_writable(folder)
    record = _read_record(folder / RECORD)
    if record is None and (strangers := [name for name in FILES if is_there(folder / name)]):
        raise InputError(f"{folder / strangers[0]}: exists and was not made by this command; give another folder")
    there = {name: digest_of_bytes(folder / name) for name in FILES[:-1] if _holds_something(folder / name)}
    changed = [name for name, digest in there.items() if not _is_of(record or {}, folder / name, digest)]
    if changed:
        keep = "move it away or give another folder to keep it, or remove it"
        raise InputError(*(f"{folder / name}: was changed after it was written here; {keep}" for name in changed))
    return there


def _holds_something(file: Path) -> bool:
    return is_there(file) and file.stat().st_size > 0


def _read_record(path: Path) -> dict[str, Any] | None:
    """Read the record of an earlier call; None where there is none of this command's."""
    try:
        record = read_json(path, remedy="")
    except InputError:
        return None
    return record if isinstance(record, dict) and {"inputs", "networks"} <= record.keys() else None


def _is_of(record: Mapping[str, Any], file: Path, digest: str) -> bool:
    """Tell whether a result is as it was written, or, where a call was killed in the end, as it was before."""
    known = [record.get(key) for key in ("results", "replaced")]
    if known == [None, None]:  # of a release that wrote no digests: the record was written last
        return file.stat().st_mtime_ns <= (file.parent / RECORD).stat().st_mtime_ns
    return any(isinstance(digests, dict) and digests.get(file.name) == digest for digests in known)


def _as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write the numbers of a row with as many digits as mean something."""
    texts = {name: "" if row[name] is None else format(row[name], digits) for name, digits in _WRITTEN.items()}
    return {**row, **texts}


def _digest(path: Path, anonymous: bool) -> dict[str, str]:
    return ({} if anonymous else {"file": str(path)}) | {"sha256": digest_of_bytes(path)}
