"""Names are drawn in fonts that have their letters."""

import io
import warnings

import pytest
from matplotlib.figure import Figure

from musclesense.evaluation.report.lettering import drawable


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
