"""Names that people give to subjects, sessions, groups and classes: what one may hold, and when two may mean one.

Two names that no eye can tell apart are refused: Müller typed in two ways, a Cyrillic С for a C. Two that people often
write for one are told of: MS007 and ms-7.
"""

import re
import unicodedata

LONGEST_NAME = 200
ALL = "all"
"""Stands for all groups, labels or regions together in tables of scores."""

# What is drawn as nothing, beside what Python calls unprintable: fillers are no part of any name ...
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
# ... and these change how a neighbour is drawn, at most.
_UNSEEN = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LOOK_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухΑΒΕΖΗΙΚΜΝΟΡΤΥΧο‐‑",  # noqa: RUF001  # Cyrillic, Greek, other hyphens
    "ABESIJKMHOPCTYXaesijopcyxABEZHIKMNOPTYXo--",
)
_SEPARATORS = r"[\s_\-‐-―−./\\,:;#()'’‘`´\"“”\[\]{}<>*?!|~=·•]+"  # noqa: RUF001


def name_problem(text: str) -> str | None:
    r"""Say why a text is no name, or None where it is one.

    >>> name_problem("Müller"), name_problem("O'Brien 李"), name_problem("$100% & $50_")
    (None, None, None)
    >>> name_problem("S1\u200b")
    'holds U+200B ZERO WIDTH SPACE, which cannot be seen'
    """
    if len(text) > LONGEST_NAME:
        return f"has {len(text)} characters, of which {LONGEST_NAME} are taken"
    if text == ALL:
        return "stands for all of them together in tables of scores"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "holds control characters"
    for character in text:
        if character in _FILLERS or not (character.isprintable() or character.isspace()):
            named = f"U+{ord(character):04X} {unicodedata.name(character, '')}".strip()
            return f"holds {named}, which cannot be seen"
    return None


def looks(text: str) -> str:
    r"""Give what is seen of a name: equal for two that no eye can tell apart.

    >>> looks("Mu\u0308ller") == looks("Müller"), looks("A \u00a0B") == looks("A B")
    (True, True)
    >>> looks("\u0421001") == looks("C001"), looks("MS007") == looks("ms007")
    (True, False)
    """
    seen = "".join(letter for letter in _UNSEEN.sub("", text) if unicodedata.category(letter) != "Cf")
    letters = unicodedata.normalize("NFD", seen).translate(_LOOK_ALIKE)
    return " ".join(unicodedata.normalize("NFC", letters).split())


def folded(text: str) -> str:
    """Give a name without what people write in more than one way: case, width, separators, zeros before a number.

    Between two digits a separator counts, but not which, unless only zeros follow, as in 7.0.

    >>> {folded(name) for name in ("MS007", "ms-7", "Ms_07", "ＭＳ 007")}
    {'ms7'}
    >>> folded("1-11") == folded("11-1"), folded("1_11") == folded("01.11"), folded("007") == folded("7.0")
    (False, True, True)
    """
    # Letters that look alike in capitals alone, such as Cyrillic т, do so then.
    plain = looks(unicodedata.normalize("NFKC", looks(text)).upper()).lower()
    plain = "".join(str(unicodedata.decimal(character, character)) for character in plain)
    plain = re.sub(r"^(\s*\d+)[.,]0+\s*$", r"\1", plain)  # as programs write whole numbers beside an empty cell
    parts = re.split(rf"(?<=\d){_SEPARATORS}(?=\d)", plain)
    kept = (re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(_SEPARATORS, "", part)) for part in parts)
    return "-".join(kept) or looks(text)
