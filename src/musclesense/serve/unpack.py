"""From the files of an upload to a scan's folder, in which no name and no text from outside is left.

What intake reads of a name (fat, an echo time, the number of an echo) is written into a name of our own, and of json
files beside images the tags that it reads. Archives are unpacked piece by piece, and counted as they grow.
"""

import bz2
import gzip
import json
import lzma
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from musclesense.dicom.kinds import Kind
from musclesense.errors import InputError
from musclesense.intake.names import Named, named
from musclesense.intake.shown import HEADER
from musclesense.serve.settings import MOST_FILES
from musclesense.serve.uploads import NAMES
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.records import read_json, write_json

_IMAGE = re.compile(r"(.+?)(\.(?:nii|nrrd|hdr|img)(?:\.gz|\.bz2)?|\.json)", re.IGNORECASE | re.DOTALL)
_JSON, _READ_TAGS = ".json", ("EchoTime", "ImageType")
_ZIP, _OTHER_ARCHIVES = b"PK\x03\x04", (b"Rar!", b"7z\xbc\xaf", b"\xfd7zXZ")
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, NotImplementedError)
_CHUNK, _LONGEST_NRRD_HEADER, _LARGEST_JSON = 2**18, 2**20, 2**20
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
_WORDS = {
    **{Kind.FAT: "_fat", Kind.WATER: "_water", Kind.IN_PHASE: "_in_phase", Kind.OUT_OF_PHASE: "_out_of_phase"},
    **{kind: f"_part-{kind}" for kind in (Kind.MAGNITUDE, Kind.PHASE, Kind.REAL, Kind.IMAGINARY)},
    Kind.NO_SCAN: "_mask",
}
_BRIEF = {Kind.FAT: "_f", Kind.WATER: "_w", Kind.IN_PHASE: "_ip", Kind.OUT_OF_PHASE: "_op"}


@dataclass(frozen=True)
class _Member:
    """A file of the upload, or of an archive in it."""

    place: PurePosixPath
    open: Callable[[], BinaryIO]
    role: str = "files"

    @property
    def parts(self) -> tuple[str, str] | None:
        """Its name before and from what tells the format; None where that is none of an image."""
        found = _IMAGE.fullmatch(self.place.name)
        return (found[1], found[2].lower()) if found else None


def unpack(upload: Path, out: Path, most: int) -> None:
    """Lay out the files of an upload in a folder that intake reads.

    Args:
        upload: What `receive` wrote.
        out: Folder to make.
        most: Bytes of all files together, unpacked.

    Raises:
        InputError: There is no image in it, or an archive that is not to be unpacked.
    """
    names = read_json(upload / NAMES, remedy="send the upload again")
    budget = _Budget(most)
    with ExitStack() as archives, atomic_folder(out) as draft:
        members: list[_Member] = []
        for number, (role, name) in enumerate(names, start=1):
            file = upload / f"{number:06d}"
            members += _members(file, _outside(name), role, archives)
        kept = _of_one_scan([member for member in members if not _is_junk(member.place)])
        made = _write(kept, draft, budget)
        if not made:
            raise InputError(
                "upload: holds no image (.nii, .nii.gz, .nrrd) and no DICOM; give the images of one scan, "
                "a DICOM folder, or a zip of either"
            )
        for file in draft.iterdir():
            _require_modest(file, budget)


