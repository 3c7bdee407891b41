"""NaN in images: air outside the body, refused within."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.imaging.air import read_body_image

ROWS, COLUMNS = np.mgrid[:60, :100]
LIMBS = np.any([np.hypot(ROWS - 30, COLUMNS - column) < 20 for column in (26, 74)], axis=0)[:, :, None]
IMAGE = np.where(LIMBS, 100, 0) + np.random.default_rng(0).uniform(0, 4, LIMBS.shape)
AFFINE = np.diag([2.0, 2.0, 10.0, 1.0])


def read(data: NDArray[np.floating]) -> NDArray[np.floating]:
    return read_body_image((data, AFFINE), "fat").data


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), share=st.floats(0.001, 1))
def test_nan_in_air_becomes_zero_and_all_else_stays(seed: int, share: float) -> None:
    holes = ~LIMBS & (np.random.default_rng(seed).random(LIMBS.shape) < share)
    found = read(np.where(holes, np.nan, IMAGE))
    assert np.array_equal(found, np.where(holes, 0, IMAGE).astype(np.float32))


@settings(deadline=None, max_examples=25)
@given(limb=st.sampled_from((26, 74)), row=st.integers(-9, 9), column=st.integers(-9, 9), masked=st.booleans())
def test_nan_within_the_body_stays_to_be_refused(limb: int, row: int, column: int, masked: bool) -> None:
    spoilt = np.where(LIMBS | (not masked), IMAGE, np.nan)
    spoilt[30 + row, limb + column] = np.nan
    assert np.isnan(read(spoilt)).sum() == np.isnan(spoilt).sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_nan_alone_are_air(axis: int) -> None:
    affine = AFFINE[:, [*np.insert([0, 1], axis, 2), 3]]
    stack = np.moveaxis(np.concatenate([IMAGE, np.full_like(IMAGE, np.nan)], axis=2), 2, axis)
    found = read_body_image((stack, affine), "fat").data
    assert np.array_equal(np.moveaxis(found, axis, 2)[:, :, 0], IMAGE[:, :, 0].astype(np.float32))
    assert not np.moveaxis(found, axis, 2)[:, :, 1].any()


def test_an_image_of_nan_alone_stays_to_be_refused() -> None:
    assert np.isnan(read(np.full_like(IMAGE, np.nan))).all()


def test_it_is_said_once_with_the_file_and_the_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "fat.nii.gz"
    nib.save(nib.Nifti1Image(np.where(LIMBS, IMAGE, np.nan).astype(np.float32), AFFINE), file)
    with caplog.at_level(logging.WARNING, logger="musclesense"):
        for _ in range(2):
            read_body_image(file, "fat")
    assert caplog.messages == [f"{file}: {(~LIMBS).sum()} voxels outside the body are NaN; taken as air"]
