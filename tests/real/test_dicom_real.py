"""Real DICOM folders give the images that other programs made of them."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom", reason="reads DICOM")

from musclesense.dicom.load import import_dicom
from musclesense.intake.found import find

REAL = os.environ.get("MUSCLESENSE_REAL_DATA")
pytestmark = pytest.mark.skipif(not REAL, reason="needs MUSCLESENSE_REAL_DATA")


def test_a_t1_series_has_the_voxels_of_its_nifti_twin(tmp_path: Path) -> None:
    folder = Path(str(REAL)) / "sts_thigh_045"
    import_dicom(folder / "dicom", tmp_path / "out")
    assert [str(image) for image in find(tmp_path / "out").images.values()] == ["scan_image.nii.gz"]
    files = (tmp_path / "out" / "scan_image.nii.gz", folder / "t1.nii.gz")
    ours, twin = (nib.as_closest_canonical(nib.load(file)) for file in files)
    np.testing.assert_allclose(ours.affine, twin.affine, atol=1e-3)
    np.testing.assert_array_equal(ours.get_fdata(), twin.get_fdata())


def test_seventeen_spin_echoes_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    import_dicom(Path(str(REAL)) / "dicom_mese_thigh", tmp_path / "out")
    names = [f"scan_echo-{echo:02d}_part-mag_MESE.nii.gz" for echo in range(1, 18)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan.json", *names]
    echoes = [nib.load(tmp_path / "out" / name) for name in names]
    assert {echo.shape for echo in echoes} == {(384, 192, 7)}
    means = [float(echo.get_fdata().mean()) for echo in echoes]
    # Beyond the first, which a stimulated echo lifts above, the signal falls.
    assert means[1:] == sorted(means[1:], reverse=True)
