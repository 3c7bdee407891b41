"""What an image shows, by what its tags say: ImageType and what the vendors put beside it.

Descriptions and names of files are not looked at: people write them.
"""

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset


class Kind(StrEnum):
    """What an image shows; its text is how it is called in the names of files (BIDS)."""

    FAT = "fat"
    WATER = "water"
    IN_PHASE = "inphase"
    OUT_OF_PHASE = "outphase"
    MAGNITUDE = "mag"
    PHASE = "phase"
    REAL = "real"
    IMAGINARY = "imag"
    NO_SCAN = "none"
    """A map, a localizer or a projection."""

    @property
    def words(self) -> str:
        """How it is called in a text, such as ``out of phase``."""
        return self.name.lower().replace("_", " ")

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a complex echo, and no image of fat and water."""
        return self in _PARTS


# In the order in which GE numbers them.
_PARTS = {
    Kind.MAGNITUDE: {"M", "MAG", "MAGNITUDE", "MFFE", "MSE", "MIR"},
    Kind.PHASE: {"P", "PHASE", "PHASEMAP"},
    Kind.REAL: {"R", "REAL"},
    Kind.IMAGINARY: {"I", "IMAGINARY"},
}
_OF_DIXON = {
    Kind.FAT: {"F", "FAT"},
    Kind.WATER: {"W", "WATER"},
    Kind.IN_PHASE: {"IP", "IN", "INPHASE"},
    Kind.OUT_OF_PHASE: {"OP", "OPP", "OUT", "OUTPHASE", "OUTOFPHASE", "OPPPHASE", "OPPOSEDPHASE"},
}
_NO_SCAN = re.compile(
    r"LOCALIZER|.*FRAC|.*FRACTION|FF|WF|[TR]2(STAR|\*).*|.+(?<!PHASE)MAP|B0|ADC|M(AX|IN)?IP|PROJECTION.*"
)
_SCANS = set().union(*_PARTS.values(), *_OF_DIXON.values())
# Frame type, else image type; Siemens' of its enhanced images; the part, of enhanced images.
_FRAME_TYPE, _IMAGE_TYPE, _SIEMENS, _COMPONENT = 0x00089007, 0x00080008, 0x00211175, 0x00089208
_PHILIPS, _GE = 0x20051011, 0x0043102F
TAGS = (_FRAME_TYPE, _IMAGE_TYPE, _SIEMENS, _COMPONENT, _PHILIPS, _GE)
"""The tags that are looked at."""


def kinds_of(header: "Dataset") -> set[Kind]:
    """Tell what an image may show: one kind, or several where its tags do not agree.

    Args:
        header: Of one frame, flat.
    """
    words = _words(header, _FRAME_TYPE if _FRAME_TYPE in header else _IMAGE_TYPE, _SIEMENS, _COMPONENT)
    if _FRAME_TYPE in header and "ORIGINAL" in words:
        words.discard("T2STAR")  # there it is a contrast, and no map
    vendors = _words(header, _PHILIPS)
    if any(map(_NO_SCAN.fullmatch, words)) or vendors - _SCANS:
        return {Kind.NO_SCAN}
    words |= vendors
    parts = {kind for kind, names in _PARTS.items() if words & names} | _part_of_ge(header)
    if shown := {kind for kind, names in _OF_DIXON.items() if words & names}:
        return shown | (parts - {Kind.MAGNITUDE})
    return parts or ({*_PARTS} if "MIXED" in words else {Kind.MAGNITUDE})


def _words(header: "Dataset", *tags: int) -> set[str]:
    """Give the words of tags in capitals, without what parts them."""
    words: set[str] = set()
    for tag in tags:
        value = header[tag].value if tag in header else None
        # Private values are bytes where no dictionary knows them.
        text = value.decode("ascii", "replace").rstrip("\0").split("\\") if isinstance(value, bytes) else value
        words |= {
            re.sub(r"[\s_-]", "", str(word)).upper() for word in ([text] if isinstance(text, str) else text or ())
        }
    return words - {""}


def _part_of_ge(header: "Dataset") -> set[Kind]:
    """Read GE's number of the part, which its ImageType does not tell."""
    value = header[_GE].value if _GE in header and made_by(header, "GE") else None
    number = int.from_bytes(value, "little") if isinstance(value, bytes) else value
    return {kind for place, kind in enumerate(_PARTS) if place == number}


def made_by(header: "Dataset", vendor: str) -> bool:
    """Tell whether a scanner of this vendor made an image; ``vendor`` is how its name begins, in capitals."""
    return str(header.get("Manufacturer", "")).upper().startswith(vendor)
