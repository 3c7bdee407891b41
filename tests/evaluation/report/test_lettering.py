"""Names are drawn in fonts that have their letters."""

import io
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from musclesense.evaluation.report.lettering import apart, drawable


@pytest.mark.parametrize("names", [(), ("control",), ("Müller", "O'Brien", "$x$"), ("Ελένη", "Анна")])
def test_names_in_letters_of_the_usual_font_stay_as_they_are(names: tuple[str, ...]) -> None:
    assert drawable(names) == (names, drawable(())[1])


def test_blanks_of_any_kind_are_blanks() -> None:
    assert drawable(("A\u3000B", "A\u00a0B"))[0] == ("A B", "A B")


@pytest.mark.parametrize("name", ["李", "山田　太郎", "🦵", "\U0001e900", "ALS 李"])
def test_other_letters_are_drawn_by_another_font_or_by_their_numbers_without_a_warning(name: str) -> None:
    ((shown,), fonts) = drawable((name,))
    assert shown == " ".join(name.split()) or "\\u" in shown.lower()
    figure = Figure()
    figure.text(0, 0, shown, parse_math=False, family=fonts)
    with warnings.catch_warnings(action="error"):
        figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["phantom-a-fat-0000aaaa", "phantom-a-water-0000bbbb"], ["fat", "water"]),
        (["strong-phantom-a-0000aaaa", "phantom-a-0000bbbb"], ["strong", "0000bbbb"]),
        (["a-fat-0000aaaa", "a-fat-0000bbbb", "a-water-0000cccc"], ["fat-0000aaaa", "fat-0000bbbb", "water"]),
        (["mine", "yours"], ["mine", "yours"]),
        (["new", "new-again"], ["new", "new-again"]),
        (["one", "one"], ["one", "one"]),
        (["alone-0000aaaa"], ["alone-0000aaaa"]),
    ],
)
def test_studies_are_told_apart_by_few_words(names: list[str], short: list[str]) -> None:
    assert apart(names) == short


@given(st.lists(st.from_regex(r"[ab-]{1,5}(-[01]{8})?", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_names_that_differ_stay_so(names: list[str]) -> None:
    assert len({*apart(names)}) == len(names) and all(apart(names))
