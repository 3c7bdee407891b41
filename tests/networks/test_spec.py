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
    )
    stored = json.loads(json.dumps(spec.to_config()))
    assert NetworkSpec.from_config(stored) == spec
    assert spec.classes == 3 and spec.frame.placed_by == "fat" and spec.frame.channels == spec.channels


def test_what_is_absent_has_its_default() -> None:
    stored = spec_of(flip=True, threshold=0.25).to_config()
    for name in ("flip", "scales", "threshold"):
        del stored[name]
    assert NetworkSpec.from_config(stored) == spec_of()


@pytest.mark.parametrize("placed_by", ["t2", None])
def test_slices_are_placed_by_an_image_that_there_is(placed_by: object) -> None:
    with pytest.raises(InputError, match=f"placed_by={placed_by}: give one of fat, water, te345, te460, te575, image"):
        spec_of(placed_by=placed_by)
