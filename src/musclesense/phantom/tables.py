"""What is data, not code, lies beside the code as YAML: outlines of anatomy, diseases, tissues and cohorts."""

import re
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def names_in(name: str) -> tuple[str, ...]:
    """Give the names at the top of a table, without what takes long to import.

    >>> names_in("cohorts/presets.yaml")[:3]
    ('smoke', 'demo', 'paper')
    """
    return tuple(re.findall(r"^(\w+):", (_HERE / name).read_text(encoding="utf-8"), re.MULTILINE))


def read_table(name: str) -> dict[str, Any]:
    """Read a table below the folder of this module; its sequences become tuples.

    >>> read_table("anatomy/calf.yaml")["radius_mm"]
    (49.0, 50.0)
    """
    import yaml  # when a table is read: the command line knows the names of presets without it

    text = (_HERE / name).read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes a tenth of the time
    return {key: _frozen(value) for key, value in yaml.load(text, loader).items()}


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(part) for key, part in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
