"""How a run is composed outside of a command."""

import pytest

from musclesense.errors import InputError
from musclesense.training.composition import compose, compose_config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grid=nope", "grid=nope: no option 'nope'; give "),
        ("outer", "outer: not an override ("),
        ("outer=a", "outer=a: not a whole number; give one such as outer=1"),
        ("outer=0,1", "outer: several values ask for several runs; add -m"),
        ("model.widht=3", "model.widht: no such key; did you mean model.width?"),
        ("outer=9", "outer=9: no such fold; give 0 to 4"),
        ("seed=${nope}", "seed=${nope}: cannot be resolved ("),
        ("grid.rows=${.rows}", "grid.rows=${.rows}: cannot be resolved ("),
    ],
)
def test_what_hydra_refuses_is_one_line(override: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        compose("experiment=smoke", override)
    (problem,) = caught.value.problems
    assert problem.startswith(said)


def test_what_is_composed_leaves_no_trace() -> None:
    before = compose_config("experiment=smoke")
    with pytest.raises(InputError):
        compose("grid=nope")
    assert compose_config("experiment=smoke") == before
