"""What is composed beside what the code means."""

import pytest

from musclesense.phantom.anatomy.templates import compartment_values
from musclesense.vocabulary import Region


@pytest.mark.parametrize("region", ["calf", "thigh", "lower_limb"])
def test_compartments_are_those_of_the_phantom(composed, region):
    settings = composed("labels=compartments", f"region={region}")
    expected = {
        name: (value,) for own in map(Region, settings.spec.regions) for name, value in compartment_values(own).items()
    }
    labels = settings.spec.labels
    assert dict(zip(labels.names, labels.values, strict=True)) == expected
    assert (settings.config.plain["labels"]["name"], settings.config.labels.column) == ("compartments", "compartments")
    for index, mirrored in enumerate(labels.mirror[1:], start=1):
        assert mirrored != index and labels.mirror[mirrored] == index
