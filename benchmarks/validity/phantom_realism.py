"""How the fat images of phantoms are distributed beside those of real scans.

``MUSCLESENSE_REAL_DATA=DIR python -m benchmarks.validity.phantom_realism COHORT.csv MODEL OUT.png`` draws histograms of
the z-scored fat image inside muscle, subcutaneous fat and marrow, and of its gradient at the border of muscle, over the
thighs of a phantom cohort, synthetic slices (`phantom.any_scanner`), ``ideal_thigh`` and ``siemens_thigh``, and
prints their quartiles. Muscle of ``siemens_thigh``, which has no mask, is what MODEL segments. Subcutaneous fat and
marrow are found alike in all of them: a band below the skin, and bright bodies of some size enclosed by muscle.

Then it prints the fat fraction that one fat peak reads over healthy muscle, whole and deeper than `DEEP_MM` within the
mask: of thighs of the phantom's controls and of each slice of ``siemens_thigh``.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.cohort.table import read_table
from musclesense.dixon.separation import fat_fraction
from musclesense.imaging.body import body_mask
from musclesense.imaging.frame import normalise
from musclesense.imaging.grid import Grid, slice_axis, slice_count, take_slice
from musclesense.imaging.nifti import Geometry, Volume, read_volume
from musclesense.phantom import any_scanner
from musclesense.segmentation.scan import Scan, from_echoes
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.atomic import atomic_path
from musclesense.vocabulary import Region

GRID = Grid()
ROBUST_SLICES = 60
BAND_MM = (4.0, 9.0)
MARROW_MM2 = 60.0
DEEP_MM = 3.0
PARTS = {
    "muscle": np.linspace(-1.5, 3.5, 60),
    "subcutaneous fat": np.linspace(-1.5, 6, 60),
    "marrow": np.linspace(-1.5, 6, 60),
    "gradient at the muscle's border (1/mm)": np.linspace(0, 1.5, 60),
}


def main() -> None:
    table, model, out = (Path(argument) for argument in sys.argv[1:])
    real = Path(os.environ["MUSCLESENSE_REAL_DATA"])
    siemens, siemens_muscle = segmented(real / "siemens_thigh", model)
    sources = {
        "phantom, three echoes": from_table(table),
        "phantom, any scanner": from_any_scanner(),
        "ideal_thigh": from_ideal(real / "ideal_thigh"),
        "siemens_thigh": from_scan(siemens, siemens_muscle),
    }
    figure, axes = plt.subplots(1, len(PARTS), figsize=(4 * len(PARTS), 3), layout="constrained")
    for name, slices in sources.items():
        found = [values(image, muscle) for image, muscle in slices]
        for axis, (part, bins) in zip(axes, PARTS.items(), strict=True):
            own = np.concatenate([one[part] for one in found])
            axis.hist(own, bins, density=True, histtype="step", label=name, linewidth=1.4 if "phantom" in name else 1.0)
            axis.set_title(part, fontsize=9)
            quartiles = ", ".join(f"{value:.2f}" for value in np.percentile(own, (25, 50, 75)))
            print(f"{name}: {part}: quartiles {quartiles} over {len(found)} slices")
    axes[0].legend(fontsize=7)
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=80)
    print_healthy_fat(table, siemens, siemens_muscle)


def print_healthy_fat(table: Path, scan: Scan, muscle: NDArray[np.uint8]) -> None:
    controls = []
    for row in read_table(table).acquisitions:
        if row.region is Region.THIGH and row.group == "control" and row.mask is not None and row.slice is not None:
            volumes = [read_volume(path) for path in (row.channels["fat"], row.channels["water"], row.mask)]
            controls.append(fat_read([volume.data for volume in volumes], volumes[0].geometry, row.slice))
    low, high = (limit(whole for whole, _ in controls) for limit in (min, max))
    whole, deep = np.mean(controls, axis=0)
    print(f"controls of the phantom, {len(controls)} slices: {whole:.1f} % ({low:.1f}-{high:.1f}), deep {deep:.1f} %")
    for number in range(slice_count(scan.geometry)):
        whole, deep = fat_read([scan.channels["fat"], scan.channels["water"], muscle], scan.geometry, number)
        print(f"siemens_thigh, slice {number}: {whole:.1f} %, deep {deep:.1f} %")


def fat_read(volumes: list[NDArray[Any]], geometry: Geometry, number: int) -> tuple[float, float]:
    """Give the mean fat fraction in percent over the muscle of a slice, and over what lies deep in it."""
    fat, water, muscle = (take_slice(volume, geometry, number).astype(np.float64) for volume in volumes)
    percent = fat_fraction(fat, water)
    spacing = np.delete(geometry.zooms, slice_axis(geometry))
    depth = ndimage.distance_transform_edt(muscle > 0, sampling=spacing)
    return float(percent[muscle > 0].mean()), float(percent[depth > DEEP_MM].mean())


def from_table(table: Path) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Give the labelled thigh slices of a cohort on the grid, with muscle."""
    for row in read_table(table).acquisitions:
        if row.region is Region.THIGH and row.mask is not None and row.slice is not None:
            yield on_grid(read_volume(row.channels["fat"]), read_volume(row.mask).data, row.slice)


