"""Real scans from files to files. The network is a rule (bright is muscle), so that right answers are known."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cli.main import main
from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import take_slice
from musclesense.imaging.limbs import split_limbs
from musclesense.imaging.nifti import Volume, read_volume
from musclesense.imaging.outline import look
from musclesense.metrics.overlap import overlap
from musclesense.vocabulary import Side

from ..shared.networks import write_checkpoint

# At the isotropic grid of the paper's size.
GRID = {"spacing_mm": 1.25, "rows": 160, "columns": 320, "fit": "centre"}


@dataclass(frozen=True)
class Result:
    """What was written for a scan, and the image whose voxels it lies in."""

    image: Path
    mask: Volume
    rows: list[dict[str, str]]
    record: dict
    fat_fraction: NDArray[np.float32]


def segment(out: Path, image: Path, arguments: list[str], fat_fraction: NDArray, **network) -> Result:
    model = write_checkpoint(out / "best.ckpt", grid=GRID, **network)
    main(["segment", *arguments, "--region", "thigh", "--model", str(model), "--out", str(out / "result")])
    with (out / "result" / "fat_fraction.csv").open() as file:
        rows = list(csv.DictReader(file))
    record = json.loads((out / "result" / "run.json").read_text())
    return Result(image, read_volume(out / "result" / "mask.nii.gz"), rows, record, fat_fraction)


@pytest.fixture(scope="module")
def siemens(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Three echoes with phases."""
    out, scan = tmp_path_factory.mktemp("siemens"), real_data / "siemens_thigh"
    echoes = []
    for name in ("te345", "te460", "te575"):
        echoes += [f"--{name}", *(str(scan / f"{name}_{kind}.nii.gz") for kind in ("magnitude", "phase"))]
    main(["separate", *echoes, "--out", str(out / "parts")])
    fraction = read_volume(out / "parts" / "fat_fraction.nii.gz").data
    return segment(out, scan / "te460_magnitude.nii.gz", echoes, fraction, channels=["water"])


@pytest.fixture(scope="module")
def ideal(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Fat and water of the scanner, stored from right to left and from front to back."""
    files = {name: real_data / "ideal_thigh" / f"{name}.nii.gz" for name in ("fat", "water")}
    fat, water = (read_volume(file).data.astype(np.float32) for file in files.values())
    fraction = np.divide(100 * fat, fat + water, out=np.zeros_like(fat), where=fat + water > 0)
    given = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    return segment(tmp_path_factory.mktemp("ideal"), files["fat"], given, fraction, channels=["water"])


@pytest.fixture(params=["siemens", "ideal"])
def result(request: pytest.FixtureRequest) -> Result:
    made: Result = request.getfixturevalue(request.param)
    return made


def to_the_right(volume: Volume) -> NDArray[np.float64]:
    """Give how far to the subject's right (RAS+) each voxel of a slice lies, mm along the first axis of these scans."""
    step = volume.geometry.zooms[0] * np.sign(volume.geometry.affine[0, 0])
    return step * np.indices(volume.data.shape[:2])[0]


def test_the_mask_lies_in_the_very_voxels(result: Result) -> None:
    image, mask = nib.load(result.image), result.mask.geometry
    assert mask.shape == image.shape
    assert np.array_equal(mask.affine, image.affine)
    for field in ("qform_code", "sform_code", "pixdim", "xyzt_units", "srow_x", "quatern_b"):
        assert np.array_equal(mask.header[field], image.header[field]), field


def test_fat_fractions_are_means_of_the_separated_images(result: Result) -> None:
    """In slices where a gap parts the limbs: its place is taken from the mask alone."""
    for number in (3, 4):
        mask = result.mask.data[:, :, number] > 0
        right = to_the_right(result.mask)
        columns = np.unique(np.round(right[mask]))
        gap = np.argmax(np.diff(columns))
        middle = (columns[gap] + columns[gap + 1]) / 2
        for limb, half in (("right", right > middle), ("left", right < middle)):
            (row,) = (row for row in result.rows if (row["slice"], row["limb"]) == (str(number), limb))
            assert int(row["voxels"]) == np.count_nonzero(mask & half) > 1000
            mean = result.fat_fraction[:, :, number][mask & half].mean(dtype=np.float64)
            assert float(row["fat_fraction_percent"]) == pytest.approx(mean, abs=0.1)


def test_volumes_add_up_but_for_what_lies_in_no_limb(result: Result) -> None:
    voxel_ml = np.prod(nib.affines.voxel_sizes(result.mask.geometry.affine)) / 1000
    total = [float(row["volume_ml"]) for row in result.rows if row["slice"] == "all"]
    slices = [row for row in result.rows if row["slice"] != "all"]
    assert all((row["counted_slices"] == "0") == ("off_level" in row["flags"]) for row in slices)
    counted = [row for row in slices if row["counted_slices"] == "1"]
    parts = [float(row["volume_ml"]) for row in counted]
    assert sum(total) == pytest.approx(sum(parts), abs=0.001 * len(parts))
    numbers = sorted({int(row["slice"]) for row in counted})
    voxels = np.count_nonzero(result.mask.data[:, :, numbers])
    assert sum(total) == pytest.approx(voxels * voxel_ml, rel=0.005)


def test_water_is_muscle_with_little_fat(siemens: Result) -> None:
    """Were fat and water or sides swapped, what is bright in water would not be so lean."""
    totals = {row["limb"]: row for row in siemens.rows if row["slice"] == "all"}
    assert all(2 < float(row["fat_fraction_percent"]) < 20 for row in totals.values())
    assert siemens.record["phase_unit"] == "12bit"
    assert len(siemens.record["inputs"]) == 6


def test_bright_in_water_lies_on_the_labels(ideal: Result, real_data: Path) -> None:
    labels = read_volume(real_data / "ideal_thigh" / "muscles.nii.gz").data[:, :, 2:11] > 0
    mask = ideal.mask.data[:, :, 2:11] > 0
    dice = overlap(labels, mask).dice
    assert dice is not None and dice > 0.6
    for mirrored in (mask[::-1], mask[:, ::-1], mask[:, :, ::-1]):
        other = overlap(labels, np.ascontiguousarray(mirrored)).dice
        assert other is not None and other < dice - 0.05


@dataclass(frozen=True)
class Stack:
    """Where the limbs lie apart in a scan, and where they touch."""

    file: str
    apart: tuple[int, ...]
    touching: tuple[int, ...]


STACKS: Mapping[str, Stack] = {
    "siemens_thigh": Stack("te460_magnitude", (0, 3, 6), (8, 9)),
    "siemens_calf": Stack("te345_magnitude", (20, 40, 60, 80), ()),
    "ideal_thigh": Stack("fat", (1, 5, 9), (12,)),
}


@pytest.mark.parametrize("name", STACKS)
def test_limbs_are_parted_on_the_subjects_sides(name: str, real_data: Path) -> None:
    stack = STACKS[name]
    volume = read_volume(real_data / name / f"{stack.file}.nii.gz")
    for number in (*stack.apart, *stack.touching):
        image = take_slice(volume.data, volume.geometry, number)
        body = body_mask(image)
        halves = split_limbs(body, volume.geometry, look(image, body, volume.geometry))
        right = to_the_right(volume)
        own = {limb: right[half & body] for limb, half in halves.items()}
        assert own[Side.RIGHT].min() > own[Side.LEFT].max()
        assert 0.75 < own[Side.RIGHT].size / own[Side.LEFT].size < 1.33
        if number in stack.apart:
            assert own[Side.RIGHT].min() - own[Side.LEFT].max() > 2
