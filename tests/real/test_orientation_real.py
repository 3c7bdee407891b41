"""On real scans the mask follows the image, too, by the networks of the package."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment

from ..shared.turning import Image, brought_back, resampled, stored_as

SLICES = {
    "siemens_thigh/te460_magnitude": slice(4, 6),
    "ideal_thigh/water": slice(4, 6),
    "siemens_calf/te345_magnitude": slice(40, 42),
    "obese_thigh_hip/gradient_echo": slice(6, 8),
}


@pytest.fixture(scope="module")
def network() -> Segmenter:
    return Segmenter.load("any_contrast", "cpu", effort="fast")


@pytest.fixture(scope="module", params=SLICES)
def image(request: pytest.FixtureRequest, real_data: Path) -> Image:
    volume = read_volume(real_data / f"{request.param}.nii.gz")
    data = np.asarray(volume.data[:, :, SLICES[request.param]], np.float32)
    return stored_as((data, volume.geometry.affine), "RAS")


@pytest.fixture(scope="module")
def whole(image: Image, network: Segmenter) -> Segmentation:
    return segment(read_scan(image=image), model=network)


@pytest.mark.parametrize("codes", ["LPS", "LAS", "SPR", "ILA"])
def test_the_mask_is_the_same_however_a_scan_is_stored(
    image: Image, whole: Segmentation, network: Segmenter, codes: str
) -> None:
    turned = stored_as(image, codes)
    found = segment(read_scan(image=turned), model=network)
    back, _ = stored_as((found.classes, turned[1]), "RAS")
    assert np.array_equal(back, whole.classes) and whole.classes.any()
    voxels = [[row["voxels"] for row in one.rows] for one in (found, whole)]
    assert "S" not in codes or voxels[0] == voxels[1]


@pytest.mark.parametrize("zoom", [(0.75, 0.75), (1.3, 1.3), (1.0, 1.5)])
def test_the_mask_is_the_same_in_voxels_of_another_size(
    image: Image, whole: Segmentation, network: Segmenter, zoom: tuple[float, float]
) -> None:
    found = segment(read_scan(image=resampled(image, (*zoom, 1))), model=network)
    dice = overlap(brought_back(found.classes > 0, whole.classes.shape), whole.classes > 0).dice
    assert dice is not None and dice >= 0.97
