"""The tables of the public scans, made of small images that stand for them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.imaging.nifti import Geometry, read_volume, write_volume

from ..shared.networks import write_checkpoint
from ..shared.runs import rows_of

GEOMETRY = Geometry.from_affine((60, 40, 12), np.diag([5.0, 5.0, 10.0, 1.0]))
ECHOES = ("te345", "te460", "te575")


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments" / "judge")
    import public_scans

    yield public_scans
    sys.modules.pop("public_scans")


def write(path: Path, data: NDArray[np.generic], dtype: type = np.int16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, data, GEOMETRY, dtype)


def disc(radius_mm: float) -> NDArray[np.bool_]:
    x, y, _ = np.indices(GEOMETRY.shape) * 5.0 - np.array([150, 100, 0])[:, None, None, None]
    return np.hypot(x, y) < radius_mm


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as that of the public scans, each a round limb in a few coarse slices."""
    folder = tmp_path / "data"
    body, muscle = disc(90), disc(60)
    fat, water = 900 * body - 800 * muscle, 50 * body + 800 * muscle
    write(folder / "ideal_thigh" / "fat.nii.gz", fat)
    write(folder / "ideal_thigh" / "water.nii.gz", water)
    write(folder / "ideal_thigh" / "muscles.nii.gz", muscle * (1 + np.indices(GEOMETRY.shape)[1] % 11), np.uint8)
    for name in ("sts_thigh_045", "sts_calf_010"):
        write(folder / name / "t1.nii.gz", water)
        write(folder / name / "muscle_ct.nii.gz", np.where(np.arange(60)[:, None, None] < 30, 2, 1) * muscle, np.uint8)
        (folder / name / "slices.txt").write_text("0 1\n5")
    for name, images in {
        "siemens_calf": [f"{echo}_magnitude" for echo in ECHOES],
        "out_of_phase_calf": ["out_of_phase"],
        "out_of_phase_thigh": ["out_of_phase"],
        "tse_calf": ["te16", "te56"],
        "obese_thigh_hip": ["gradient_echo"],
    }.items():
        for image in images:
            write(folder / name / f"{image}.nii.gz", water)
    return folder


def test_four_contrasts_come_from_fat_and_water(scans, data: Path, tmp_path: Path) -> None:
    rows = scans.paper_rows(data, tmp_path / "out", "image")
    fat, water = (read_volume(data / "ideal_thigh" / f"{name}.nii.gz").data.astype(int) for name in ("fat", "water"))
    expected = {"fat": fat, "water": water, "in_phase": fat + water, "out_of_phase": abs(water - fat)}
    assert {row.session for row in rows} == {*expected}
    for row in rows:
        np.testing.assert_array_equal(read_volume(row.channels["image"]).data, expected[row.session])
        mask = read_volume(row.mask).data
        assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == list(range(2, 11))
        assert mask.max() == 11


def test_single_muscles_are_judged_in_the_slices_of_the_task(scans, data: Path, tmp_path: Path) -> None:
    (row, *_) = scans.single_rows(data, tmp_path / "out", "fat")
    assert np.flatnonzero(read_volume(row.compartments).data.any(axis=(0, 1))).tolist() == list(range(3, 9))
    assert len(scans.MUSCLES.names) == 11


def test_slices_that_are_not_named_are_emptied_and_what_nobody_judged_is_marked(
    scans, data: Path, tmp_path: Path
) -> None:
    for row in scans.every_rows(data, tmp_path / "out", "fat"):
        mask = read_volume(row.mask).data
        assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [0, 1, 5]
        assert set(np.unique(mask)) == {0, 1, scans.IGNORED}


def test_one_command_scores_labelled_scans(
    scans, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = {"spacing_mm": 5.0, "rows": 40, "columns": 60, "fit": "centre"}
    model = write_checkpoint(
        tmp_path / "best.ckpt", channels=("image",), placed_by="image", regions=("calf", "thigh"), grid=grid
    )
    scans.judge(data, model, tmp_path / "out", ["paper", "every", "single"])
    found = {
        row["subject"] + row["session"]: float(row["dice"]) for row in rows_of(tmp_path / "out/paper/scores/scans.csv")
    }
    assert found["ideal_thighwater"] > 0.95, "bright, and so is muscle in water"
    assert found["ideal_thighfat"] < 0.5
    judged = rows_of(tmp_path / "out" / "every" / "scores" / "scans.csv")
    assert [row["slices"] for row in judged] == ["3", "3", "3", "3"]
    assert all(float(row["precision"]) > 0.95 for row in judged), "what nobody judged does not count"
    assert not (tmp_path / "out" / "single").exists(), "it tells no single muscles apart"
    assert "ideal_thigh water" in capsys.readouterr().out


def test_scans_without_labels_have_rows_for_every_image(scans, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        scans, "UNLABELLED", {name: at for name, at in scans.UNLABELLED.items() if name != "siemens_thigh"}
    )
    rows = scans.looked_at_rows(data, tmp_path / "out", "image")
    assert [(row.subject, row.session) for row in rows][:5] == [
        *(("siemens_calf", f"{echo}_magnitude") for echo in ECHOES),
        *((name, "out_of_phase") for name in ("out_of_phase_calf", "out_of_phase_thigh")),
    ]
    assert all(row.mask is None for row in rows)
