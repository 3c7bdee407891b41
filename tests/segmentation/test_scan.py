"""Images of one acquisition, from files."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.segmentation.scan import from_images, read_scan

from ..dixon import test_swaps as swaps
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
    turned = odd_geometry("RAS")
    other = turned.moved(turned.shape, turned.affine + 20 * np.eye(4)[:, [0]] * np.eye(4)[3])
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


def test_the_same_image_as_fat_and_water_is_told(limbs: TwoLimbs, caplog: pytest.LogCaptureFixture) -> None:
    said = f"{limbs.fat}, {limbs.fat}: hold the same values; give fat and water"
    for water in (limbs.water, limbs.fat):
        from_images({"fat": limbs.fat, "water": water})
        assert (said in caplog.messages) is (water == limbs.fat)


def test_an_image_of_any_contrast_stands_alone_or_beside_others(limbs: TwoLimbs) -> None:
    assert list(read_scan(image=limbs.water).channels) == ["image"]
    both = read_scan(image=limbs.water, fat=limbs.fat, water=limbs.water)
    assert list(both.channels) == ["fat", "water", "image"] and both.fat_fraction is not None
    assert both.reference == "fat"
    with pytest.raises(InputError, match=r"te345.*two files beside .*image"):
        read_scan(image=limbs.water, te345=(limbs.fat, limbs.fat))
    with pytest.raises(InputError, match=r"phase_unit.*of no use beside .*image"):
        read_scan(image=limbs.water, phase_unit="degrees")
    with pytest.raises(InputError, match=r"water.*goes with"):
        read_scan(water=limbs.water)


def test_values_that_no_image_has_are_refused(limbs: TwoLimbs, tmp_path: Path) -> None:
    """A past failure, found by `make fuzz`: fat and water of 3e38 together are infinite."""
    data = np.linspace(0, 3e38, int(np.prod(limbs.geometry.shape))).reshape(limbs.geometry.shape)
    write_volume(tmp_path / "huge.nii.gz", data, limbs.geometry, np.float32)
    with pytest.raises(InputError, match=r"huge\.nii\.gz: values up to 3e\+38 are too large for an image"):
        from_images({"fat": limbs.fat, "water": tmp_path / "huge.nii.gz"})


def test_images_in_memory_are_those_of_the_files(limbs: TwoLimbs) -> None:
    from_files = read_scan(fat=str(limbs.fat), water=limbs.water)
    fat, water = nib.load(limbs.fat), read_volume(limbs.water)
    in_memory = read_scan(fat=fat, water=(water.data, water.geometry.affine))
    assert in_memory.files == {} and from_files.files == {"fat": limbs.fat, "water": limbs.water}
    assert all(np.array_equal(in_memory.channels[name], volume) for name, volume in from_files.channels.items())
    assert in_memory.geometry.difference(from_files.geometry) is None
    assert in_memory.fat_fraction is not None and from_files.fat_fraction is not None
    assert np.array_equal(in_memory.fat_fraction, from_files.fat_fraction)


def test_echoes_in_memory_are_separated_as_those_of_files(limbs: TwoLimbs, tmp_path: Path) -> None:
    fat, water = (read_volume(file).data.astype(np.float32) for file in (limbs.fat, limbs.water))
    affine = limbs.geometry.affine
    files: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for name, sign in (("te345", -1), ("te460", 1), ("te575", -1)):
        signal = water + sign * fat
        pair = (np.abs(signal), np.where(signal < 0, 2048, 4000).astype(np.int16))
        files[name] = tuple(tmp_path / f"{name}_{kind}.nii" for kind in ("magnitude", "phase"))
        for path, data in zip(files[name], pair, strict=True):
            write_volume(path, data, limbs.geometry, data.dtype)
        arrays[name] = tuple((data, affine) for data in pair)
    expected, found = read_scan(**files), read_scan(**arrays, phase_unit="12bit")
    assert expected.phase_unit == found.phase_unit == "12bit"
    assert list(found.channels) == ["fat", "water", "te345", "te460", "te575"]
    assert all(np.array_equal(found.channels[name], volume) for name, volume in expected.channels.items())
    assert found.files == {} and len(expected.files) == 6


def test_fat_and_water_that_are_exchanged_are_refused(tmp_path: Path) -> None:
    fat, water = swaps.limbs(muscle=0.1, fat_mm=12)
    for name, image in (("fat", fat), ("water", water)):
        write_volume(tmp_path / f"{name}.nii", image, swaps.GEOMETRY, np.float32)
    of_fat, of_water = tmp_path / "fat.nii", tmp_path / "water.nii"
    assert read_scan(fat=of_fat, water=of_water).fat_fraction is not None
    with pytest.raises(InputError, match=r"fat within, in all limbs: fat=.*water.nii water=.*fat.nii; exchange the"):
        read_scan(fat=of_water, water=of_fat)


def test_one_limb_that_a_scanner_swapped_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fat, water = swaps.limbs(muscle=0.1, fat_mm=12)
    right = np.arange(130)[:, None, None] < 65
    pair = (np.where(right, water, fat), np.where(right, fat, water))
    for name, image in zip(("fat", "water"), pair, strict=True):
        write_volume(tmp_path / f"{name}.nii", image, swaps.GEOMETRY, np.float32)
    read_scan(fat=tmp_path / "fat.nii", water=tmp_path / "water.nii")
    assert len(caplog.messages) == 1 and "fat within, in the right limb; look at" in caplog.messages[0]


def test_real_and_imaginary_images_are_recorded_as_such(limbs: TwoLimbs, tmp_path: Path) -> None:
    fat, water = (read_volume(file).data.astype(np.float32) for file in (limbs.fat, limbs.water))
    affine = limbs.geometry.affine
    pairs: dict[str, Any] = {}
    for name, sign in (("te345", -1), ("te460", 1), ("te575", -1)):
        write_volume(tmp_path / f"{name}.nii", 0.6 * (water + sign * fat), limbs.geometry, np.float32)
        pairs[name] = (tmp_path / f"{name}.nii", (0.8 * (water + sign * fat), affine))
    scan = read_scan(**pairs, real_imaginary=True)
    assert scan.phase_unit == "real and imaginary"
    assert list(scan.files) == ["te345_real", "te460_real", "te575_real"]
    np.testing.assert_allclose(scan.channels["fat"], fat, atol=1e-2)


@pytest.mark.parametrize(
    "stored", [{"phase_unit": "12bit"}, {"phase_turn": 4096.0}, {"real_imaginary": True}], ids=["unit", "turn", "parts"]
)
def test_words_on_phases_do_not_go_with_a_fat_image(limbs: TwoLimbs, stored: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(stored))}: of no use beside fat; leave one out"):
        read_scan(fat=limbs.fat, **stored)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"water": "w.nii"}, "water: goes with fat; give fat as well, or three echoes with their phases"),
        ({"fat": "f.nii", "te345": ("m.nii", "p.nii")}, "te345: two files beside fat; give the magnitude alone"),
        (
            {"te345": ("m.nii", "p.nii"), "te460": "m.nii"},
            r"give te460=\(MAG, PHASE\) te575=\(MAG, PHASE\), or fat=FILE",
        ),
        ({"fat": "f.nii", "problem": "m.nii"}, "^problem: no image of a scan; give some of fat, water, te345"),
        ({"fat": 3}, "fat=int: cannot be read as an image"),
        (
            {name: ("a.nii", "b.nii") for name in ("te345", "te460", "te575")} | {"phase_unit": "turns"},
            "phase_unit=turns",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_scan(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("below", "said"), [(0.0, False), (0.01, False), (0.1, True), (0.6, True)])
def test_an_image_with_many_negative_values_is_said(
    below: float, said: bool, limbs: TwoLimbs, caplog: pytest.LogCaptureFixture
) -> None:
    fat = read_volume(limbs.fat)
    image = fat.data.astype(np.float32)
    image.flat[: round(below * image.size)] -= 20000
    from_images({"fat": (image, fat.geometry.affine)})
    assert any("% of voxels are far below 0, as in CT and phase images" in line for line in caplog.messages) is said
