"""Scores pooled over cases, as the paper pools its 25 runs."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from musclesense.metrics.case import Case
from musclesense.names import ALL


@dataclass(frozen=True)
class MeanSD:
    """A mean and a standard deviation."""

    mean: float
    sd: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ({self.sd:.3f})")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores pooled over cases; None where no case has the measure.

    The spread is that of the sample (n - 1), None below two values.
    """

    cases: int  # pooled test results: a labelled slice counts once for every run that tested it
    slices: int  # different labelled slices among them
    subjects: int  # different subjects among them
    dice: MeanSD | None  # Dice score coefficient over the cases that have one
    dice_median: float | None
    dice_undefined: int  # cases without Dice (truth and prediction both empty), left out of it
    dice_by_outer: Mapping[int, float]  # mean Dice in each outer fold; these share no subject
    hd95_mm_mean: float | None  # 95th percentile Hausdorff distance, over the cases where neither mask is empty
    volume_bias_ml: MeanSD | None  # volume, predicted minus true
    fat_fraction_bias: MeanSD | None  # mean fat fraction, predicted mask minus true mask, in percentage points
    # Cases without such a value, left out of its mean: a mask is empty, or the value is not known.
    hd95_undefined: int
    fat_fraction_undefined: int
    both_empty: int  # cases where truth and prediction are empty
    prediction_empty: int  # cases where the prediction alone is empty
    truth_empty: int  # cases where the truth alone is empty
    hd95_penalised_mm_mean: float | None  # HD95 with the slice's diagonal where one mask is empty
    measured_fat_fraction_bias: MeanSD | None  # that of fat and water in the predicted mask minus that in the true mask
    voxels_true_min: int | None  # of the smallest true mask that is not empty
    runs: int  # different runs among the cases
    oracle_dice: MeanSD | None  # Dice at each case's best threshold; no score

    @property
    def dice_sd_outer(self) -> float | None:
        """Standard deviation of the outer folds' mean Dice.

        The cases of one slice in the runs of one outer fold are alike, so the spread over cases says nothing about
        how sure the mean is. The outer folds test different subjects, though their training sets overlap.
        """
        between = _mean_sd(self.dice_by_outer.values())
        return between.sd if between else None


def pool(cases: Iterable[Case]) -> Scores:
    """Pool the scores of cases, as the paper pools its 25 runs."""
    cases = tuple(cases)
    dice = [case.dice for case in cases if case.dice is not None]
    scored = sorted((case for case in cases if case.dice is not None), key=attrgetter("outer"))
    by_outer = groupby(scored, key=attrgetter("outer"))
    distances = [case.hd95_mm for case in cases if case.hd95_mm is not None]
    penalised = _mean_sd(case.hd95_penalised_mm for case in cases)
    biases = [case.fat_fraction_bias for case in cases if case.fat_fraction_bias is not None]
    empty = Counter((case.voxels_true == 0, case.voxels_predicted == 0) for case in cases)
    return Scores(
        cases=len(cases),
        slices=len({(case.line, case.slice) for case in cases}),
        subjects=len({case.subject for case in cases}),
        dice=_mean_sd(dice),
        dice_median=float(np.median(dice)) if dice else None,
        dice_undefined=len(cases) - len(dice),
        dice_by_outer={outer: float(np.mean([case.dice for case in own])) for outer, own in by_outer},
        hd95_mm_mean=float(np.mean(distances)) if distances else None,
        volume_bias_ml=_mean_sd(case.volume_bias_ml for case in cases),
        fat_fraction_bias=_mean_sd(biases),
        hd95_undefined=len(cases) - len(distances),
        fat_fraction_undefined=len(cases) - len(biases),
        both_empty=empty[True, True],
        prediction_empty=empty[False, True],
        truth_empty=empty[True, False],
        hd95_penalised_mm_mean=penalised.mean if penalised else None,
        measured_fat_fraction_bias=_mean_sd(case.measured_fat_fraction_bias for case in cases),
        voxels_true_min=min((case.voxels_true for case in cases if case.voxels_true), default=None),
        runs=len({(case.outer, case.inner) for case in cases}),
        oracle_dice=_mean_sd(case.oracle_dice for case in cases),
    )


def select(
    cases: Iterable[Case], *, region: str = ALL, group: str | None = None, label: str | None = None
) -> tuple[Case, ...]:
    """Give the cases of a region, a group and a label; what is not named is not asked for."""
    return tuple(
        case
        for case in cases
        if region in (ALL, case.region) and group in (None, case.group) and label in (None, case.label)
    )


def _mean_sd(values: Iterable[float | None]) -> MeanSD | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return MeanSD(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None)
