"""The images of one scan, found in what a path leads to: an image, a folder of images, or DICOM."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from musclesense.dicom.kinds import Kind
from musclesense.errors import ArgumentError, InputError, plain
from musclesense.imaging.reader import read_image
from musclesense.intake.shown import Shown, images_in, look_at
from musclesense.messages import log
from musclesense.segmentation.scan import DICOM, Scan, read_scan
from musclesense.storage.paths import is_dicom, is_folder, is_there
from musclesense.vocabulary import CHANNELS, Channel, Echo

# Scanners round echo times: of the time of one turn of fat, this is a fiftieth.
_NEAR_MS = 0.05
_MOST_NAMED, _MOST_LABELS = 12, 100
"""Of images in a message; of values in a mask, where an image has more."""
_PAIRS = ((Kind.REAL, Kind.IMAGINARY), (Kind.MAGNITUDE, Kind.PHASE))


@dataclass(frozen=True)
class Found:
    """The images of a scan.

    Attributes:
        path: Where they were found.
        images: What `read_scan` takes, by its names: an image, or a pair.
        real_imaginary: Whether the pairs are real and imaginary images.
        others: What was found beside them.
    """

    path: Path
    images: Mapping[str, Shown | tuple[Shown, Shown]]
    real_imaginary: bool
    others: Sequence[Shown]

    def tell(self) -> None:
        """Say which images are taken, and which are left out."""
        taken = [f"{name} {_shown(image)}" for name, image in self.images.items()]
        log.info(f"{self.path}: taken: {'; '.join(taken)}")
        if self.others:
            log.info(f"{self.path}: left out: {_listed(self.others)}")

    def read(self, **stored: Any) -> Scan:
        """Read them, as `read_scan` does; ``stored`` says how phases are stored."""
        if self.real_imaginary:
            stored["real_imaginary"] = True
        given = {name: _given(image) for name, image in self.images.items()}
        scan = read_scan(**stored, **given)
        several = {
            f"{name}_{one.kind}" if isinstance(image, tuple) else name: one.file
            for name, image in self.images.items()
            for one in (image if isinstance(image, tuple) else (image,))
            if not one.is_file
        }
        return replace(scan, files={**scan.files, **several})


def read_given(
    path: Path | None,
    *,
    echo_times: Sequence[float] | None = None,
    series: Sequence[int] | None = None,
    **asked: Any,
) -> Scan:
    """Read the scan that a path leads to, as `read` does, or the images that are given by name, as `read_scan` does.

    Raises:
        InputError: Both are given, or as of these.
    """
    given = next((name for name in CHANNELS if asked.get(name) is not None), None)
    if path is None:
        for name, value in {"echo_times": echo_times, "series": series}.items():
            if value is not None:
                raise ArgumentError(f"{{{name}}}: goes with the path of a scan; leave it out", **{name: ""})
        return read_scan(**asked)
    if given is not None:
        raise ArgumentError(f"{{{given}}}: does not go with a path, in which images are found", **{given: ""})
    stored = {name: value for name, value in asked.items() if name not in CHANNELS}
    return read(path, echo_times or (), series or (), **stored)


def read(path: Path, times: Sequence[float] = (), series: Sequence[int] = (), **stored: Any) -> Scan:
    """Read the scan that a path leads to, and say which images are taken.

    Args:
        path: An image, a folder of images, or a folder or file of DICOM.
        times: Echo times in ms, in the order of the echoes, where nothing beside them tells these.
        series: Numbers of the series to take of DICOM; all by default.
        stored: How phases are stored, as `read_scan` takes it.

    Raises:
        InputError: There is no image, it is ambiguous which ones are the scan, or one cannot be used.
    """
    if not is_dicom(path) or images_in(path, "*"):
        if series:
            said = f"{{series}}: goes with DICOM, which {plain(str(path))} is not; leave it out"
            raise ArgumentError(said, series="")
        found = find(path, times)
        found.tell()
        return found.read(**stored)
    from musclesense.dicom.load import import_dicom  # takes long to import

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "scan"
        import_dicom(path, made, series)
        try:
            found = find(made, times)
            replace(found, path=path).tell()
            return replace(found.read(**stored), files={DICOM: path})
        except ArgumentError:
            raise
        except InputError as error:  # names images that are gone
            raise InputError(*(problem.replace(str(made), str(path)) for problem in error.problems)) from error


def find(path: Path, times: Sequence[float] = ()) -> Found:
    """Find the images of the scan that a path leads to, which is not DICOM.

    Raises:
        InputError: As of `read`.
    """
    if not is_there(path):
        raise InputError(f"{path}: no such file or folder; correct the path")
    if any(not 0 < time < float("inf") for time in times):
        raise ArgumentError("{echo_times}: an echo time is a positive number; give them in ms", echo_times="")
    files = images_in(path, "*", "**/*") if is_folder(path) else [path]
    if not files:
        raise InputError(f"{path}: holds no image; give a NIfTI or NRRD image, or the folder of one scan")
    return choose(_timed(look_at(path, files), times, path), path)


def _timed(shown: Sequence[Shown], times: Sequence[float], path: Path) -> list[Shown]:
    """Give echoes the times that were asked for, by their numbers."""
    if not times:
        return list(shown)
    numbers = sorted({one.number for one in shown if one.number is not None and one.kind and one.kind.is_part})
    if len(numbers) != len(times):
        given = " ".join(f"{time:g}" for time in times)
        said = f"{plain(str(path))} has {len(numbers)} numbered echoes; give the time of each"
        raise ArgumentError(f"{{echo_times}}: {said}", echo_times=given)
    known = dict(zip(numbers, times, strict=True))
    return [replace(one, echo_ms=known.get(one.number, one.echo_ms)) if one.number else one for one in shown]


def choose(shown: Sequence[Shown], path: Path) -> Found:
    """Choose the images of a scan.

    Fat and water count most, then three echoes with phases, then fat alone. Else one image is taken as it is: in phase,
    of the earliest echo, water, out of phase, or the only one of which nothing says what it shows.

    Raises:
        InputError: It is ambiguous which images they are, or there is none.
    """
    pick = _Pick(shown, path)
    fat, water = pick.one(Kind.FAT), pick.one(Kind.WATER)
    pairs, real = ({}, False) if fat and water else pick.pairs()
    images: dict[str, Any] = pairs
    if not pairs:
        magnitudes = {str(echo): one for echo in Echo if (one := pick.echo(Kind.MAGNITUDE, echo))}
        image = fat or pick.image(magnitudes.get(Echo.TE460), water)
        images = {Channel.FAT.value if fat else Channel.IMAGE.value: image}
        images |= ({Channel.WATER.value: water} if fat and water else {}) | magnitudes
    taken = [one for image in images.values() for one in (image if isinstance(image, tuple) else (image,))]
    return Found(path, images, real, [one for one in shown if one not in taken])


class _Pick:
    """Picks images by what they show."""

    def __init__(self, shown: Sequence[Shown], path: Path) -> None:
        self._shown, self._path = shown, path

    def one(self, kind: Kind) -> Shown | None:
        """Give the image of a kind."""
        return self._only([one for one in self._shown if one.kind is kind], f"several images are {kind.words}")

    def echo(self, kind: Kind, echo: Echo) -> Shown | None:
        """Give a part of one of the three echoes."""
        near = [
            one
            for one in self._shown
            if one.kind is kind and one.echo_ms is not None and abs(one.echo_ms - echo.time_ms) <= _NEAR_MS
        ]
        return self._only(near, f"several images are the {kind.words} at {echo.time_ms:g} ms")

    def pairs(self) -> tuple[dict[str, Any], bool]:
        """Give the three echoes with their phases, or as real and imaginary images, and which of both they are."""
        fields = {one.tesla for one in self._shown} - {None}
        for kinds in () if fields else _PAIRS:
            pairs = {str(echo): tuple(self.echo(kind, echo) for kind in kinds) for echo in Echo}
            if all(all(pair) for pair in pairs.values()):
                return pairs, kinds[0] is Kind.REAL
        self._require_times()
        if any(one.kind in (Kind.PHASE, Kind.IMAGINARY) for one in self._shown):
            times = ", ".join(f"{echo.time_ms:.2f}" for echo in Echo) + " ms"
            times += "".join(f" at 3 T, and these are of {tesla:g} T" for tesla in fields)
            log.warning(f"{self._path}: fat and water are not separated, which takes all echoes at {times}")
        return {}, False

    def image(self, in_phase: Shown | None, water: Shown | None) -> Shown:
        """Give the one image that stands for a scan."""
        times = sorted({one.echo_ms for one in self._shown if one.kind is Kind.MAGNITUDE and one.echo_ms})
        first = [one for one in self._shown if one.kind is Kind.MAGNITUDE and (not times or one.echo_ms == times[0])]
        earliest = self._only(first, "several images are the magnitude of one echo")
        image = self.one(Kind.IN_PHASE) or in_phase or earliest or water or self.one(Kind.OUT_OF_PHASE)
        image = image or self._unknown()
        if image is None:
            said = "holds no image of a scan that its name tells of"
            raise self._ambiguous(said, self._shown)
        return image

    def _unknown(self) -> Shown | None:
        unknown = [one for one in self._shown if one.kind is None]
        if len(unknown) > 1:  # the others may be masks, however they are called
            unknown = [one for one in unknown if not _is_mask(one)] or unknown
        return self._only(unknown, "the names do not tell which of several images is meant")

    def _require_times(self) -> None:
        """Refuse echoes of which nothing tells the time: their names do not tell their order."""
        for kind in (Kind.PHASE, Kind.MAGNITUDE, Kind.REAL):
            untimed = [one for one in self._shown if one.kind is kind and one.echo_ms is None]
            if len(untimed) > 1 and not any(one.kind is Kind.FAT for one in self._shown):
                said = f"{self._path}: the echo times of {_listed(untimed)} are not known"
                raise ArgumentError(f"{plain(said)}; give {{echo_times}}", echo_times=("MS", "MS", "..."))

    def _only(self, found: Sequence[Shown], said: str) -> Shown | None:
        if len(found) > 1:
            raise self._ambiguous(said, found)
        return found[0] if found else None

    def _ambiguous(self, said: str, found: Sequence[Shown]) -> InputError:
        remedy = "give the image itself, a folder of this scan alone, or name images: --fat FILE --water FILE"
        return InputError(f"{self._path}: {said}: {_listed(found)}; {remedy}")


def _is_mask(one: Shown) -> bool:
    data = read_image(one.image, "image").data
    return data.dtype.kind in "iu" and len(np.unique(data)) <= _MOST_LABELS


def _given(image: Shown | tuple[Shown, Shown]) -> Any:
    return tuple(one.image for one in image) if isinstance(image, tuple) else image.image


def _shown(image: Shown | tuple[Shown, Shown]) -> str:
    return " and ".join(map(str, image)) if isinstance(image, tuple) else str(image)


def _listed(found: Sequence[Shown]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(map(str, found[:_MOST_NAMED])) + more
