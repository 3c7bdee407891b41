"""Records on disk: text, JSON, YAML and CSV, read with clear errors and written atomically."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from musclesense.errors import InputError, reason_of
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import require_file

LARGEST_RECORD_BYTES = 64 * 1024**2
"""Of records that runs write; the longest are the scores of some ten thousand cases."""
LARGEST_CONFIGURATION_BYTES = 1024**2
"""YAML takes long to read."""
MOST_VALUES, DEEPEST = 100_000, 32
"""Of a configuration or a description; a label set that lists every value of a mask has the most."""
# What a spreadsheet computes; a text that is so already gets one more ', so that each is read back as it was.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_text(path: Path, *, remedy: str, largest: int = LARGEST_RECORD_BYTES) -> str:
    """Read a record of this project, which is UTF-8 and of modest size; ``remedy`` is what a user should do without it.

    Raises:
        InputError: It is missing, too large or no text.
    """
    if require_file(path, missing=f"cannot be read (no such file); {remedy}") > largest:
        raise InputError(f"{path}: larger than {largest // 1024**2} MiB; {remedy}")
    with unreadable(path, OSError, UnicodeDecodeError, remedy=remedy):
        return path.read_text(encoding="utf-8")


def read_json(path: Path, *, remedy: str) -> Any:
    """Read a JSON record of this project.

    Raises:
        InputError: It is missing, too large or no JSON.
    """
    text = read_text(path, remedy=remedy)
    with unreadable(path, ValueError, RecursionError, remedy=remedy):
        content = json.loads(text)
    require_modest(content, str(path), most=LARGEST_RECORD_BYTES)
    return content


def read_yaml(path: Path, *, remedy: str) -> Any:
    """Read a YAML record of this project, which has no anchors: with them, a few lines can stand for endless ones.

    Raises:
        InputError: It is missing, too large or no such YAML.
    """
    text = read_text(path, remedy=remedy, largest=LARGEST_CONFIGURATION_BYTES)
    with unreadable(path, ValueError, RecursionError, yaml.YAMLError, remedy=remedy):
        content = yaml.load(text, _PlainLoader)
    require_modest(content, str(path))
    return content


def require_modest(content: Any, name: str, most: int = MOST_VALUES) -> None:
    """Refuse nested values so many or so deep that whoever goes through them does not come to an end.

    A few that hold each other several times count as often as they would be gone through.

    Raises:
        InputError: There are more than ``most``, or they are nested deeper than `DEEPEST`.
    """
    level, values = [content], 1
    for _ in range(DEEPEST):
        level = [value for value in level if isinstance(value, Mapping | list | tuple | set | frozenset)]
        values += sum(map(len, level))
        if values > most:
            raise InputError(f"{name}: holds more than {most} values; give fewer")
        level = [own for value in level for own in (value.values() if isinstance(value, Mapping) else value)]
    if level:
        raise InputError(f"{name}: is nested deeper than {DEEPEST}; give plainer values")


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no record of this project has")
        return super().compose_node(parent, index)


@contextmanager
def unreadable(path: Path, *errors: type[Exception], remedy: str, said: str = "cannot be read") -> Iterator[None]:
    """Turn ``errors`` of the block, which reads ``path``, into an `InputError` of one line with the reason."""
    try:
        yield
    except errors as error:
        raise InputError(f"{path}: {said} ({reason_of(error)}); {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write ``content`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def shown_as_text(value: Any) -> Any:
    """Give a cell that a spreadsheet shows as it is: a text that it would take for a formula begins with ``'`` then.

    >>> shown_as_text("=1+1"), shown_as_text("-0.5"), shown_as_text("S1")
    ("'=1+1", '-0.5', 'S1')
    """
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def as_it_was(text: str) -> str:
    """Give the text of a cell that `shown_as_text` gave.

    >>> as_it_was("'=1+1"), as_it_was("'S1'")
    ('=1+1', "'S1'")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write ``rows`` under a header of ``columns``, such that a spreadsheet shows each cell as it is."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: shown_as_text(value) for column, value in row.items()} for row in rows)
    return buffer.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write what `csv_text` gives to ``path``, atomically."""
    write_text(path, csv_text(columns, rows))


def require_format(path: Path, content: Any, *, newest: int) -> int:
    """Refuse a record of a newer format than this release knows; give its format, 1 where it has no number.

    Raises:
        InputError: The format is newer, or no number.
    """
    number = content.get("format", 1) if isinstance(content, dict) else 1
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"{path}: format {str(number)[:40]!r} is no format; give a record as it was written")
    if number > newest:
        raise InputError(
            f"{path}: format {str(number)[:40]}, and this release knows up to {newest}; install a newer musclesense"
        )
    return number