def from_any_scanner() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for number in range(ROBUST_SLICES):
        drawn = any_scanner.synthetic_slice(np.random.default_rng([0, number]), regions=[Region.THIGH])
        fat = Volume(drawn.stored(drawn.image)[..., None], drawn.geometry)
        yield on_grid(fat, drawn.stored(drawn.mask)[..., None], 0)


def from_ideal(folder: Path) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    fat, labels = read_volume(folder / "fat.nii.gz"), read_volume(folder / "muscles.nii.gz")
    for number in range(2, 11):
        yield on_grid(fat, labels.data, number)


def from_scan(scan: Scan, muscle: NDArray[np.uint8]) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for number in range(slice_count(scan.geometry)):
        yield on_grid(Volume(scan.channels["fat"], scan.geometry), muscle, number)


def segmented(folder: Path, model: Path) -> tuple[Scan, NDArray[np.uint8]]:
    scan = from_echoes(
        *((folder / f"te{echo}_magnitude.nii.gz", folder / f"te{echo}_phase.nii.gz") for echo in (345, 460, 575))
    )
    return scan, Segmenter.load(model).segment({"fat": scan.channels["fat"]}, scan.geometry)


def on_grid(fat: Volume, muscle: NDArray[Any], number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    image = take_slice(fat.data, fat.geometry, number)
    placement = GRID.place(fat.geometry, image)
    labels = placement.labels_to_grid((take_slice(muscle, fat.geometry, number) > 0).astype(np.uint8), 1)
    return normalise(image, placement)[0], labels > 0


def values(image: NDArray[Any], muscle: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Give what is drawn of one slice."""
    body = body_mask(image)
    depth = GRID.spacing_mm * ndimage.distance_transform_edt(body)
    subcutis = (depth > BAND_MM[0]) & (depth < BAND_MM[1]) & ~ndimage.binary_dilation(muscle, iterations=3)
    border = ndimage.binary_dilation(muscle) & ~ndimage.binary_erosion(muscle)
    gradient = np.hypot(*np.gradient(image.astype(np.float64), GRID.spacing_mm))
    chosen = (ndimage.binary_erosion(muscle), subcutis, marrow(image, muscle, subcutis), border)
    return {part: (gradient if "gradient" in part else image)[where] for part, where in zip(PARTS, chosen, strict=True)}


def marrow(image: NDArray[Any], muscle: NDArray[np.bool_], subcutis: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find bright bodies of some size that muscle encloses, away from its border."""
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(muscle, 12), iterations=8))[12:-12, 12:-12]
    if not subcutis.any():
        return np.zeros_like(muscle)
    inner = ndimage.binary_erosion(closed, iterations=8) & ~muscle & (image > np.median(image[subcutis]) / 2)
    labels, count = ndimage.label(ndimage.binary_opening(inner, iterations=2))
    sizes = GRID.spacing_mm**2 * ndimage.sum_labels(inner, labels, np.arange(1, count + 1))
    return np.isin(labels, 1 + np.flatnonzero(sizes > MARROW_MM2))


if __name__ == "__main__":
    main()
