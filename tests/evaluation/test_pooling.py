"""Scores pooled over cases against numbers worked out by hand."""

from collections.abc import Callable

import pytest

from musclesense.evaluation.pooling import MeanSD, pool, select
from musclesense.metrics.case import Case

CaseMaker = Callable[..., Case]


def mean_sd(value: MeanSD | None) -> tuple[float, float | None]:
    assert value is not None
    return value.mean, value.sd


def test_scores_are_pooled_by_hand(make_case: CaseMaker) -> None:
    cases = [
        make_case(outer=0, inner=0, dice=0.8, hd95_mm=4.0, fat_fraction_predicted_mask=11.0),
        make_case(outer=0, inner=1, dice=0.9, hd95_mm=2.0, fat_fraction_predicted_mask=8.0),
        make_case(outer=1, subject="S01", line=3, dice=1.0, hd95_mm=0.0, fat_fraction_predicted_mask=None),
        make_case(outer=1, subject="S01", line=3, slice=6, dice=None, hd95_mm=None, volume_predicted_ml=97.0),
    ]
    scores = pool(cases)
    assert (scores.cases, scores.slices, scores.subjects, scores.dice_undefined) == (4, 3, 2, 1)
    assert mean_sd(scores.dice) == pytest.approx((0.9, 0.1))
    assert scores.dice_median == pytest.approx(0.9)
    assert scores.dice_by_outer == {0: pytest.approx(0.85), 1: pytest.approx(1.0)}
    assert scores.dice_sd_outer == pytest.approx(0.15 / 2**0.5)
    assert scores.hd95_mm_mean == pytest.approx(2.0)
    assert (scores.hd95_undefined, scores.fat_fraction_undefined, scores.runs) == (1, 1, 3)
    # +1, -2 and +0.5 points; +1, +1, +1 and -3 ml.
    assert mean_sd(scores.fat_fraction_bias) == pytest.approx((-1 / 6, (31 / 12) ** 0.5))
    assert mean_sd(scores.volume_bias_ml) == pytest.approx((0.0, 2.0))


def test_scores_of_nothing_and_of_one_case(make_case: CaseMaker) -> None:
    nothing = pool([make_case(dice=None, hd95_mm=None)])
    assert (nothing.dice, nothing.dice_median, nothing.hd95_mm_mean, nothing.dice_sd_outer) == (None, None, None, None)
    assert nothing.dice_by_outer == {}
    one = pool([make_case(dice=0.75)])
    assert one.dice == MeanSD(0.75, None)
    assert str(one.dice) == "0.750"


def test_cases_are_selected_by_what_is_named(make_case: CaseMaker) -> None:
    calf, thigh = make_case(region="calf", group=""), make_case(region="thigh", label="left")
    assert select([calf, thigh]) == (calf, thigh)
    assert select([calf, thigh], region="thigh") == (thigh,)
    assert select([calf, thigh], group="") == (calf,)
    assert select([calf, thigh], region="calf", label="left") == ()