class _Budget:
    """How many bytes may still come."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, most

    def take(self, count: int) -> None:
        """Count bytes.

        Raises:
            InputError: There are too many.
        """
        self._left -= count
        if self._left < 0:
            raise InputError(f"upload: is larger than {self._most // 1024**2} MiB when unpacked; give one scan alone")


def _outside(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _is_junk(place: PurePosixPath) -> bool:
    return not place.parts or any(part.startswith(".") or part in _JUNK for part in place.parts)


def _members(file: Path, place: PurePosixPath, role: str, archives: ExitStack) -> Iterator[_Member]:
    """Give a file, or what is in it where it is an archive."""
    with file.open("rb") as stream:
        begins = stream.read(8)
    if begins.startswith(_OTHER_ARCHIVES) or place.name.lower().endswith((".tar", ".tgz", ".tar.gz")):
        raise InputError("upload: is an archive of another kind than zip; give a zip, or the files themselves")
    if not begins.startswith(_ZIP):
        yield _Member(place, lambda: file.open("rb"), role)
        return
    try:
        archive = archives.enter_context(zipfile.ZipFile(file))
        entries = archive.infolist()
    except _DAMAGED:
        raise InputError("archive: is damaged or cut off; make the zip again") from None
    if len(entries) > MOST_FILES:
        raise InputError(f"archive: holds {len(entries)} files, more than {MOST_FILES}; give one scan alone")
    for entry in entries:
        _require_plain(entry)
        if not entry.filename.endswith("/"):  # a name may be empty
            yield _Member(_outside(entry.filename), _opener(archive, entry))


def _opener(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, archive.open(entry))


def _require_plain(entry: zipfile.ZipInfo) -> None:
    """Refuse what no program that makes archives of scans writes."""
    place, kind = _outside(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
    if ".." in place.parts or place.is_absolute() or re.match(r"[A-Za-z]:", entry.filename):
        raise InputError("archive: holds a path that leads out of it; make the zip of the scan's folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError("archive: holds a link or a device; make the zip of files alone")
    if entry.flag_bits & 1:
        raise InputError("archive: is encrypted; make the zip without a password")


def _of_one_scan(members: Sequence[_Member]) -> list[_Member]:
    """Leave out the folders below images, as intake does, however deep the first image lies."""
    images = [member for member in members if member.parts and member.parts[1] != _JSON]
    tops = {member.place.parts[:-1] for member in images}
    shallow = min(tops, key=len, default=())
    if images and all(top[: len(shallow)] == shallow for top in tops):
        return [member for member in members if member.place.parts[:-1] == shallow or not member.parts]
    return list(members)


def _write(members: Sequence[_Member], out: Path, budget: _Budget) -> bool:
    """Write members under names of our own; tells whether there is an image."""
    own: dict[tuple[Any, ...], str] = {}
    called: dict[str, str] = {}
    for member in members:
        if member.parts and member.parts[1] != _JSON:
            stem = (member.place.parent, member.parts[0])
            own.setdefault(stem, f"image-{len(own) + 1:03d}{_words(member)}")
            called[member.place.name] = f"{own[stem]}{member.parts[1]}"
    numbers: Counter[str] = Counter()
    for member in members:
        name = own.get((member.place.parent, member.parts[0])) if member.parts else None
        if member.place.name == HEADER:
            _write_header(member, out, called, budget)
        elif member.parts and member.parts[1] == _JSON:
            if name:
                _write_tags(member, out / f"{name}{_JSON}", budget)
        elif member.parts and name:
            _copy(member, out / f"{name}{member.parts[1]}", budget)
        else:
            numbers["dicom"] += _copy_dicom(member, out / f"dicom-{numbers['dicom'] + 1:06d}.dcm", budget)
    return bool(called or numbers["dicom"])


def _words(member: _Member) -> str:
    """Say by name what intake reads in the name of an image, or what the visitor says that it is."""
    if member.role != "files":
        return "" if member.role == "image" else f"_{member.role}"
    return words_of(named(member.place.name))


def words_of(said: Named) -> str:
    """Give words that intake understands as it understands a name.

    >>> words_of(named("Mr_Smith_TE_3.45ms_W.nii.gz"))
    '_te3.45_w'
    """
    if said.kind is Kind.NO_SCAN:
        return _WORDS[Kind.NO_SCAN]
    time = "" if said.echo_ms is None else re.sub(r"(?<=\d)0+$", "", f"_te{said.echo_ms:.6f}")  # 345.0 is not 345
    number = "" if said.number is None else f"_echo-{said.number}"
    return f"{time}{number}{'' if said.kind is None else (_BRIEF if said.brief else _WORDS)[said.kind]}"


def _pieces(member: _Member, budget: _Budget) -> Iterator[bytes]:
    """Read a member piece by piece, whatever its archive says of its size."""
    try:
        with member.open() as stream:
            while piece := stream.read(_CHUNK):
                budget.take(len(piece))
                yield piece
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError("archive: is damaged; make the zip again") from None


def _copy(member: _Member, out: Path, budget: _Budget) -> None:
    if out.exists():
        raise InputError("upload: two images have one name; give the images of one scan")
    with out.open("xb") as stream:
        for piece in _pieces(member, budget):
            stream.write(piece)


def _copy_dicom(member: _Member, out: Path, budget: _Budget) -> bool:
    """Copy what may be DICOM, and nothing else."""
    pieces = _pieces(member, budget)
    first = next(pieces, b"")
    if first[128:132] != b"DICM":
        return False
    with out.open("xb") as stream:
        stream.write(first)
        stream.writelines(pieces)
    return True


def _json_of(member: _Member, budget: _Budget) -> Mapping[str, Any]:
    """Read a small json file; nothing where it is none."""
    text = b""
    for piece in _pieces(member, budget):
        text += piece
        if len(text) > _LARGEST_JSON:
            return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_tags(member: _Member, out: Path, budget: _Budget) -> None:
    content = _json_of(member, budget)
    write_json(out, {tag: content[tag] for tag in _READ_TAGS if tag in content})


def _write_header(member: _Member, out: Path, called: Mapping[str, str], budget: _Budget) -> None:
    """Write what `import-dicom` wrote, of the images that are there, under their names here."""
    images = _json_of(member, budget).get("images")
    told = {
        called[name]: {"kind": str(own.get("kind")), "echo_time_ms": own.get("echo_time_ms")}
        for name, own in (images.items() if isinstance(images, dict) else ())
        if name in called and isinstance(own, dict)
    }
    if told:
        write_json(out / HEADER, {"format": 1, "images": told})


def _require_modest(file: Path, budget: _Budget) -> None:
    """Refuse a compressed image that is too large when it is unpacked, before anything else reads it."""
    with file.open("rb") as raw:
        start = raw.read(4)
        if start == b"NRRD":
            header = start + raw.read(_LONGEST_NRRD_HEADER)
            end = re.search(rb"\r?\n\r?\n", header)
            raw.seek(end.end() if end else 0)
            start = raw.read(4)
            raw.seek(-len(start), 1)
        else:
            raw.seek(0)
        opener: Any = gzip.open if start[:2] == b"\x1f\x8b" else bz2.open if start[:3] == b"BZh" else None
        if opener is None:
            return
        try:
            with opener(raw) as stream:
                while piece := stream.read(_CHUNK):
                    budget.take(len(piece))
        except InputError:
            raise
        except _DAMAGED:
            return  # told, and with its reason, by whoever reads the image
