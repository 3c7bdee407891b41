"""The command line before Hydra reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.experiment.overrides import expand_ranges, parse


@given(first=st.integers(0, 99), length=st.integers(0, 20))
def test_a_range_sweeps_every_fold_once(first: int, length: int) -> None:
    (expanded,) = expand_ranges([f"outer={first}..{first + length}"])
    (override,) = parse([expanded])
    assert override.is_sweep_override()
    assert [int(value) for value in override.sweep_string_iterator()] == list(range(first, first + length + 1))


@pytest.mark.parametrize(
    "argument", ["outer=0,1,2", "outer=range(0,5)", "model.width=8", "cohort.path=../a/b.csv", "study=a..b", "-m"]
)
def test_all_else_is_left_as_it_is(argument: str) -> None:
    assert expand_ranges([argument]) == [argument]


def test_a_backward_range_is_refused_with_the_right_one() -> None:
    with pytest.raises(InputError, match=r"outer=4\.\.0: runs backwards; give outer=0\.\.4"):
        expand_ranges(["outer=4..0"])


def test_what_is_no_override_is_named() -> None:
    with pytest.raises(InputError, match="outer: not an override"):
        parse(["outer"])
