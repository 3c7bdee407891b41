"""Images of one acquisition, from files."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.nifti import write_volume
from musclesense.segmentation.scan import from_images

from .conftest import TwoLimbs, odd_geometry


def test_stored_integers_do_not_overflow(tmp_path: Path) -> None:
    """Fat and water of 30000 and 10000 together exceed what int16 holds."""
    geometry = odd_geometry()
    data = {"fat": np.full(geometry.shape, 30000), "water": np.full(geometry.shape, 10000)}
    for name, volume in data.items():
        volume[0] = 0
        write_volume(tmp_path / f"{name}.nii.gz", volume, geometry, np.int16)
    scan = from_images({name: tmp_path / f"{name}.nii.gz" for name in data})
    assert scan.fat_fraction is not None
    assert np.allclose(scan.fat_fraction[1:], 75)
    assert (scan.fat_fraction[0] == 0).all()


def test_all_problems_are_named_at_once(limbs: TwoLimbs, tmp_path: Path) -> None:
    write_volume(tmp_path / "flat.nii.gz", np.full(limbs.geometry.shape, 7.0), limbs.geometry, np.float32)
    other = odd_geometry("RAS")
    write_volume(tmp_path / "other.nii.gz", np.zeros(other.shape), other, np.float32)
    with pytest.raises(InputError) as caught:
        from_images({"fat": limbs.fat, "water": tmp_path / "flat.nii.gz", "te345": tmp_path / "other.nii.gz"})
    flat, elsewhere = caught.value.problems
    assert flat.endswith("flat.nii.gz: is 7 everywhere; give the water image")
    assert "other.nii.gz: shape 250x100x4 differs from 4x250x100" in elsewhere


def test_fat_alone_has_no_fraction(limbs: TwoLimbs) -> None:
    scan = from_images({"fat": limbs.fat})
    assert scan.fat_fraction is None
    assert scan.phase_unit is None
    assert list(scan.channels) == ["fat"]


def test_values_that_no_image_has_are_refused(limbs: TwoLimbs, tmp_path: Path) -> None:
    """A past failure, found by `make fuzz`: fat and water of 3e38 together are infinite."""
    data = np.linspace(0, 3e38, int(np.prod(limbs.geometry.shape))).reshape(limbs.geometry.shape)
    write_volume(tmp_path / "huge.nii.gz", data, limbs.geometry, np.float32)
    with pytest.raises(InputError, match=r"huge\.nii\.gz: values up to 3e\+38 are those of no image"):
        from_images({"fat": limbs.fat, "water": tmp_path / "huge.nii.gz"})
