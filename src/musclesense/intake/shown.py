"""What each image of a folder shows: by the record of `import-dicom`, by its name, or by the json file beside it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import nibabel as nib

from musclesense.dicom.kinds import Kind
from musclesense.errors import InputError
from musclesense.imaging.nifti import is_complex, volume_count
from musclesense.imaging.nrrd import is_nrrd
from musclesense.imaging.reader import ImageLike, parts_of_complex
from musclesense.intake.names import beside, echo_times, is_image, kind_by_tags, named, other_field
from musclesense.storage.paths import is_file, is_folder
from musclesense.storage.records import read_json, require_format, unreadable

HEADER, FORMAT = "scan.json", 1
"""What `import-dicom` writes beside images, and its newest format that is known."""


@dataclass(frozen=True)
class Shown:
    """An image that was found.

    Attributes:
        file: Where it is.
        kind: What it shows; None where nothing says it.
        echo_ms: Its echo time, where that is known.
        number: Which echo it is by its name, or by its place in a file of several.
        volume: Its place in a file of several images, from 0.
        brief: As of `Named`.
        of_complex: Whether it is the magnitude or the phase of complex voxels.
        tesla: Of its scanner, where that is known and is not 3.
    """

    file: Path
    kind: Kind | None
    echo_ms: float | None = None
    number: int | None = None
    volume: int | None = None
    brief: bool = False
    of_complex: bool = False
    tesla: float | None = None

    @property
    def image(self) -> ImageLike:
        """The image, to be read."""
        image: ImageLike = self.file
        with unreadable(self.file, OSError, EOFError, ValueError, remedy="export the file again"):
            if self.volume is not None:
                image = nib.load(self.file).slicer[..., self.volume]
            parts = parts_of_complex(image) if self.of_complex else None
        return image if parts is None else parts[self.kind is Kind.PHASE]

    @property
    def is_file(self) -> bool:
        """Whether it is all that its file holds."""
        return self.volume is None and not self.of_complex

    def __str__(self) -> str:
        """Name it, for messages."""
        which = "" if self.volume is None else f", image {self.volume + 1}"
        return self.file.name + which + (f", {self.kind.words}" if self.of_complex and self.kind else "")


def look_at(path: Path, files: Sequence[Path]) -> list[Shown]:
    """Say what each image shows, by the record of `import-dicom`, by its name, or by the json file beside it."""
    if is_folder(path) and is_file(path / HEADER) and (known := [*_recorded(path / HEADER)]):
        return known
    shown = [one for file in files for one in _of_file(file)]
    if len({one.kind for one in shown if one.brief}) == 1:
        return [replace(one, kind=None) if one.brief else one for one in shown]
    return shown


def images_in(path: Path, *patterns: str) -> list[Path]:
    """Give the images of a folder that the first pattern finds which finds any."""
    for pattern in patterns if is_folder(path) else ():
        if files := sorted(file for file in path.glob(pattern) if is_image(file) and is_file(file)):
            return files
    return []


def _recorded(header: Path) -> Iterator[Shown]:
    """Give the images that `import-dicom` wrote; none where the file is another's, as a phantom's."""
    remedy = "import the scan again"
    content = read_json(header, remedy=remedy)
    if not isinstance(content, dict) or "images" not in content:
        return
    require_format(header, content, newest=FORMAT)
    kinds = {kind.words: kind for kind in Kind}
    with unreadable(header, KeyError, TypeError, AttributeError, ValueError, remedy=remedy):
        for name, own in content["images"].items():
            time, tesla = own["echo_time_ms"], other_field(content.get("field_strength_tesla"))
            yield Shown(header.parent / name, kinds[own["kind"]], None if time is None else float(time), tesla=tesla)


def _of_file(file: Path) -> Iterator[Shown]:
    """Give the images of a file, which may be several: echoes, as a rule."""
    name, header = named(file.name), beside(file)
    kind, times = kind_by_tags(header) or name.kind, echo_times(header)
    (count, of_complex), tesla = _volumes(file), other_field(header.get("MagneticFieldStrength"))
    of_complex = of_complex and (kind is None or kind.is_part)
    kinds: tuple[Kind | None, ...] = (Kind.MAGNITUDE, Kind.PHASE) if of_complex else (kind,)
    made = partial(Shown, file, of_complex=of_complex, tesla=tesla)
    for volume, own in product(range(count), kinds):
        if count == 1:
            time = times[0] if len(times) == 1 else name.echo_ms
            yield made(own, time, name.number, brief=name.brief)
        else:
            yield made(own or Kind.MAGNITUDE, times[volume] if len(times) == count else None, volume + 1, volume)


def _volumes(file: Path) -> tuple[int, bool]:
    """Count the images of a file and tell complex ones, by its header; one that cannot be read is told of later."""
    with suppress(InputError):
        return (1, False) if is_nrrd(file) else (volume_count(file), is_complex(file))
    return 1, False
