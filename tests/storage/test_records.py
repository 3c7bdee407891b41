"""Records are read with clear errors."""

import json
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.storage.records import read_json, read_yaml, write_csv, write_json, write_text


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
