"""Names in charts: in fonts that have their letters."""

import functools
import re
from collections.abc import Iterable, Sequence

from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

_FOR_NOTHING = "Last Resort High-Efficiency"
"""Has a box for every letter."""
_MOST_LETTERS = 28
"""That leave room for the chart beside them."""


@functools.cache
def drawable(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    r"""Give names as they can be drawn, and the fonts to draw them in, the usual one first.

    A letter that no font of this machine has is written as its number, such as ``\u674e``; the middle of what is long
    is left out.
    """
    lacking = {letter for letter in "".join(names) if not letter.isspace()} - _letters(findfont(FontProperties()))
    fonts = list[str](rcParams["font.family"])
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if lacking and font.name not in (*fonts, _FOR_NOTHING) and (found := lacking & _letters(font.fname)):
            lacking -= found
            fonts.append(font.name)
    return tuple(_written(name, lacking) for name in names), tuple(fonts)


def apart(names: Sequence[str]) -> list[str]:
    """Shorten names of studies to the words in which they differ; without their digests where that is enough.

    >>> apart(["phantom-demo-calf-fat-81a3a704", "phantom-demo-calf-fat+water-18f34155"])
    ['fat', 'fat+water']
    >>> apart(["phantom-demo-calf-fat-81a3a704", "phantom-demo-calf-fat-9bd7462d"])
    ['81a3a704', '9bd7462d']
    """
    words = [name.split("-") for name in names]
    own = [[word for word in each if not all(word in other for other in words)] for each in words]
    named = ["-".join(word for word in each if not re.fullmatch("[0-9a-f]{8}", word)) for each in own]
    pairs = zip(own, named, strict=True)
    short = [name if name and named.count(name) == 1 else "-".join(each) for each, name in pairs]
    return short if all(short) and len({*short}) == len({*names}) else list(names)


def _letters(font: str) -> set[str]:
    return {*map(chr, get_font(font).get_charmap())}


def _written(name: str, lacking: Iterable[str]) -> str:
    plain = " ".join(name.split())
    shown = "".join(letter.encode("unicode_escape").decode() if letter in lacking else letter for letter in plain)
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: _MOST_LETTERS // 2]}…{shown[-_MOST_LETTERS // 2 :]}"
