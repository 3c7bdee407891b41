"""What the name of an image, and the json file beside it, say that it shows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from musclesense.dicom.kinds import Kind
from musclesense.storage.paths import is_file
from musclesense.storage.records import read_json

_IMAGE = re.compile(r"(.+?)\.(?:nii|nrrd|hdr)(?:\.gz|\.bz2)?", re.IGNORECASE | re.DOTALL)
_3_TESLA, _MOST_TESLA = (2.8, 3.1), 30
_PAPERS_TIMES = {"345": 3.45, "460": 4.6, "575": 5.75}
_LONGEST_SECONDS = 0.5
"""No echo comes later: a longer time is in milliseconds."""
# What is made of a scan, or drawn on it. Short words may be somebody's initials: they count behind the others alone.
_NO_SCAN = re.compile(
    r"_(masks?|d?segs?|segmentations?|parcellations?|labels?|rois?|manual|truth|reference|unwrapped"
    r"|(fat|water)_?frac(tions?)?|pd_?ff|r2_?s(tar)?|[tr][12]_?s?(tar)?_?maps?|b0_?(map)?|field_?maps?|ff_?maps?|mip|adc"
    r"|scouts?|locali[sz]ers?|survey)\d*(?=_)"
)
_NO_SCAN_IF_LAST = re.compile(r"_(gt|ff|wf|r2|qc)(?=_)")
_SUPPRESSED = re.compile(r"_(no_?)?(fat|water)_?(sat|sup|exc)\w*?(?=_)")
_OF_DIXON = {
    Kind.IN_PHASE: re.compile(r"_in_?ph(ase)?(?=_)"),
    Kind.OUT_OF_PHASE: re.compile(r"_(out_?(of_?)?|opp(osed)?_?)ph(ase)?(?=_)|_opposed(?=_)"),
    Kind.FAT: re.compile(r"_(fat|lipid)(_?(only|images?|img))?\d?(?=_)"),
    Kind.WATER: re.compile(r"_water(_?(only|images?|img))?\d?(?=_)"),
}
_AT_THE_END = {
    Kind.FAT: re.compile(r"_f_$"),
    Kind.WATER: re.compile(r"_w_$"),
    Kind.IN_PHASE: re.compile(r"_(in|ip)_$"),
    Kind.OUT_OF_PHASE: re.compile(r"_(opp|op|oop|out)_$"),
}
_PARTS = {
    Kind.MAGNITUDE: re.compile(r"_(mag|magn|magnitude)s?(?=_)"),
    Kind.PHASE: re.compile(r"_(ph|pha|phase)s?(?=_)"),
    Kind.REAL: re.compile(r"_(re|real)(?=_)"),
    Kind.IMAGINARY: re.compile(r"_(im|imag|imaginary)(?=_)"),
}
_TIME = re.compile(r"_(?:te|dixon|dix)_?(\d+(?:[.p]\d+)?)_?(?:ms)?(?=_)")
_NUMBER = re.compile(r"_(?:echo_?|e)(\d{1,2})(?=_)")
_ECHOES = re.compile(r"_(megre|mese)(?=_)")
_SAYS_NOTHING = re.compile(r"_(part|m?rad|m|m?dixon|dix|vibe|lava|flex|ideal|gre)(?=_)")


class Named(NamedTuple):
    """What a name says.

    Attributes:
        kind: What the image shows; None where the name does not say.
        echo_ms: Its echo time.
        number: Which echo it is, counted from 1 as people do.
        stem: What is left of the name: whose it is, as a rule.
        brief: Whether a short word such as ``W`` says what it shows, which counts beside others of its sort alone.
    """

    kind: Kind | None
    echo_ms: float | None
    number: int | None
    stem: str
    brief: bool = False


def is_image(file: Path) -> bool:
    """Tell whether a file is called as an image is that can be read."""
    return _IMAGE.fullmatch(file.name) is not None and not file.name.startswith(".")


def named(name: str) -> Named:
    """Understand the name of an image.

    >>> named("sub-01_part-phase_echo-2_MEGRE.nii.gz")[:3]
    (<Kind.PHASE: 'phase'>, None, 2)
    >>> named("Dixon345.nii.gz")[:2], named("S7_OutOfPhase.nii").kind, named("t1.nii.gz").kind
    ((<Kind.MAGNITUDE: 'mag'>, 3.45), <Kind.OUT_OF_PHASE: 'outphase'>, None)
    >>> named("thigh_fat.nii.gz").stem, named("fat_mask.nii.gz").kind
    ('thigh', <Kind.NO_SCAN: 'none'>)
    """
    found = _IMAGE.fullmatch(name)
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-Z][a-z])", "_", found[1] if found else name).lower()
    text = "_" + re.sub(r"[^\w.]+|(?<!\d)\.|\.(?!\d)|_+", "_", plain) + "_"
    text = _SUPPRESSED.sub("", text)
    shown, rest = _last(text, _OF_DIXON)
    part, rest = _last(rest, _PARTS)
    time, number = _TIME.search(rest), _NUMBER.search(rest)
    rest = _NUMBER.sub("", _TIME.sub("", rest))
    several = sum(pattern.search(text) is not None for pattern in _OF_DIXON.values()) > 1
    brief = None
    if part is None and (shown is None or several):
        brief, rest = _last(rest, _AT_THE_END)
    ends = [found.end() for pattern in _OF_DIXON.values() for found in pattern.finditer(text)]
    short = _NO_SCAN_IF_LAST.search(text, max(ends, default=1) - 1)
    stem = "_".join(filter(None, _SAYS_NOTHING.sub("", _ECHOES.sub("", rest)).split("_")))
    if _NO_SCAN.search(text) or short or (shown and part not in (None, Kind.MAGNITUDE)):
        return Named(Kind.NO_SCAN, None, None, stem)
    echoes = time or number or _ECHOES.search(rest)
    kind = brief or shown or part or (Kind.MAGNITUDE if echoes else None)
    echo_ms = _milliseconds(time[1]) if time else None
    return Named(kind, echo_ms, int(number[1]) if number else None, stem, brief is not None and shown is None)


def _last(text: str, patterns: Mapping[Kind, re.Pattern[str]]) -> tuple[Kind | None, str]:
    """Find the word that comes last, which tells most, and take all of them out."""
    found = [(match.start(), kind) for kind, pattern in patterns.items() for match in pattern.finditer(text)]
    for pattern in patterns.values():
        text = pattern.sub("", text)
    return max(found)[1] if found else None, text if text.endswith("_") else text + "_"


def _milliseconds(text: str) -> float:
    return _PAPERS_TIMES.get(text) or float(text.replace("p", "."))


def beside(file: Path) -> Mapping[str, Any]:
    """Read the json file beside an image, as BIDS and dcm2niix write it; nothing where there is none.

    Raises:
        InputError: It is no JSON.
    """
    match = _IMAGE.fullmatch(file.name)
    sidecar = file.with_name(f"{match[1] if match else file.name}.json")
    content = read_json(sidecar, remedy="correct it, or move it away") if is_file(sidecar) else {}
    return content if isinstance(content, dict) else {}


def echo_times(header: Mapping[str, Any]) -> list[float]:
    """Give the echo times in ms that such a file tells, in the order of its volumes.

    >>> echo_times({"EchoTime": 0.00345}), echo_times({"EchoTime": [3.45, 4.6]}), echo_times({})
    ([3.45], [3.45, 4.6], [])
    """
    given = header.get("EchoTime", [])
    times = given if isinstance(given, list) else [given]
    if not all(isinstance(time, int | float) and 0 < time < float("inf") for time in times):
        return []
    unit = 1000 if max(times, default=0) < _LONGEST_SECONDS else 1
    return [round(unit * float(time), 3) for time in times]


def other_field(tesla: Any) -> float | None:
    """Give a field strength that a header tells, if it is one at which fat turns otherwise than at 3 T.

    >>> other_field(1.5), other_field(2.89), other_field(None)
    (1.5, None, None)
    """
    known = isinstance(tesla, int | float) and 0 < tesla < _MOST_TESLA
    return float(tesla) if known and not _3_TESLA[0] <= tesla <= _3_TESLA[1] else None


def kind_by_tags(header: Mapping[str, Any]) -> Kind | None:
    """Tell what such a file says by its tags of DICOM; None where they say no more than that it is an image."""
    if not isinstance(header.get("ImageType"), list):
        return None
    from pydicom import Dataset  # takes long to import

    from musclesense.dicom.kinds import kinds_of

    tags: Any = Dataset()
    tags.ImageType = [str(word) for word in header["ImageType"]]
    (kind, *others) = kinds_of(tags)
    return None if others or kind is Kind.MAGNITUDE else kind
