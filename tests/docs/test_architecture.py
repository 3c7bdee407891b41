"""The architecture page names every module, in the row of its room, and nothing that is not there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "musclesense"
PAGE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = re.compile(r"`([a-z_0-9]+)`")


def rooms() -> dict[str, set[str]]:
    """Give the modules of each room, by the room's path below the package."""
    return {
        folder.relative_to(PACKAGE).as_posix(): {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
        for folder in sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
        if folder != PACKAGE
    }


def rows() -> dict[str, set[str]]:
    """Give the modules that the page names, by the room of their row."""
    found = re.findall(r"^\| `([a-z_/]+)` \|([^|]*)\|", PAGE, flags=re.MULTILINE)
    return {room: set(NAMES.findall(modules)) for room, modules in found}


def test_every_room_has_a_row() -> None:
    assert sorted(rows()) == sorted(rooms())


@pytest.mark.parametrize("room", rooms())
def test_a_row_names_the_modules_of_its_room(room: str) -> None:
    assert rows().get(room) == rooms()[room]


def test_modules_of_no_room_are_named() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"} <= set(NAMES.findall(PAGE))
