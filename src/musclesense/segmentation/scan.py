"""One scan to be segmented: its images, from fat and water or from three echoes, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from musclesense.dixon.echoes import Pair, is_pair, pair_kinds, read_echoes, require_pairs
from musclesense.dixon.phase import PhaseUnit
from musclesense.dixon.separation import fat_fraction, separate
from musclesense.dixon.swaps import SWAPPED, look_for_swaps
from musclesense.errors import ArgumentError, refuse
from musclesense.imaging.air import read_body_image
from musclesense.imaging.body import body_mask
from musclesense.imaging.frame import reference_channel
from musclesense.imaging.grid import slice_axis, slice_count, take_slice
from musclesense.imaging.limbs import FoundLimbs, find_limbs
from musclesense.imaging.nifti import Geometry, value_problems
from musclesense.imaging.reader import ImageLike, image_file, image_name
from musclesense.imaging.turning import turned
from musclesense.messages import log
from musclesense.segmentation.oddities import odd_values
from musclesense.segmentation.places import FoundPlaces, find_places
from musclesense.vocabulary import CHANNELS, Channel, Echo, Limbs, Region

SURELY_ANOTHER = 0.9
FAT_FRACTION = "fat_fraction"
DICOM = "dicom"
"""Among the files of a scan, the folder or file of DICOM that its images were made of."""
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, eq=False)
class Scan:
    """The images of one acquisition.

    Attributes:
        channels: Volume of each image that is at hand, of ``geometry.shape``.
        fat_fraction: In percent, or None where water is not known.
        geometry: Where the voxels lie, from the first image.
        files: What was read, by name; images that were held in memory are not among them.
        phase_unit: How its phases are stored, as given or found, or None where none were read.
    """

    channels: Mapping[str, NDArray[Any]]
    fat_fraction: NDArray[np.float32] | None
    geometry: Geometry
    files: Mapping[str, Path]
    phase_unit: str | None = None

    @property
    def reference(self) -> str:
        """The image in which the body is found and shown."""
        return reference_channel(self.channels)

    @cached_property
    def bodies(self) -> NDArray[np.bool_]:
        """Where the body lies in each slice of the reference image, of ``geometry.shape``."""
        bodies = np.zeros(self.geometry.shape, dtype=bool)
        for number in range(slice_count(self.geometry)):
            image = take_slice(self.channels[self.reference], self.geometry, number)
            take_slice(bodies, self.geometry, number)[:] = body_mask(image)
        return bodies

    @cached_property
    def limbs(self) -> FoundLimbs:
        """Which limbs the reference image shows."""
        found = find_limbs(self.channels[self.reference], self.bodies, self.geometry)
        return self.places.sided(found) if found.limbs is Limbs.ONE or found.by_place else found

    @cached_property
    def places(self) -> FoundPlaces:
        """What each slice of the reference image shows: calf, thigh, or something beside them."""
        return find_places(self.channels[self.reference], self.bodies, self.geometry)

    @property
    def made(self) -> tuple[str, ...]:
        """The images that are in no file of the user's: separated from echoes, or made of DICOM."""
        if self.phase_unit is None and DICOM not in self.files:
            return ()
        own = tuple(name for name in (Channel.FAT, Channel.WATER, Channel.IMAGE) if name in self.channels)
        return own if self.fat_fraction is None else (*own, FAT_FRACTION)


def read_scan(
    *,
    phase_unit: str = PhaseUnit.AUTO,
    phase_turn: float | None = None,
    real_imaginary: bool = False,
    **images: ImageLike | Pair | None,
) -> Scan:
    """Read the images of one acquisition, as `musclesense.read_scan` says; None counts as not given."""
    given = {name: image for name, image in images.items() if image is not None}
    for name in given:
        if name not in CHANNELS:
            raise ArgumentError(f"{{{name}}}: no image of a scan; give some of {', '.join(CHANNELS)}", **{name: ""})
    stored: dict[str, Any] = {"phase_unit": phase_unit, "phase_turn": phase_turn, "real_imaginary": real_imaginary}
    ready = next((name for name in (Channel.FAT, Channel.IMAGE) if name in given), None)
    if ready is None:
        for name in given:
            if not Channel(name).is_echo:
                raise ArgumentError(
                    f"{{{name}}}: goes with {{fat}}; give {{fat}} as well, or three echoes with their phases",
                    **{name: "", "fat": ""},
                )
        scan = from_echoes(*require_pairs(given, real_imaginary), **stored)
        of_complex = {name: image for name, image in given.items() if not is_pair(image)}
        return replace(scan, files={**scan.files, **_files(of_complex)})
    for name in [name for name, value in stored.items() if value not in (PhaseUnit.AUTO, None, False)]:
        raise ArgumentError(f"{{{name}}}: of no use beside {{{ready}}}; leave one out", **{name: "", ready: ""})
    for name, image in given.items():
        if is_pair(image):
            raise ArgumentError(
                f"{{{name}}}: two files beside {{{ready}}}; give the magnitude alone, or leave out {{{ready}}}",
                **{name: "", ready: ""},
            )
    return from_images({name: given[name] for name in CHANNELS if name in given})


