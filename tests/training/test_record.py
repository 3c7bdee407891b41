"""Scores of one case."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cohort.cache import Case
from musclesense.imaging.nifti import read_volume
from musclesense.networks.predictor import Predictor
from musclesense.networks.spec import NetworkSpec
from musclesense.training.record import score_scan
from musclesense.training.session import make_module


@dataclasses.dataclass
class Always(Predictor):
    """What predicts the same of every slice: ``found``, (classes, rows, columns)."""

    spec: NetworkSpec
    found: NDArray[np.float32]
    runtime: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def looks(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        yield np.stack([self.found] * len(images))


@pytest.fixture
def scored(composed, slices):
    """Score the first case of the smoke phantom, with its acquisition changed, for a prediction on the grid."""

    def of(prediction, **changed):
        case = slices.slices.cases[0]
        cases = (Case(dataclasses.replace(case.acquisition, **changed), case.slice), *slices.slices.cases[1:])
        cache = dataclasses.replace(slices.slices, cases=cases)
        return score_scan(
            Always(make_module(composed("edition=simplified")).spec, prediction), cache, [0], outer=1, inner=2
        )[0]

    return of


def everywhere(value: float) -> np.ndarray:
    return np.full((1, 32, 64), value, dtype=np.float32)


def test_nothing_predicted_scores_nothing(scored):
    (label,) = scored(everywhere(0.0)).scores
    assert (label.outer, label.inner) == (1, 2)
    assert (label.dice, label.tp, label.fp, label.volume_predicted_ml) == (0, 0, 0, 0)
    assert label.fn > 0 and label.volume_true_ml > 0
    assert label.hd95_mm is None and label.fat_fraction_predicted_mask is None
    assert label.fat_fraction_true_mask > 0


def test_truth_itself_scores_nearly_one(scored, slices):
    case = scored((slices.slices.classes[:1] == 1).astype(np.float32))
    (label,) = case.scores
    assert label.dice > 0.75  # the smoke grid's pixels are 6.4 mm
    np.testing.assert_array_equal(case.overlay.truth, case.overlay.prediction)
    image = case.overlay.image
    assert image.dtype == np.uint8 and image.min() == 0 and image.max() == 255


def test_what_lies_below_the_threshold_scores_nothing_and_the_oracle_finds_it(scored, slices):
    truth = (slices.slices.classes[:1] == 1).astype(np.float32)
    (whole,), (faint,) = (scored(truth * np.float32(part)).scores for part in (1, 0.4))
    assert faint.dice == 0 and faint.oracle_dice == pytest.approx(whole.oracle_dice, abs=0.01)
    assert whole.oracle_dice >= whole.dice > 0.75


def test_fat_fraction_comes_from_the_table_else_from_fat_and_water_else_from_nowhere(scored, slices):
    acquisition = slices.slices.cases[0].acquisition
    (given,) = scored(everywhere(1.0)).scores
    (made,) = scored(everywhere(1.0), fat_fraction=None).scores
    fat, water = (read_volume(acquisition.channels[name]).data.astype(float) for name in ("fat", "water"))
    muscle = read_volume(acquisition.mask).data > 0
    percent = np.clip(100 * fat[muscle] / (fat + water)[muscle], 0, 100).mean()  # noise goes below zero
    assert made.fat_fraction_true_mask == pytest.approx(percent, rel=1e-4)
    assert made.fat_fraction_true_mask != given.fat_fraction_true_mask
    channels = {name: file for name, file in acquisition.channels.items() if name != "water"}
    (none,) = scored(everywhere(1.0), fat_fraction=None, channels=channels).scores
    assert none.fat_fraction_true_mask is None and none.fat_fraction_predicted_mask is None
    assert none.dice == made.dice


def test_a_class_that_the_region_lacks_has_no_row(composed, slices):
    """Its volumes of zero would dilute means; a class that this very case lacks has a row without a Dice."""
    classes = "labels.classes={one:[1],two:[2],three:[3]}"
    module = make_module(composed("labels=sides", "~labels.classes.left", "~labels.classes.right", "+" + classes))
    region = slices.slices.cases[0].acquisition.region
    cache = dataclasses.replace(slices.slices, classes_of={region: frozenset({1, 3})})
    nothing = Always(module.spec, np.zeros((3, 32, 64), np.float32))
    (case,) = score_scan(nothing, cache, [0], outer=0, inner=0)
    assert [label.label for label in case.scores] == ["one", "three"]
    assert [label.dice for label in case.scores] == [0, None]
