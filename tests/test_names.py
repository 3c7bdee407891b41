"""Names: what one may hold is the same wherever it comes from, and two that mean one are known."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.names import LONGEST_NAME, folded, looks, name_problem

texts = st.text(max_size=LONGEST_NAME)


@given(texts)
def test_a_name_that_is_taken_can_be_shown(text):
    if name_problem(text) is None:
        assert all(letter.isprintable() or letter.isspace() for letter in text)
        assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in text)


@given(texts)
def test_names_in_both_forms_of_unicode_and_with_what_cannot_be_seen_look_alike(text):
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {
        text + "\u200b",
        "\u00ad" + text,
        f" {text}",
    }
    assert {looks(form) for form in forms} == {looks(text)}


@given(texts)
def test_what_looks_alike_folds_alike(text):
    assert folded(looks(text)) == folded(text)


@given(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.integers(0, 10**6), st.integers(0, 10**6))
def test_codes_of_one_number_fold_alike_and_of_two_never(letters, one, other):
    written = {f"{letters}{one}", f"{letters.upper()}-{one:09}", f"{letters}_{one:03} ", f"{letters.title()}. 0{one}"}
    assert len({folded(name) for name in written}) == 1
    assert (folded(f"{letters}{one}") == folded(f"{letters}{other}")) == (one == other)


@pytest.mark.parametrize("mark", ["P1*", "[P1]", "P1?", "P1!", "P|1", "P~1", "{P}1", "<P1>", "P•1", "P·1", "p=1"])
def test_marks_around_a_name_do_not_make_another(mark):
    assert folded(mark) == folded("P1")


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 9))
def test_whole_numbers_as_programs_write_them_beside_empty_cells(number, zeros, tenth):
    assert folded(f"{number}.{'0' * zeros}") == folded(f"{number:04}") == folded(f"{number},0")
    assert folded(f"{number}.{tenth}") != folded(str(number))


SMALL_LETTERS = [
    chr(code) for first, last in ((0x3B1, 0x3C9), (0x430, 0x44F), (0x61, 0x7A)) for code in range(first, last + 1)
]


@given(st.text(st.sampled_from(SMALL_LETTERS), max_size=8))
def test_case_folds_in_any_script(text):
    assert folded(text.upper()) == folded(text.lower()) == folded(text.swapcase())


def test_blanks_and_separators_alone_are_not_one_name():
    assert len({folded(name) for name in ("", "-", "_", "--")}) == 4


@pytest.mark.parametrize("name", ["mus\u200bcle", "all", "x" * 201, "mus\ncle"])
def test_classes_have_names_of_the_same_rule(name):
    with pytest.raises(InputError, match="labels: "):
        LabelSet.from_config({name: [1]})


def test_harmless_classes_are_taken():
    assert LabelSet.from_config({"vastus_lateralis": [1], "Müskel 李": [2], "$x$": [3]}).n_classes == 3
