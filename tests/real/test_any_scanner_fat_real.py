"""The network that was trained on phantoms alone, on the scan whose labels are at hand."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import Geometry, read_volume
from musclesense.metrics.overlap import overlap
from musclesense.segmentation.segmenter import Segmenter

NETWORK = Path(__file__).parents[2] / "experiments" / "any_scanner_fat" / "model.ckpt"
SCORED = range(2, 9)


def test_fat_alone_is_enough_for_whole_muscle(real_data: Path) -> None:
    """At the fixed threshold; experiments/any_scanner_fat has 0.917 for these weights, and 0.727 for water > fat."""
    fat, labels = (read_volume(real_data / "ideal_thigh" / f"{name}.nii.gz") for name in ("fat", "muscles"))
    predicted = Segmenter.load(NETWORK).segment({"fat": fat.data.astype(np.float32)}, fat.geometry)
    scores = [
        overlap(
            take_slice(labels.data, labels.geometry, number) > 0, take_slice(predicted, fat.geometry, number) > 0
        ).dice
        for number in SCORED
    ]
    assert np.mean([score or 0.0 for score in scores]) >= 0.91
    assert min(score or 0.0 for score in scores) >= 0.88


@pytest.mark.parametrize("factor", [0.01, 20])
def test_a_scanner_s_unit_does_not_matter(real_data: Path, factor: float) -> None:
    fat = read_volume(real_data / "ideal_thigh" / "fat.nii.gz")
    image = take_slice(fat.data, fat.geometry, 5).astype(np.float32)[:, :, None]
    geometry = Geometry.from_affine(image.shape, fat.geometry.affine)
    network = Segmenter.load(NETWORK)
    one, other = (network.segment({"fat": scaled}, geometry) for scaled in (image, factor * image))
    assert np.mean(one != other) < 1e-3
    assert one.any()
