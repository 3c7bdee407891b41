"""What a job leaves for the page: slices upright, and images that are measured as before."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.pictures import upright, upright_step
from musclesense.segmentation.scan import Scan, read_scan
from musclesense.serve.shown import keep, kept, laid_down, write_view
from musclesense.serve.view import read_view, slice_of
from musclesense.vocabulary import Limbs

from ..segmentation.conftest import TwoLimbs, odd_geometry
from ..shared.networks import spec_of


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ILA", "ASL", "PIR", "LAI", "SRP"])
def test_a_mask_is_turned_back_as_it_was_turned(codes: str) -> None:
    geometry = odd_geometry(codes)
    classes = np.random.default_rng(0).integers(0, 3, geometry.shape).astype(np.uint8)
    assert (laid_down(upright(classes, geometry).copy(), geometry) == classes).all()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ILA", "ASL", "PIR", "LAI", "SRP"])
def test_the_step_leads_from_a_slice_that_is_shown_to_the_next(codes: str) -> None:
    geometry = odd_geometry(codes)
    heights = np.indices(geometry.shape).T @ geometry.affine[2, :3] + geometry.affine[2, 3]
    shown = upright(heights.T, geometry).mean(axis=(1, 2))
    assert np.diff(shown) == pytest.approx(upright_step(geometry), rel=0.05)  # the slices are a little turned


def test_images_that_are_kept_are_the_same(limbs: TwoLimbs, tmp_path: Path) -> None:
    scan = read_scan(fat=limbs.fat, water=limbs.water)
    keep(tmp_path / "kept", scan)
    again = kept(tmp_path / "kept")
    assert {*again.channels} == {"fat", "water"} and again.phase_unit is None
    assert all((again.channels[name] == scan.channels[name]).all() for name in scan.channels)
    assert again.fat_fraction is not None and scan.fat_fraction is not None
    assert np.array_equal(again.fat_fraction, scan.fat_fraction, equal_nan=True)
    assert again.geometry.difference(scan.geometry) is None
    assert (again.geometry.affine == scan.geometry.affine).all()


def test_a_slice_is_seen_as_radiologists_look(limbs: TwoLimbs, tmp_path: Path) -> None:
    scan = read_scan(fat=limbs.fat, water=limbs.water)
    classes = limbs.right.astype(np.uint8)
    write_view(tmp_path / "shown", MeasuredMask(scan, classes, spec_of().labels, Limbs.BOTH))
    told = read_view(tmp_path / "shown")
    assert [one["name"] for one in told["images"]] == ["fat", "water", "fat_fraction"]
    shape = (told["rows"], told["columns"])
    mask = np.frombuffer(slice_of(tmp_path / "shown", "mask", 1), np.uint8).reshape(shape)
    assert mask.sum() == limbs.right[1].sum()
    assert np.flatnonzero(mask.any(axis=0)).max() < shape[1] / 2  # the subject's right is on the left
    fat = np.frombuffer(slice_of(tmp_path / "shown", "fat", 1), "<u2").reshape(shape)
    fraction = np.frombuffer(slice_of(tmp_path / "shown", "fat_fraction", 1), "<u2").reshape(shape)
    assert fat[:, shape[1] // 2 :].max() == 65535 > fat[mask > 0].max() > 0
    assert np.allclose(fraction[mask > 0] / 65535, 0.2, atol=0.001)
    assert told["images"][-1] == {"name": "fat_fraction", "low": 0, "high": 100, "black": 0, "white": 100}


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, -500.0])
def test_values_that_no_image_should_have_are_shown(worst: float, tmp_path: Path) -> None:
    image = np.full((6, 5, 2), 100, np.float32)
    image[0, 0, 0] = worst
    geometry = Geometry.from_affine((6, 5, 2), np.diag([5.0, 5.0, 5.0, 1.0]))
    scan = Scan({"image": image}, None, geometry, {})
    vars(scan)["bodies"] = np.ones(image.shape, bool)
    classes = np.zeros(image.shape, np.uint8)
    write_view(tmp_path / "shown", MeasuredMask(scan, classes, spec_of().labels, Limbs.ONE))
    (one,) = read_view(tmp_path / "shown")["images"]
    assert np.isfinite([one["low"], one["high"], one["black"], one["white"]]).all() and one["white"] > one["low"]
