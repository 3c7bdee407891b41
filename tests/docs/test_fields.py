"""Comments behind fields are shown on the site."""

from pathlib import Path

import pytest

pytest.importorskip("griffe", reason="needs the extra docs")

import griffe
from docs.extensions.fields import Fields, described


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("noise: float  # relative to fat", "Relative to fat."),
        ("    fields: dict[str, int] = field(default_factory=dict)  # by name", "By name."),
        ("noise: float", ""),
        ("NOISE = 3  # of a scanner", ""),
        ('name: str = "# a"', ""),
    ],
)
def test_the_comment_behind_a_field_is_a_sentence(field: str, text: str) -> None:
    assert described(field) == text


SCAN = """class Scan:
    noise: float  # of muscle
    axes: int  # of three
    'Of the body.'
    plain: int
"""


def test_fields_with_a_docstring_keep_it(tmp_path: Path) -> None:
    (tmp_path / "scans.py").write_text(SCAN)
    scan = griffe.load("scans", search_paths=[tmp_path], extensions=griffe.Extensions(Fields()))["Scan"]
    found = [scan[name].docstring for name in ("noise", "axes", "plain")]
    assert [text and text.value for text in found] == ["Of muscle.", "Of the body.", None]
