"""The command line before Hydra reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.launch.overrides import choices, read


@given(first=st.integers(0, 99), length=st.integers(0, 20))
def test_a_range_sweeps_every_fold_once(first: int, length: int) -> None:
    _, (expanded,) = read([f"outer={first}..{first + length}"])
    assert choices(expanded) == [f"outer={fold}" for fold in range(first, first + length + 1)]


@pytest.mark.parametrize(
    "argument", ["outer=0,1,2", "outer=range(0,5)", "model.width=8", "cohort.path=../a/b.csv", "study=a..b"]
)
def test_all_else_is_left_as_it_is(argument: str) -> None:
    assert read([argument]) == ([], [argument])


def test_flags_come_first_and_a_class_of_ones_own_may_be_named() -> None:
    arguments = ["outer=1", "--cfg", "job", "model._target_=my.Net"]
    assert read(arguments) == (["--cfg=job"], ["outer=1", "++model._target_=my.Net"])


def test_a_backward_range_is_refused_with_the_right_one() -> None:
    with pytest.raises(InputError, match=r"outer=4\.\.0: runs backwards; give outer=0\.\.4"):
        read(["outer=4..0"])


def test_what_is_no_override_is_named() -> None:
    with pytest.raises(InputError, match="outer: not an override"):
        choices("outer")


# Past failures, found by `make fuzz`: hangs, tracebacks and code that ran.


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("seed=" + "[" * 1000 + "1" + "]" * 1000, "too long or too deep"),
        ("seed=" + "${" * 100, "too long or too deep"),
        ("seed=" + "a." * 20_000, "too long or too deep"),
        ("hydra.run.dir=/tmp", "is set by this project"),
        ("+hydra.callbacks.x._target_=os.system", "is set by this project"),
        ("hydra.launcher._target_=os.system", "is set by this project"),
        ("hydra.sweeper._target_=os.system", "is set by this project"),
        ("~hydra.callbacks", "is set by this project"),
        ("hydra.callbacks.musclesense=null", "is set by this project"),
        ("hydra.launcher.n_jobs=${outer}", "is set by this project"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(argument: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read([argument])
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    "pair", [("region=[2,0.5]", "region=calf,thigh"), ("outer=0", "++outer=1"), ("~seed", "~seed")]
)
def test_a_key_is_given_once(pair: tuple[str, str]) -> None:
    """Hydra ended in a traceback, and with folds it trained another one than was planned."""
    with pytest.raises(InputError, match="is given twice; give it once"):
        read(pair)
    assert len(read(["~model.width", "+model.width=3"])[1]) == 2


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("outer=0..999999999", "1000000000 values; give 1 to 2500"),
        ("outer=range(0,1e9)", "1000000000 values"),
        ("outer=shuffle(range(0,1000000000))", "1000000000 values"),
        ("outer=range(0,1,1e-9)", "1000000000 values"),
        ("outer=range(0,3,0)", "0 values"),
        ("outer=range(3,0)", "0 values"),
        ("outer=range(0,inf)", "0 values"),
        ("outer=interval(0,1)", "cannot be swept; list the values"),
        ("edition=glob(*)", "cannot be swept; list the values"),
        ("seed=${oc.decode:'1'}", "seed=.*: not an override"),
    ],
)
def test_a_sweep_without_end_is_counted_and_not_made(argument: str, said: str) -> None:
    _, (override,) = read([argument])
    with pytest.raises(InputError, match=said):
        choices(override)
