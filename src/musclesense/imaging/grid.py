"""The grid: every slice in one orientation and spacing for the network, and the way back to the very voxels.

Rows run from anterior to posterior and columns from the subject's right to left (radiological display), whatever the
order in which a scanner stored the axes. The grid follows the axes of the volume: an oblique volume is turned to the
nearest anatomical axes by swapping and flipping, never rotated, so that nothing is lost between slices.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.body import body_centre, body_mask
from musclesense.imaging.nifti import LARGEST_ZOOM_MM, SMALLEST_ZOOM_MM, Geometry

EQUAL_SPACING = 1e-3
"""Relative difference below which a native spacing counts as that of the grid, voxel on pixel."""
_RIGHT_LEFT, _ANTERIOR_POSTERIOR, _SUPERIOR_INFERIOR = 0, 1, 2
_LARGEST_FRAME = 2048
_Pair: TypeAlias = tuple[float, float]


class Fit(StrEnum):
    """How a slice fills the grid."""

    CENTRE = "centre"
    STRETCH = "stretch"


def slice_axis(geometry: Geometry) -> int:
    """Give the array axis closest to superior-inferior.

    >>> slice_axis(Geometry.from_affine((320, 160, 11), np.diag([1.25, 1.25, 10.0, 1.0])))
    2
    """
    return _axis_along(geometry, _SUPERIOR_INFERIOR)[0]


def slice_count(geometry: Geometry) -> int:
    """Give the number of slices along the slice axis.

    >>> slice_count(Geometry.from_affine((320, 160, 11), np.diag([1.25, 1.25, 10.0, 1.0])))
    11
    """
    return geometry.shape[slice_axis(geometry)]


def right_to_left(geometry: Geometry) -> tuple[int, bool]:
    """Give the axis of a slice that runs between right and left, and whether its index grows to the subject's left.

    >>> right_to_left(Geometry.from_affine((320, 160, 11), np.diag([-1.25, 1.25, 10.0, 1.0])))
    (0, True)
    """
    axis, sign = _axis_along(geometry, _RIGHT_LEFT)
    return axis - (axis > slice_axis(geometry)), sign > 0


def runs_back(geometry: Geometry) -> bool:
    """Tell whether the index of a slice's other axis grows from anterior to posterior.

    >>> runs_back(Geometry.from_affine((320, 160, 11), np.diag([-1.25, 1.25, 10.0, 1.0])))
    False
    """
    return _axis_along(geometry, _ANTERIOR_POSTERIOR)[1] > 0


def slice_zooms(geometry: Geometry) -> tuple[float, float]:
    """Give the voxel size in mm along the two axes of a slice, in storage order.

    >>> slice_zooms(Geometry.from_affine((320, 160, 11), np.diag([1.25, 1.5, 10.0, 1.0])))
    (1.25, 1.5)
    """
    first, second = (zoom for axis, zoom in enumerate(geometry.zooms) if axis != slice_axis(geometry))
    return first, second


def take_slice(data: NDArray[Any], geometry: Geometry, index: int) -> NDArray[Any]:
    """Give slice ``index`` of ``data`` as a 2-D view: the other two axes in storage order.

    Writing into the view (``take_slice(mask, geometry, 3)[:] = ...``) puts a slice into the volume.

    >>> geometry = Geometry.from_affine((6, 4, 3), np.eye(4))
    >>> take_slice(np.zeros((6, 4, 3)), geometry, 1).shape
    (6, 4)

    Raises:
        InputError: There is no such slice.
    """
    count = slice_count(geometry)
    if not 0 <= index < count:
        raise InputError(f"slice {index} does not exist; give 0 to {count - 1}")
    view: NDArray[Any] = np.moveaxis(data, slice_axis(geometry), 0)[index]
    return view


def slices_with(voxels: NDArray[np.bool_], geometry: Geometry) -> list[int]:
    """Give the numbers of the slices that hold one of these voxels."""
    in_plane = tuple({0, 1, 2} - {slice_axis(geometry)})
    found: list[int] = np.flatnonzero(voxels.any(axis=in_plane)).tolist()
    return found


@dataclass(frozen=True)
class Grid:
    """The frame that the network sees.

    >>> geometry = Geometry.from_affine((80, 40, 1), np.diag([-2.5, -2.5, 10.0, 1.0]))
    >>> placement = Grid(spacing_mm=1.25, rows=160, columns=320).place(geometry, np.ones((80, 40)))
    >>> placement.to_grid(np.ones((80, 40))).shape
    (160, 320)

    Raises:
        InputError: A size or spacing that no image has, or another fit.
    """

    spacing_mm: float = 1.25  # pixel size, the same along rows and columns; not used by ``stretch``
    rows: int = 160  # pixels from anterior to posterior
    columns: int = 320  # pixels from the subject's right to left
    fit: Fit = Fit.CENTRE
    """``centre`` resamples to ``spacing_mm`` around the body, then crops or pads; ``stretch`` resizes the whole
    slice to the frame.
    """

    def __post_init__(self) -> None:
        spacing = self.spacing_mm
        is_number = isinstance(spacing, int | float) and not isinstance(spacing, bool)
        if not is_number or not SMALLEST_ZOOM_MM <= spacing <= LARGEST_ZOOM_MM:
            limits = f"{SMALLEST_ZOOM_MM:g} to {LARGEST_ZOOM_MM:g}"
            raise InputError(f"grid.spacing_mm={spacing} is no pixel size; give {limits} millimetres")
        for name, size in (("rows", self.rows), ("columns", self.columns)):
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _LARGEST_FRAME:
                raise InputError(f"grid.{name}={size} is no size; give a whole number from 1 to {_LARGEST_FRAME}")
        if not isinstance(self.fit, str) or self.fit not in tuple(Fit):
            raise InputError(f"grid.fit={self.fit} is unknown; give {' or '.join(Fit)}")
        object.__setattr__(self, "fit", Fit(self.fit))

    def to_config(self) -> dict[str, Any]:
        """Give plain values, such that ``Grid(**grid.to_config()) == grid``."""
        return asdict(self) | {"fit": str(self.fit)}

    def place(self, geometry: Geometry, reference: NDArray[Any], body: NDArray[np.bool_] | None = None) -> "Placement":
        """Lay the grid over the slices of a volume.

        Args:
            geometry: Where the voxels of the volume lie.
            reference: 2-D slice as ``take_slice`` gives it, in which the body is found: any magnitude image.
                Not used by ``stretch``.
            body: Its ``body_mask``, where it is known.
        """
        row_axis, row_sign = _axis_along(geometry, _ANTERIOR_POSTERIOR)
        column_axis, column_sign = _axis_along(geometry, _RIGHT_LEFT)
        native_shape = tuple(n for axis, n in enumerate(geometry.shape) if axis != slice_axis(geometry))
        if reference.shape != native_shape:
            raise ValueError(f"reference must have shape {native_shape}, got {reference.shape}")
        axes, signs = [row_axis, column_axis], np.array([row_sign, column_sign])
        lengths, zooms = np.array(geometry.shape)[axes], np.array(geometry.zooms)[axes]
        sizes, transposed = np.array([self.rows, self.columns]), row_axis > column_axis
        if self.fit is Fit.STRETCH:
            steps, centres = lengths / sizes, (lengths - 1) / 2
        else:
            centre = body_centre(body_mask(reference) if body is None else body)
            steps, centres = self.spacing_mm / zooms, np.array(centre[::-1] if transposed else centre)
        starts = centres - signs * steps * (sizes - 1) / 2
        equal = np.abs(steps - 1) < EQUAL_SPACING
        steps, starts = np.where(equal, 1.0, steps), np.where(equal, starts.round(), starts)
        return Placement(
            native_shape=(native_shape[0], native_shape[1]),
            grid_shape=(self.rows, self.columns),
            transposed=transposed,
            start=tuple(starts.tolist()),
            step=tuple((signs * steps).tolist()),
            spacing_mm=tuple((steps * zooms).tolist()),
        )


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the grid lies on the slices of one volume: the way there and back."""

    native_shape: tuple[int, int]  # shape of a slice as ``take_slice`` gives it
    grid_shape: tuple[int, int]  # rows and columns of the grid
    transposed: bool  # whether the first native axis runs along the columns of the grid
    start: _Pair  # native index of grid pixel (0, 0), along the axis of the rows and that of the columns
    step: _Pair
    """Native voxels from one grid pixel to the next along rows and columns; negative where the axis is flipped."""
    spacing_mm: _Pair  # size of a grid pixel along rows and columns

    def to_grid(self, image: NDArray[Any], *, background: float = 0.0) -> NDArray[np.float32]:
        """Bring a native slice to the grid, linearly, smoothed first where the grid is coarser.

        Args:
            image: Native slice, ``native_shape``.
            background: Value of grid pixels beyond the slice.

        Returns:
            ``grid_shape``.
        """
        self._require(image, self.native_shape, "image")
        oriented = image.T if self.transposed else image
        return _resample(oriented, self.start, self.step, self.grid_shape, background)

    def to_scanner(self, values: NDArray[Any], *, background: float = 0.0) -> NDArray[np.float32]:
        """Bring values on the grid back to the voxels of the slice, linearly, smoothed first where these are coarser.

        Args:
            values: ``grid_shape``, or (classes, rows, columns).
            background: Value of voxels beyond the grid.

        Returns:
            ``native_shape``, or (classes, *native_shape).
        """
        self._require(values, self.grid_shape, "values")
        if values.ndim == 3:
            return np.stack([self.to_scanner(one, background=background) for one in values])
        step = (1 / self.step[0], 1 / self.step[1])
        start = (-self.start[0] / self.step[0], -self.start[1] / self.step[1])
        shape = self.native_shape[::-1] if self.transposed else self.native_shape
        native = _resample(values, start, step, (shape[0], shape[1]), background)
        return np.ascontiguousarray(native.T) if self.transposed else native

    def labels_to_grid(self, classes: NDArray[np.uint8], n_classes: int) -> NDArray[np.uint8]:
        """Bring class indices (0 is background) of a native slice to the grid, each pixel to its largest class."""
        there = np.bincount(classes.ravel(), minlength=n_classes + 1) > 0
        nothing = np.zeros(self.grid_shape, dtype=np.float32)  # the many classes that a slice lacks cost no time
        shares = [self.to_grid(classes == index) if there[index] else nothing for index in range(1, n_classes + 1)]
        background = np.float32(1) - np.sum(shares, axis=0, dtype=np.float32)
        largest: NDArray[np.uint8] = np.argmax([background, *shares], axis=0).astype(np.uint8)
        return largest

    def nearest(self, native: NDArray[Any], every: int = 1) -> NDArray[Any]:
        """Give the voxels of a native slice that lie nearest to every so many-th grid pixel; 0 beyond the slice."""
        self._require(native, self.native_shape, "native")
        oriented = native.T if self.transposed else native
        places = zip(self.start, self.step, self.grid_shape, strict=True)
        at = [np.rint(start + step * np.arange(0, size, every)).astype(int) for start, step, size in places]
        there = [(own >= 0) & (own < length) for own, length in zip(at, oriented.shape, strict=True)]
        found = np.zeros([len(own) for own in at], native.dtype)
        found[np.ix_(*there)] = oriented[np.ix_(*(own[inside] for own, inside in zip(at, there, strict=True)))]
        return found

    @staticmethod
    def _require(array: NDArray[Any], shape: tuple[int, int], name: str) -> None:
        if array.shape[-2:] != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _axis_along(geometry: Geometry, direction: int) -> tuple[int, int]:
    """Give the array axis closest to an RAS direction, and +1 where its index grows to left, posterior, inferior."""
    axis = geometry.orientation[:, 0].tolist().index(direction)
    return axis, -int(geometry.orientation[axis, 1])


def _resample(
    image: NDArray[Any], start: _Pair, step: _Pair, shape: tuple[int, int], background: float
) -> NDArray[np.float32]:
    """Sample ``image`` at ``start + step * index`` for every index of ``shape``."""
    source = np.asarray(image, dtype=np.float32)
    sigma = [max(0.0, (abs(s) - 1) / 2) for s in step]
    if any(sigma):
        source = ndimage.gaussian_filter(source, sigma, mode="nearest")
    output = np.empty(shape, dtype=np.float32)
    ndimage.affine_transform(source, np.array(step), start, output=output, order=1, mode="nearest")
    # A voxel reaches half its size beyond its centre; further out there is nothing.
    for axis in (0, 1):
        at = start[axis] + step[axis] * np.arange(shape[axis])
        beyond = (at < -0.5 - 1e-9) | (at > source.shape[axis] - 0.5 + 1e-9)
        output[(beyond, slice(None)) if axis == 0 else (slice(None), beyond)] = background
    return output
