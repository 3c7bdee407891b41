"""A segmented scan: mask, measurements, pictures to judge it by, and what made it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError
from musclesense.imaging.grid import Placement, take_slice
from musclesense.imaging.nifti import Geometry
from musclesense.networks.shipped import shipped
from musclesense.networks.spec import NetworkSpec
from musclesense.segmentation.measured import FILES as FILES
from musclesense.segmentation.measured import MASK as MASK
from musclesense.segmentation.measured import NOTHING, MeasuredMask, Writer, named, versions
from musclesense.segmentation.measured import require_place as require_place
from musclesense.segmentation.measuring import COLUMNS as COLUMNS
from musclesense.segmentation.measuring import PLAIN, Measuring
from musclesense.segmentation.place import Place
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.trust import Looked, Trust, fit_of, judge
from musclesense.storage.digests import digest_of_input
from musclesense.vocabulary import Limbs, Region, Side

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image


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
        measuring: How it is measured.
        runtime: The library that the networks computed with, and its version.
        looked: What they found in each slice, on a coarse grid; empty where that is not known.
        beside: Gives what is written beside all else, by name: files that tell who is shown; None: nothing.
    """

    scan: Scan
    classes: NDArray[np.uint8]
    spec: NetworkSpec
    networks: tuple[Path, ...]
    region: Region
    limbs: Limbs
    measuring: Measuring = PLAIN
    runtime: Mapping[str, str] = field(default_factory=dict)
    looked: Sequence[Looked] = ()
    beside: "Beside | None" = None

    @cached_property
    def measured(self) -> MeasuredMask:
        """The mask, and what is measured in it."""
        return MeasuredMask(
            scan=self.scan,
            classes=self.classes,
            labels=self.spec.labels,
            limbs=self.limbs,
            measuring=self.measuring,
            place=self.placement,
            off=self.scan.places.beyond(self.region),
            scored=partial(judge, looked=self.looked, threshold=self.spec.threshold, fit=self.fit[0]),
        )

    @cached_property
    def fit(self) -> tuple[Trust, bool]:
        """What scores the mask, and whether it was calibrated for these networks."""
        return fit_of(self.networks, self.spec)

    @property
    def network(self) -> str:
        """The networks in a few words: their name in the package, or the SHA-256 of the first ones' weights."""
        return _own_name(self.networks[0]) or f"weights {digest_of_input(self.networks[0])[:16]}"

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.scan.geometry

    @property
    def mask(self) -> NDArray[np.uint16]:
        """The mask with the values of the labels, of ``geometry.shape``."""
        return self.measured.mask

    @property
    def halves(self) -> Mapping[Side | Limbs, NDArray[np.bool_]]:
        """The part of the volume in which each limb lies, of ``geometry.shape``; a piece of another is in none."""
        return self.measured.halves

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """The body beyond the networks' frame, of ``geometry.shape``: nothing of it is segmented."""
        assert self.measured.beyond is not None
        return self.measured.beyond

    def placement(self, number: int) -> Placement:
        """Lay the grid over a slice as it was laid before the networks."""
        by, scan = self.spec.frame.placed_by, self.scan
        body = take_slice(scan.bodies, scan.geometry, number) if by == scan.reference else None
        return self.spec.grid.place(scan.geometry, take_slice(scan.channels[by], scan.geometry, number), body)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of `table`; what is not known is None."""
        return self.measured.rows

    @property
    def table(self) -> "DataFrame":
        """Measurements of each label: by slice and limb, then over ``all`` slices that are counted.

        ``beyond_frame_percent`` is the part of the limb's body that lies beyond the networks' frame. All columns are
        in the reference, "Measurements".
        """
        return self.measured.table

    def figure(self) -> "Image":
        """Draw the outline of the mask on slices of the scan."""
        return self.measured.figure()

    def save(self, folder: str | Path, *, anonymous: bool = False) -> Path:
        """Write mask, table, label names, ``qc.html``, ``qc.png`` and ``run.json``, all of them or none.

        Where fat and water were separated from echoes, they and the fat fraction are written, too; where
        `musclesense.segment` was asked for it, ``mask.dcm``.

        Args:
            folder: Made where it is missing. Results of an earlier call are replaced, unless somebody changed them.
            anonymous: Leave the names of files out of ``run.json``; their SHA-256 stay.

        Returns:
            The folder.

        Raises:
            InputError: It cannot be written, or holds a file of another origin, or a changed one, under one of the
                names; or ``mask.dcm`` was asked for, which names the patient, and ``anonymous``.
        """
        more = NOTHING if self.beside is None else self.beside(self)
        if anonymous and more:
            raise ArgumentError(f"{{anonymous}}: {', '.join(more)} names the patient; leave one out", anonymous="True")
        return self.measured.save(Path(folder), self.record(anonymous), more)

    def record(self, anonymous: bool = False) -> dict[str, Any]:
        """Say what made the mask, so that it can be made again; ``anonymous`` as of `save`."""
        spec = self.spec
        return {
            "versions": versions() | dict(self.runtime),
            "region": str(self.region),
            "region_sure": round(self.scan.places.sureness(Place(self.region)), 3),
            "off_level": {str(number): str(place) for number, place in self.measured.off.items()},
            "quality_calibrated": self.fit[1],
            "limbs": str(self.limbs),
            "phase_unit": self.scan.phase_unit,
            "inputs": {name: named(path, anonymous) for name, path in self.scan.files.items()},
            "channels": list(spec.channels),
            "labels": spec.labels.to_config(),
            "threshold": spec.threshold,
            "flip": spec.flip,
            "scales": list(spec.scales),
            "across_mm": spec.across_mm,
            "grid": spec.grid.to_config(),
            "normalisation": spec.normalisation,
            "networks": [_named_network(path, anonymous) for path in dict.fromkeys(self.networks)],
        }


Beside = Callable[[Segmentation], Mapping[str, Writer]]


def _own_name(weights: Path) -> str | None:
    """Give the name of networks that come with the package."""
    return {folder: name for name, folder in shipped().items()}.get(weights.parent)


def _named_network(weights: Path, anonymous: bool) -> dict[str, str]:
    """Say which weights were used, and their name where they come with the package."""
    own = _own_name(weights)
    return ({} if own is None else {"name": own}) | named(weights, anonymous)
