"""A griffe extension: examples in docstrings are shown as code, wherever they stand."""

import re
from typing import Any

import griffe

# From the first prompt to the blank line or the end: the example and what it prints.
_EXAMPLE = re.compile(r"^([ \t]*)(>>> .*(?:\n(?![ \t]*$).*)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Put the examples of every docstring between code fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Put each example of a docstring between code fences; those of a section ``Examples`` are left to it.

    >>> fenced("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    if re.search(r"^Examples?:$", text, re.MULTILINE):
        return text
    return _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
