"""Examples in docstrings become code on the site."""

import pytest

pytest.importorskip("griffe", reason="needs the extra docs")

from docs.extensions.doctests import fenced


def test_an_example_is_fenced_up_to_the_blank_line() -> None:
    text = "Words.\n\n>>> a = [1,\n...      2]\n>>> a\n[1, 2]\n\nMore [words]."
    assert fenced(text) == ("Words.\n\n```pycon\n>>> a = [1,\n...      2]\n>>> a\n[1, 2]\n```\n\nMore [words].")


def test_indented_examples_keep_their_indentation() -> None:
    assert fenced("- item\n\n  >>> 1\n  1") == "- item\n\n  ```pycon\n  >>> 1\n  1\n  ```"


def test_what_has_a_section_of_examples_is_left_alone() -> None:
    text = "Words.\n\nExamples:\n    >>> 1\n    1"
    assert fenced(text) == text