def from_echoes(te345: Pair, te460: Pair, te575: Pair, **stored: Any) -> Scan:
    """Separate fat and water from the pairs of the three echo times, stored as `read_echoes` takes it.

    Raises:
        InputError: An image cannot be used.
    """
    pairs = (te345, te460, te575)
    signal, geometry, unit = read_echoes(pairs, **stored)
    parts = separate(signal, slice_axis=slice_axis(geometry))
    magnitudes = {str(echo): magnitude for echo, magnitude in zip(Echo, np.abs(signal), strict=True)}
    images = {
        f"{echo}_{kind}": image
        for echo, pair in zip(Echo, pairs, strict=True)
        for kind, image in zip(pair_kinds(stored.get("real_imaginary", False)), pair, strict=True)
    }
    look_for_swaps(parts.fat, parts.water, geometry).warn("separation")
    channels = {Channel.FAT.value: parts.fat, Channel.WATER.value: parts.water} | magnitudes
    return Scan(channels, parts.fat_fraction, geometry, _files(images), unit)


def from_images(images: Mapping[str, ImageLike]) -> Scan:
    """Take images as they are: fat, or one of any contrast, and where given water and magnitudes of the echoes.

    Raises:
        InputError: An image cannot be read, lies elsewhere than the first, or has values that no image has.
    """
    volumes = {name: read_body_image(image, name) for name, image in images.items()}
    names = {name: image_name(image, name) for name, image in images.items()}
    first = next(iter(images))
    geometry = volumes[first].geometry
    volumes = {name: turned(volume, geometry) for name, volume in volumes.items()}
    problems = []
    for name, volume in volumes.items():
        if difference := geometry.difference(volume.geometry):
            problems.append(f"{names[name]}: {difference} of {names[first]}; give images of one acquisition")
        elif unusable := list(value_problems(volume.data)):
            problems.extend(f"{names[name]}: {problem}" for problem in unusable)
        elif np.ptp(volume.data) == 0:
            problems.append(f"{names[name]}: is {volume.data.flat[0]:g} everywhere; give the {name} image")
    refuse(problems)
    # Sums of stored integers could overflow.
    channels = {name: volume.data.astype(np.float32) for name, volume in volumes.items()}
    for name, image in channels.items():
        for said in odd_values(image, geometry):
            log.warning(f"{names[name]}: {said}")
    if Channel.FAT not in channels or Channel.WATER not in channels:
        return Scan(channels, None, geometry, _files(images))
    if np.array_equal(channels[Channel.FAT], channels[Channel.WATER]):
        log.warning(f"{names[Channel.FAT]}, {names[Channel.WATER]}: hold the same values; give fat and water")
    fat, water = channels[Channel.FAT], channels[Channel.WATER]
    swaps = look_for_swaps(fat, water, geometry)
    if swaps.whole:
        asked = {name: str(file) for name, file in _files(images).items() if name in (Channel.FAT, Channel.WATER)}
        raise ArgumentError(
            f"{SWAPPED} in all limbs: {{fat}} {{water}}; exchange the two", **{"fat": "", "water": "", **asked}
        )
    swaps.warn(names[Channel.FAT])
    return Scan(channels, fat_fraction(fat, water), geometry, _files(images))


def _files(images: Mapping[str, ImageLike]) -> dict[str, Path]:
    """Name the files among images."""
    return {name: file for name, image in images.items() if (file := image_file(image)) is not None}


def limbs_of(scan: Scan) -> Limbs:
    """Take what the images show; say so unless it is both limbs in every slice."""
    found = scan.limbs
    if found.limbs is not Limbs.BOTH or not found.sure:
        log.warning(f"limbs: taken as {found.limbs}, {found.why}; give limbs if it is otherwise")
    return found.limbs


def region_of(scan: Scan) -> Region:
    """Take the region that the images show, and say how sure that is.

    Raises:
        InputError: They show none.
    """
    (place, sure), found = scan.places.main, scan.places.region
    if found is None:
        raise ArgumentError(
            f"{{region}}: not found: most slices show {place.said} ({sure:.0%} sure); "
            f"give {{region}} {' or '.join(Region)} if it is one, or another image",
            region="",
        )
    log.info(f"region: {found}, found in the images ({sure:.0%} sure); give region if it is otherwise")
    return found


def compare_region(scan: Scan, given: Region) -> None:
    """Say that the images surely show another place than the region that is given."""
    place, sure = scan.places.main
    if place.region is not given and place.is_known and sure >= SURELY_ANOTHER:
        log.warning(f"region: given as {given}, but most slices show {place.said} ({sure:.0%} sure)")


def word_of(kind: type[_Word], argument: str, given: str) -> _Word:
    """Understand a word of the field that an argument takes.

    Raises:
        InputError: It is none of them.
    """
    try:
        return kind(given)
    except ValueError:
        raise ArgumentError(f"{{{argument}}}: unknown; give {' or '.join(kind)}", **{argument: str(given)}) from None
