"""Phantom cohorts on disk: bytes, geometry, truth, difficulty, failures."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, CohortTable, Region, read_table
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.phantom import generate as module
from musclesense.phantom.generate import compartment_values, generate, list_subjects, scan_subject
from musclesense.phantom.presets import Group, Preset, find_preset
from musclesense.phantom.signal import FLIP_DEGREES, Scanner


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("phantom") / "smoke", preset="smoke", seed=1)


@pytest.fixture(scope="module")
def table(smoke: Path) -> CohortTable:
    return read_table(smoke)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def labelled(acquisition: Acquisition, file: Path | None) -> NDArray[np.float32]:
    assert file is not None
    assert acquisition.slice is not None
    data: NDArray[np.float32] = read_volume(file).data[:, :, acquisition.slice].astype(np.float32)
    return data


def test_same_seed_gives_the_same_bytes_with_one_and_two_workers(smoke: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", preset="smoke", seed=1, workers=2)
    assert digests(again.parent) == digests(smoke.parent)


def test_another_seed_gives_another_cohort() -> None:
    preset = find_preset("smoke")
    subject = list_subjects(preset)[0]
    (_, _, one, _), (_, _, other, _) = (next(scan_subject(preset, subject, seed)) for seed in (1, 2))
    assert not np.array_equal(one.mask, other.mask)


def test_table_names_files_that_exist_in_one_geometry(table: CohortTable) -> None:
    assert len(table.acquisitions) == 24
    assert {row.region for row in table.acquisitions} == set(Region)
    for row in table.acquisitions:
        assert set(row.channels) == {"fat", "water", "te345", "te460", "te575"}
        assert row.mask is not None
        files = sorted(row.mask.parent.iterdir())
        assert len(files) == 11
        mask = read_volume(row.mask)
        assert set(np.unique(mask.data)) == {0, 1}
        assert mask.geometry.shape == (160, 80, 1)
        assert mask.geometry.zooms == pytest.approx((2.5, 2.5, 10.0))
        assert all(mask.geometry.difference(read_volume(file).geometry) is None for file in files)


def test_scanner_units(table: CohortTable) -> None:
    for row in table.acquisitions[:4]:
        for echo in ("te345", "te460", "te575"):
            magnitude, phase = (
                read_volume(row.channels[echo].with_name(f"{echo}_{part}.nii.gz")).data
                for part in ("magnitude", "phase")
            )
            assert magnitude.dtype == phase.dtype == np.int16
            assert magnitude.min() >= 0
            assert 0 <= phase.min() < 50
            assert 4045 < phase.max() <= 4095


def test_orientations_differ_and_agree_with_the_sides(smoke: Path, table: CohortTable) -> None:
    values = json.loads((smoke.parent / "phantom.json").read_text())["compartments"]
    axes = set()
    for row in table.acquisitions:
        assert row.mask is not None
        volume = read_volume(row.mask.with_name("compartments.nii.gz"))
        axes.add("".join(nib.aff2axcodes(volume.geometry.affine)))
        names = values[row.region.value]
        where = {}
        for side in ("right", "left"):
            own = [value for name, value in names.items() if name.endswith(side)]
            voxels = np.argwhere(np.isin(volume.data, own))
            where[side] = nib.affines.apply_affine(volume.geometry.affine, voxels.mean(axis=0))[0]
        assert where["right"] - where["left"] > 50, "RAS: the right limb lies at higher x"
    assert axes == {"RAS", "LPS"}


def test_mask_is_the_muscle_without_adductor_longus(table: CohortTable) -> None:
    for row in table.acquisitions:
        assert row.mask is not None
        compartments = read_volume(row.mask.with_name("compartments.nii.gz")).data
        values = compartment_values(row.region)
        left_out = [values[name] for name in values if name.startswith("adductor_longus")]
        assert len(left_out) == (2 if row.region is Region.THIGH else 0)
        expected = (compartments > 0) & ~np.isin(compartments, left_out)
        assert np.array_equal(read_volume(row.mask).data > 0, expected)
        if row.region is Region.THIGH:
            assert np.isin(compartments, left_out).any()


def test_true_fat_fraction_is_a_percentage_and_rises_with_severity(table: CohortTable) -> None:
    means: dict[str, list[float]] = {}
    for row in table.acquisitions:
        fraction = labelled(row, row.fat_fraction)
        assert fraction.min() >= 0
        assert fraction.max() <= 100
        if row.region is Region.CALF:
            means.setdefault(row.group, []).append(float(fraction[labelled(row, row.mask) > 0].mean()))
    for group in ("IBM", "CMT"):
        assert means[group] == sorted(means[group])
        assert means[group][-1] > 2 * max(means["control"])
    assert max(means["control"]) < 15


def test_separated_fat_fraction_is_what_one_fat_peak_reads(
    table: CohortTable, single_peak: Callable[[np.ndarray, Scanner], np.ndarray]
) -> None:
    nominal = replace(Scanner.sample(np.random.default_rng(0)), flip_degrees=FLIP_DEGREES)
    errors = []
    for row in table.acquisitions:
        fat, water = labelled(row, row.channels["fat"]), labelled(row, row.channels["water"])
        signal = labelled(row, row.channels["te460"])
        good = (labelled(row, row.mask) > 0) & (signal > 0.25 * np.percentile(signal, 98))
        found = 100 * fat[good] / (fat + water)[good]
        expected = single_peak(labelled(row, row.fat_fraction)[good] / 100, nominal)
        assert np.mean(np.abs(found - expected) > 50) < 0.01, "fat and water swapped"
        errors.append(float(np.median(found - expected)))
    assert np.median(np.abs(errors)) < 1
    assert np.max(np.abs(errors)) < 2.5


def test_the_naive_rule_is_good_in_health_and_bad_in_disease(table: CohortTable) -> None:
    scores: dict[str, list[float]] = {"control": [], "severe": []}
    for row in table.acquisitions:
        mask = labelled(row, row.mask) > 0
        signal = labelled(row, row.channels["te460"])
        body = signal > 0.2 * np.percentile(signal, 98)
        naive = (labelled(row, row.channels["water"]) > labelled(row, row.channels["fat"])) & body
        dice = float(2 * (naive & mask).sum() / (naive.sum() + mask.sum()))
        if row.group == "control":
            scores["control"].append(dice)
        elif labelled(row, row.fat_fraction)[mask].mean() > 30:
            scores["severe"].append(dice)
    assert 0.83 < np.mean(scores["control"]) < 0.95
    assert 0.5 < np.mean(scores["severe"]) < 0.88
    assert np.mean(scores["severe"]) < np.mean(scores["control"]) - 0.04


def test_sessions_of_a_subject_share_anatomy_and_fat() -> None:
    preset = Preset(
        groups=(Group(name="IBM", subjects=1, severity=(0.4, 0.6), retested=1),),
        regions=(Region.THIGH,),
        rows=80,
        columns=160,
        slices=3,
        oversampling=2,
    )
    (_, _, first, _), (_, _, second, _) = scan_subject(preset, list_subjects(preset)[0], seed=1)
    assert first.mask.shape == (3, 80, 160)
    assert not np.array_equal(first.mask, second.mask)
    assert first.mask.sum() == pytest.approx(second.mask.sum(), rel=0.06)
    means = [scan.fat_fraction[scan.mask > 0].mean() for scan in (first, second)]
    assert means[0] == pytest.approx(means[1], abs=2.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: generate(out, preset="gold", seed=1), r"'gold' is unknown; use smoke or demo"),
        (lambda out: generate(out, preset="smoke", seed=-1), "seed -1 is negative"),
        (lambda out: generate(out, preset="smoke", seed=1, workers=0), "workers 0 is too few"),
    ],
)
def test_bad_requests_write_nothing(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        make(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path) -> None:
    note = tmp_path / "out" / "note.txt"
    note.parent.mkdir()
    note.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        generate(note.parent, preset="smoke", seed=1)
    with pytest.raises(InputError, match="exists already"):
        generate(note, preset="smoke", seed=1)
    assert [path.name for path in note.parent.iterdir()] == ["note.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(module, "write_table", fail)
    monkeypatch.setattr(module, "list_subjects", lambda preset: list_subjects(preset)[:1])
    with pytest.raises(RuntimeError, match="disk on fire"):
        generate(tmp_path / "out", preset="smoke", seed=1)
    assert not list(tmp_path.iterdir())
