"""A folder of many subjects becomes a cohort table: who is who by the names of folders and files."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from musclesense.cohort.table import Acquisition, write_table
from musclesense.errors import InputError, collected
from musclesense.intake.found import Found, choose, find
from musclesense.intake.names import named
from musclesense.intake.shown import Shown, images_in, look_at
from musclesense.messages import log
from musclesense.storage.paths import is_dicom, is_file, is_folder, require_free
from musclesense.vocabulary import Region

_REGIONS = {
    Region.THIGH: "thighs?|upper_?legs?|quad(riceps)?|femur",
    Region.CALF: "cal(f|ves)|lower_?legs?|shanks?|crus",
}
_GENERIC = re.compile(r"anat|dixon|mr-?\w*|nii|nifti|images?|dicom|dcm|scans?|raw", re.IGNORECASE)
_OF_SEQUENCES = re.compile(r"([\W_]+(part|echo|te|m?dixon|vibe|lava|flex|ideal|gre))*[\W_]*$", re.IGNORECASE)
_OF_BIDS = {
    "subject": re.compile(r"(?:^|[_/])(sub-[A-Za-z0-9]+)"),
    "session": re.compile(r"(?:^|[_/])(ses-[A-Za-z0-9]+)"),
}


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan of the tree: where it is, what it is called beside others there, and its images, None of DICOM."""

    place: Path
    name: str
    found: Found | None


@dataclass
class _Tree:
    root: Path
    problems: list[str] = field(default_factory=list)

    def scans(self, folder: Path) -> Iterator[_Scan]:
        """Find the scans of a folder: its own images are one or, named for several, several; or those below it."""
        inner = sorted(one for one in folder.iterdir() if is_folder(one) and not one.name.startswith("."))
        if images_in(folder, "*"):
            yield from self._of_images(folder)
        elif self._is_one_scan_of_dicom(folder, inner):
            yield _Scan(folder, "", None)
        else:
            for one in inner:
                yield from self.scans(one)

    def _of_images(self, folder: Path) -> Iterator[_Scan]:
        try:
            yield _Scan(folder, "", find(folder))
            return
        except InputError as error:
            alone = error
        groups = defaultdict[str, list[Shown]](list)
        for one in look_at(folder, images_in(folder, "*")):
            groups[named(one.file.name).stem].append(one)
        if len(groups) == 1:
            self.problems += alone.problems
            return
        for name, own in groups.items():
            with collected(self.problems):
                scan = _Scan(folder, _common(own) or name, choose(own, folder))
                if not _plain(scan):
                    raise InputError(f"{folder}: {scan.name}: needs a folder of its own; echoes are given with phases")
                yield scan

    def _is_one_scan_of_dicom(self, folder: Path, inner: Sequence[Path]) -> bool:
        own = any(is_file(file) and is_dicom(file) for file in folder.iterdir())
        if not own and (folder == self.root or not is_dicom(folder) or any(map(_holds_images, inner))):
            return False
        from musclesense.dicom.frames import read_frames
        from musclesense.dicom.stacks import stacks_of

        try:
            return bool(stacks_of(read_frames(folder).frames, folder))
        except InputError as error:
            if not inner:
                self.problems += error.problems
            return False


def find_scans(root: Path, out: Path, region: Region | None = None) -> list[Acquisition]:
    """Write a cohort table of the scans in a tree of folders.

    The subject is told by ``sub-`` in a name as BIDS has it, or is the uppermost folder; ``ses-``, or the folders
    between, are the session.

    Args:
        root: Folder of all subjects.
        out: The table to write.
        region: Of every scan. None: as names of folders and files tell.

    Returns:
        The rows of the table.

    Raises:
        InputError: There is no scan, the region of one is not known, or the table cannot be written.
    """
    require_free(out)
    if not is_folder(root):
        raise InputError(f"{root}: no such folder; correct the path")
    tree = _Tree(root)
    scans = list(tree.scans(root))
    for problem in tree.problems:
        log.warning(f"left out: {problem}")
    if not scans:
        raise InputError(f"{root}: holds no scan; give a folder with a folder for each subject")
    regions = {scan: region or _region_of(scan, root) for scan in scans}
    if unknown := [scan for scan, found in regions.items() if found is None]:
        where = ", ".join(str(scan.place / scan.name) for scan in unknown[:5])
        raise InputError(f"--region: no name tells that of {where}; give {' or '.join(Region)}")
    rows = [_row(scan, root, found) for scan, found in regions.items() if found is not None]
    write_table(out, rows)
    return rows


def as_text(rows: Sequence[Acquisition]) -> str:
    """Show a table in the terminal: who, and what is taken."""
    lines = [("subject", "session", "region", "images")]
    for row in rows:
        images = ", ".join(row.channels) if row.scan is None else str(row.scan)
        lines.append((row.subject, row.session, row.region, images))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _holds_images(folder: Path) -> bool:
    return bool(images_in(folder, "**/*"))


def _common(shown: Sequence[Shown]) -> str:
    """Give how the names of files begin, all of them; case is kept, as people write it."""
    names = [one.file.name.partition(".")[0] for one in shown]
    start = os.path.commonprefix(names)  # noqa: RUF071  # letter by letter is what is meant
    whole = start if len(names) > 1 else re.sub(r"(?i)[_\W](fat|water|f|w)$", "", start)
    return _OF_SEQUENCES.sub("", whole)


def _region_of(scan: _Scan, root: Path) -> Region | None:
    text = "_" + re.sub(r"[^a-z]+", "_", f"{scan.place.relative_to(root)}/{scan.name}/{_names(scan)}".lower()) + "_"
    told = [region for region, words in _REGIONS.items() if re.search(f"_({words})_", text)]
    return told[0] if len(told) == 1 else None


def _names(scan: _Scan) -> str:
    images = scan.found.images.values() if scan.found else ()
    return "/".join((image[0] if isinstance(image, tuple) else image).file.name for image in images)


def _row(scan: _Scan, root: Path, region: Region) -> Acquisition:
    """Name a scan, and give its images one by one where a table can do so."""
    parts = [*scan.place.relative_to(root).parts, *filter(None, [scan.name])] or [root.name]
    told = {name: pattern.search("/".join([*parts, _names(scan)])) for name, pattern in _OF_BIDS.items()}
    of_region = re.compile("|".join(_REGIONS.values()), re.IGNORECASE)
    subject = told["subject"][1] if told["subject"] else parts[0]
    others = [part for part in parts[1:] if not part.startswith(subject)]
    between = [part for part in others if not _GENERIC.fullmatch(part) and not of_region.fullmatch(part)]
    session = told["session"][1] if told["session"] else "-".join(between)
    plain = _plain(scan)
    return Acquisition(
        line=0,
        subject=subject,
        session=session,
        region=region,
        limbs_known=False,
        channels=plain,
        scan=None if plain else scan.place,
    )


def _plain(scan: _Scan) -> dict[str, Path]:
    """Give the images of a scan where a table can name them: none is one of a pair, or of several in a file."""
    images = scan.found.images if scan.found else {}
    plain = {name: one.file for name, one in images.items() if isinstance(one, Shown) and one.volume is None}
    return plain if len(plain) == len(images) else {}
