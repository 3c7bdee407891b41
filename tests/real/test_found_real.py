"""Of real scans, the path alone tells which images are taken."""

import os
from pathlib import Path

import pytest

from musclesense.intake.found import find, read

REAL = os.environ.get("MUSCLESENSE_REAL_DATA")
pytestmark = pytest.mark.skipif(not REAL, reason="needs MUSCLESENSE_REAL_DATA")

ECHOES = {"te345", "te460", "te575"}


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("ge_thigh", ECHOES),
        ("siemens_thigh", ECHOES),
        ("siemens_calf", {"image"} | ECHOES),
        ("ideal_thigh", {"fat", "water"}),
        *((name, {"image"}) for name in ("sts_thigh_045", "sts_calf_010", "tse_calf", "obese_thigh_hip")),
        *((name, {"image"}) for name in ("out_of_phase_calf", "out_of_phase_thigh")),
    ],
)
def test_a_folder_is_taken_for_what_it_is(folder: str, names: set[str]) -> None:
    found = find(Path(str(REAL)) / folder)
    assert {*found.images} == names
    assert all(isinstance(image, tuple) for image in found.images.values()) == (names == ECHOES)


def test_a_folder_of_dicom_is_read_by_its_path_alone() -> None:
    pytest.importorskip("pydicom", reason="reads DICOM")
    folder = Path(str(REAL)) / "dicom_mese_thigh"
    scan = read(folder)
    assert [*scan.channels] == ["image"] and scan.geometry.shape == (384, 192, 7) and scan.files["dicom"] == folder
