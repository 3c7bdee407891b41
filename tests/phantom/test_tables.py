"""Tables that lie beside the code."""

from pathlib import Path

import pytest

from musclesense.phantom import tables

TABLES = [path.relative_to(Path(tables.__file__).parent) for path in Path(tables.__file__).parent.rglob("*.yaml")]


def test_sequences_at_any_depth_are_tuples() -> None:
    table = tables.read_table("anatomy/thigh.yaml")
    assert table["veins"] == (-25.0,)
    assert all(isinstance(section["fat_by_angle"], tuple) for section in table["keyframes"].values())


@pytest.mark.parametrize("path", TABLES, ids=str)
def test_no_table_names_a_thing_twice(path: Path) -> None:
    """YAML keeps the last of two and says nothing."""
    open_keys: dict[int, set[str]] = {}
    for line in (Path(tables.__file__).parent / path).read_text().splitlines():
        key, colon, _ = line.strip(" -").partition(":")
        if not colon or line.lstrip().startswith("#") or not key.isidentifier():
            continue
        depth = len(line) - len(line.lstrip(" -"))
        own = line.lstrip().startswith("- ")  # an item of a list has its own keys
        open_keys = {other: keys for other, keys in open_keys.items() if other < depth or (other == depth and not own)}
        assert key not in open_keys.setdefault(depth, set()), line
        open_keys[depth].add(key)
