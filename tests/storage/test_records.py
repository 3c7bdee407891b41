"""Records are read with clear errors."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.storage.records import (
    DEEPEST,
    MOST_VALUES,
    as_it_was,
    read_json,
    read_yaml,
    require_modest,
    shown_as_text,
    write_csv,
    write_json,
    write_text,
)


def test_text_json_and_csv(tmp_path):
    write_text(tmp_path / "x.txt", "µ\n")
    assert (tmp_path / "x.txt").read_bytes() == "µ\n".encode()
    write_json(tmp_path / "x.json", {"b": [1, 2], "a": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": [1, 2], "a": None}
    assert (tmp_path / "x.json").read_text().endswith("}\n")
    write_csv(tmp_path / "x.csv", ("a", "b"), [{"a": 1, "b": "x, y"}, {"a": 2}])
    assert (tmp_path / "x.csv").read_bytes() == b'a,b\n1,"x, y"\n2,\n'
    with pytest.raises(ValueError, match="not in fieldnames"):
        write_csv(tmp_path / "x.csv", ("a",), [{"a": 1, "c": 2}])
    assert (tmp_path / "x.csv").read_text().startswith("a,b")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", "\ud800"])
def test_json_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"x\.json: cannot be read \(.*\); do this"):
        read_json(path, remedy="do this")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: [*a, *a]",
        "&a {x: *a}",
        "[" * 5000 + "]" * 5000,
        "!!python/object/apply:os.system [ls]",
        "a: [",
        "x: 2001-99-99",
        "x: " + "9" * 5000,
    ],
    ids=["anchors", "itself", "deep", "code", "open", "no date", "number"],
)
def test_yaml_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.yaml: cannot be read \(.*\); do this"):
        read_yaml(path, remedy="do this")


def test_a_record_of_endless_length_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="larger than 64 MiB; do this"):
        read_json(tmp_path / "x.json", remedy="do this")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *[("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("+1+1", "'+1+1"), ("-S1", "'-S1"), ("@sum", "'@sum")],
        *[("\tx", "'\tx"), ("\uff1d1", "'\uff1d1"), ("'=x", "''=x"), ("+1_0", "'+1_0"), ("-inf", "'-inf")],
        *[("-0.25", "-0.25"), ("+5", "+5"), ("-1e-3", "-1e-3"), ("S=1", "S=1"), ("'quoted'", "'quoted'"), ("", "")],
        *[(-0.25, -0.25), (-3, -3), (None, None)],
    ],
)
def test_a_spreadsheet_shows_formulas_as_text_and_numbers_as_numbers(value: Any, written: Any) -> None:
    assert shown_as_text(value) == written
    assert value is None or as_it_was(str(written)) == str(value)


@given(st.text(st.sampled_from("=+-@'\t\r 1aé.\uff1d")))
def test_any_text_is_read_back_as_it_was_and_none_is_a_formula(text: str) -> None:
    shown = shown_as_text(text)
    assert as_it_was(shown) == text
    assert not re.match("[=@\t\r]|[+-][^0-9.]", shown)


def test_cells_of_a_written_table_are_no_formulas(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ("a", "b"), [{"a": "=1+1", "b": -1.5}, {"a": "-x,y", "b": "-1.5"}])
    assert (tmp_path / "x.csv").read_text() == "a,b\n'=1+1,-1.5\n\"'-x,y\",-1.5\n"


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_record_that_is_nested_without_end_is_one_line(read: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for depth, taken in ((DEEPEST - 1, True), (DEEPEST + 1, False), (900, False)):
        path.write_text("[" * depth + "]" * depth)
        with nullcontext() if taken else pytest.raises(InputError, match=r"x: (is nested deeper than|cannot be read)"):
            read(path, remedy="do this")


def test_values_are_counted_as_often_as_they_would_be_gone_through() -> None:
    shared: Any = ["fat"]
    for _ in range(DEEPEST - 2):
        shared = {"one": shared, "other": shared}
    for many in (shared, [0] * (MOST_VALUES + 1), dict.fromkeys(range(MOST_VALUES + 1)), ["fat"] * 10**7):
        with pytest.raises(InputError, match=f"^x: holds more than {MOST_VALUES} values"):
            require_modest(many, "x")
    every_value = {"labels": {f"label{number}": [number] for number in range(1, 256)} | {"all": list(range(65_535))}}
    plain: tuple[Any, ...] = (every_value, {}, [], None, "x" * 10**6, 3, {"a": [[[{"b": (1, 2)}]]]})
    for modest in plain:
        require_modest(modest, "x")


def test_a_configuration_of_endless_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- 1\n" * 2**19)
    with pytest.raises(InputError, match="larger than 1 MiB; do this"):
        read_yaml(tmp_path / "x.yaml", remedy="do this")
