"""The specification of a network: plain values there and back."""

import json

import pytest

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.networks.spec import NetworkSpec

from ..shared.networks import spec_of


def test_plain_values_give_the_specification_again() -> None:
    spec = spec_of(
        channels=("water", "te345"),
        labels=LabelSet.from_config({"left": [1], "right": [2, 3]}),
        flip=True,
        scales=(1.0, 1.5),
        threshold=0.25,
        across_mm=4.0,
        normalisation="percentile",
    )
    stored = json.loads(json.dumps(spec.to_config()))
    assert NetworkSpec.from_config(stored) == spec
    assert spec.classes == 3 and spec.frame.placed_by == "fat" and spec.frame.channels == spec.channels
    assert spec.frame.normalisation == "percentile"


def test_what_is_absent_has_its_default() -> None:
    stored = spec_of(flip=True, threshold=0.25).to_config()
    for name in ("flip", "scales", "threshold", "normalisation"):
        del stored[name]
    assert NetworkSpec.from_config(stored) == spec_of()


@pytest.mark.parametrize(
    ("across_mm", "distance", "weight"),
    [(0.0, 1.0, 0.0), (4.0, 0.001, 1.0), (4.0, 4.0, 0.6065), (4.0, 5.0, 0.4578), (4.0, 10.0, 0.0439), (4.0, 20.0, 0.0)],
)
def test_slices_beside_each_other_count_the_less_the_further_they_are(
    across_mm: float, distance: float, weight: float
) -> None:
    assert spec_of(across_mm=across_mm).weight_across(distance) == pytest.approx(weight, abs=1e-4)


@pytest.mark.parametrize("across_mm", [-1.0, 101.0, float("nan"), float("inf")])
def test_how_far_slices_count_is_a_distance(across_mm: float) -> None:
    with pytest.raises(InputError, match=f"across_mm={across_mm}: give 0 to 100 mm"):
        spec_of(across_mm=across_mm)


@pytest.mark.parametrize("normalisation", ["", "Z_SCORE", "minmax", None])
def test_a_normalisation_is_one_of_those_that_are_known(normalisation: object) -> None:
    with pytest.raises(InputError, match=f"normalisation={normalisation}: give z_score or body_z_score or percentile"):
        spec_of(normalisation=normalisation)


@pytest.mark.parametrize("placed_by", ["t2", None])
def test_slices_are_placed_by_an_image_that_there_is(placed_by: object) -> None:
    with pytest.raises(InputError, match=f"placed_by={placed_by}: give one of fat, water, te345, te460, te575, image"):
        spec_of(placed_by=placed_by)
