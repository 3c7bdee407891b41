"""A griffe extension: what a comment behind a field of a class says is shown as its docstring."""

import re
from typing import Any

import griffe

_COMMENT = re.compile(r"^\s*\w+: .*?  # (.+)$")


class Fields(griffe.Extension):
    """Give fields without a docstring the comment on their line."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Look at an attribute of a module or class."""
        if attr.docstring is None and (text := described(attr.source)):
            attr.docstring = griffe.Docstring(text, parent=attr)


def described(field: str) -> str:
    """Turn the comment behind a field into a sentence; nothing where there is none.

    >>> described("noise: float = 0.0  # relative to fat")
    'Relative to fat.'
    """
    found = _COMMENT.match(field)
    return f"{found[1][0].upper()}{found[1][1:]}." if found else ""
