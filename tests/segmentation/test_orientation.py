"""The mask follows the image: stored otherwise, in voxels of another size, cut to one limb."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.metrics.overlap import overlap
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.vocabulary import Region, Side

from ..shared.turning import STORED, Image, brought_back, part_of, resampled, stored_as
from .conftest import leg_scan

SHOWN = {Region.CALF: Contrast.DIXON_FAT, Region.THIGH: Contrast.SPIN_ECHO}


@pytest.fixture(scope="module")
def network() -> Segmenter:
    return Segmenter.load("any_contrast", "cpu", effort="fast")


@pytest.fixture(scope="module", params=SHOWN)
def image(request: pytest.FixtureRequest) -> Image:
    """Two slices of two limbs, about the middle of a scanner."""
    scan = leg_scan(request.param, (0.4, 0.55), contrast=SHOWN[request.param])
    affine = scan.geometry.affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ (np.array(scan.geometry.shape) - 1) / 2 + (3, -20, 100)
    return scan.channels["image"], affine


@pytest.fixture(scope="module")
def whole(image: Image, network: Segmenter) -> Segmentation:
    return segment(read_scan(image=image), model=network)


def totals(found: Segmentation) -> list[tuple[str, str, int]]:
    return [(row["limb"], row["label"], row["voxels"]) for row in found.rows if row["slice"] == "all"]


@pytest.mark.parametrize("codes", STORED)
def test_the_mask_is_the_same_however_the_image_is_stored(
    image: Image, whole: Segmentation, network: Segmenter, codes: str
) -> None:
    turned = stored_as(image, codes)
    found = segment(read_scan(image=turned), model=network)
    assert found.classes.shape == turned[0].shape and found.region is whole.region
    back, affine = stored_as((found.classes, turned[1]), "RAS")
    assert np.allclose(affine, image[1])
    assert np.array_equal(back, whole.classes) and whole.classes.any()
    assert totals(found) == totals(whole)


@pytest.mark.parametrize("codes", ["LAS", "LPS", "PIR"])
@pytest.mark.parametrize("forms", [(1, 0), (0, 2), (1, 1)])
def test_a_file_s_mask_lies_in_the_file_s_voxels(
    image: Image, whole: Segmentation, network: Segmenter, tmp_path: Path, codes: str, forms: tuple[int, int]
) -> None:
    """As dcm2niix stores them (LAS), as DICOM counts them (LPS), and as sagittal slices."""
    data, affine = stored_as(image, codes)
    geometry = Geometry.from_affine(data.shape, affine)
    geometry.header.set_qform(affine, forms[0])
    geometry.header.set_sform(affine if forms[1] else None, forms[1])
    write_volume(tmp_path / "scan.nii.gz", data, geometry, np.float32)
    found = segment(read_scan(image=tmp_path / "scan.nii.gz"), model=network)
    mask = read_volume(found.save(tmp_path / "out") / "mask.nii.gz")
    assert mask.geometry.shape == data.shape and np.allclose(mask.geometry.affine, affine, atol=1e-3)
    assert [int(mask.geometry.header[name]) for name in ("qform_code", "sform_code")] == [*forms]
    back, _ = stored_as((mask.data, mask.geometry.affine), "RAS")
    assert overlap(back > 0, whole.classes > 0).dice == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("zoom", [(0.7, 0.7), (1.3, 1.3), (0.6, 1.0), (1.0, 1.5), (1.2, 0.6)])
def test_the_mask_is_the_same_in_voxels_of_another_size(
    image: Image, whole: Segmentation, network: Segmenter, zoom: tuple[float, float]
) -> None:
    found = segment(read_scan(image=resampled(image, (*zoom, 1))), model=network)
    back = brought_back(found.classes > 0, whole.classes.shape)
    dice = overlap(back, whole.classes > 0).dice
    assert dice is not None and dice >= 0.97
    assert found.region is whole.region and found.limbs is whole.limbs
    volumes = [sum(row["volume_ml"] for row in one.rows if row["slice"] == "all") for one in (found, whole)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.03)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("origin", ["scanner", "corner"])
def test_one_limb_has_the_mask_and_the_side_that_it_had_beside_the_other(
    image: Image, whole: Segmentation, network: Segmenter, side: Side, origin: str
) -> None:
    """Counted from the corner of the image, as programs do that know no scanner, coordinates tell no side."""
    own = whole.halves[side]
    body, other = (np.flatnonzero((half & whole.scan.bodies).any(axis=(1, 2))) for half in (own, ~own))
    first, last = max(body[0] - 4, 0), body[-1] + 5
    first, last = (max(first, other[-1] + 1), last) if other[-1] < body[0] else (first, min(last, other[0]))
    affine = image[1] if origin == "scanner" else np.diag([*np.diag(image[1])[:3], 1.0])
    found = segment(read_scan(image=part_of((image[0], affine), first, last)), model=network)
    assert found.limbs.value == side.value and found.region is whole.region
    dice = overlap(found.classes > 0, ((whole.classes > 0) & own)[first:last]).dice
    assert dice is not None and dice >= 0.97
