"""Phantom cohorts on disk: bytes, geometry, truth, difficulty, failures."""

import csv
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.cohort.table import Acquisition, CohortTable, read_table
from musclesense.endings import AGAIN
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.phantom.anatomy.templates import TEMPLATES, compartment_values
from musclesense.phantom.cohorts import generate as module
from musclesense.phantom.cohorts.generate import generate, sample_body, scan_subject
from musclesense.phantom.cohorts.presets import Group, Preset, Sequence, Stack, find_preset
from musclesense.phantom.cohorts.subjects import list_subjects
from musclesense.phantom.scanner.signal import FLIP_DEGREES, Scanner
from musclesense.vocabulary import Limbs, Region

from ...shared.waiting import LONGEST_SECONDS


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("phantom") / "smoke", preset="smoke", seed=1)


@pytest.fixture(scope="module")
def table(smoke: Path) -> CohortTable:
    return read_table(smoke)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Gives the name of a preset of one subject in coarse voxels; its fields can be replaced."""

    def make(**changes: Any) -> str:
        preset = Preset(
            groups=(Group(name="IBM", subjects=1, severity=(0.4, 0.6), retested=1, followed=YEARLY, progress=0.2),),
            stack=Stack(rows=80, columns=160, voxel_mm=2.5, slices=3, points=2),
        )
        monkeypatch.setattr(module, "find_preset", lambda _: replace(preset, **changes))
        return "small"

    return make


YEARLY = {Region.CALF: (0,), Region.THIGH: (1,)}


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


def test_same_seed_gives_the_same_bytes_with_one_and_four_workers(smoke: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", preset="smoke", seed=1, workers=4)
    assert digests(again.parent) == digests(smoke.parent)


def test_another_seed_gives_another_cohort() -> None:
    preset = find_preset("smoke")
    subject = list_subjects(preset)[0]
    one, other = (next(scan_subject(preset, subject, seed)).scan for seed in (1, 2))
    assert not np.array_equal(one.mask, other.mask)


def test_table_names_files_that_exist_in_one_geometry(table: CohortTable) -> None:
    assert len(table.acquisitions) == 24
    assert {row.region for row in table.acquisitions} == set(Region)
    for row in table.acquisitions:
        assert set(row.channels) == {"fat", "water", "te345", "te460", "te575"}
        assert row.mask is not None
        assert row.compartments == row.mask.with_name("compartments.nii.gz")
        files = sorted(row.mask.parent.glob("*.nii.gz"))
        assert len(files) == 11
        header = json.loads((row.mask.parent / "scan.json").read_text())
        assert header["echo_times_ms"] == [3.45, 4.6, 5.75]
        assert header["repetition_time_ms"] == 125 and header["flip_angle_degrees"] == 10
        mask = read_volume(row.mask)
        assert set(np.unique(mask.data)) == {0, 1}
        assert mask.geometry.shape == (160, 80, 1)
        assert mask.geometry.zooms == pytest.approx((2.5, 2.5, 10.0))
        assert all(mask.geometry.difference(read_volume(file).geometry) is None for file in files)


def test_scanner_units(table: CohortTable) -> None:
    highest = 0
    for row in table.acquisitions[:4]:
        for echo in ("te345", "te460", "te575"):
            magnitude, phase = (
                read_volume(row.channels[echo].with_name(f"{echo}_{part}.nii.gz")).data
                for part in ("magnitude", "phase")
            )
            assert magnitude.dtype == phase.dtype == np.int16
            assert magnitude.min() >= 0
            assert phase.min() == 0
            assert phase.max() <= 4095
            highest = max(highest, int(phase.max()))
            assert np.mean(phase == 0) > 0.3, "the air"
            assert np.mean(magnitude == 0) < 0.3, "noise in the air"
    assert highest > 4000


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
        unlabelled = TEMPLATES[row.region].unlabelled
        assert ("adductor_longus" in unlabelled) == (row.region is Region.THIGH)
        left_out = [values[name] for name in values if name.rpartition("_")[0] in unlabelled]
        expected = (compartments > 0) & ~np.isin(compartments, left_out)
        assert np.array_equal(read_volume(row.mask).data > 0, expected)  # no gap is filled in voxels of 2.5 mm
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
    assert max(means["control"]) < 15  # voxels of 2.5 mm, so much of it fat at borders


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
    assert 0.86 < np.mean(scores["control"]) < 0.91
    assert 0.72 < np.mean(scores["severe"]) < 0.82
    assert len(scores["severe"]) >= 3
    assert np.mean(scores["severe"]) < np.mean(scores["control"]) - 0.08


def test_visits_share_anatomy_and_the_disease_goes_on(small: Callable[..., str], tmp_path: Path) -> None:
    out = generate(tmp_path / "out", preset=small(), seed=1)
    rows = [row for row in read_table(out).acquisitions if row.region is Region.THIGH]
    assert [row.session for row in rows] == ["ses-1", "ses-2", "ses-3"]
    masks = [labelled(row, row.mask) > 0 for row in rows]
    first, retest, later = (
        float(labelled(row, row.fat_fraction)[mask].mean()) for row, mask in zip(rows, masks, strict=True)
    )
    assert not np.array_equal(masks[0], masks[1])
    assert masks[0].sum() == pytest.approx(masks[1].sum(), rel=0.1)
    assert first == pytest.approx(retest, abs=3)
    assert later > max(first, retest) + 3
    with (out.parent / "sessions.csv").open() as file:
        sessions = list(csv.DictReader(file))
    assert [row["weeks"] for row in sessions] == ["0", "2", "52"]
    assert float(sessions[2]["severity"]) == pytest.approx(float(sessions[0]["severity"]) + 0.2, abs=1e-3)
    assert int(sessions[2]["age"]) == int(sessions[0]["age"]) + 1
    assert {row["sex"] for row in sessions} in ({"female"}, {"male"})


@pytest.mark.parametrize(
    ("sequence", "stack"),
    [
        ("dixon", Stack(rows=40, columns=80, voxel_mm=5.0, slices=1, points=1)),
        ("turbo_spin_echo", Stack(rows=40, columns=40, voxel_mm=5.0, slices=1, points=1)),
    ],
)
def test_a_subject_comes_back_to_the_same_scanner(sequence: Sequence, stack: Stack) -> None:
    group = Group(name="control", subjects=2, severity=(0.0, 0.5), retested=2)
    preset = Preset(groups=(group,), sequence=sequence, stack=stack)
    seen = []
    for subject in list_subjects(preset):
        sessions = list(scan_subject(preset, subject, 1))
        assert [session.visit.session for session in sessions] == [1, 1, 2, 2]
        for first, again in zip(sessions[:2], sessions[2:], strict=True):
            assert first.region is again.region
            assert first.scan.scanner is not None and first.scan.scanner is again.scan.scanner
            assert np.sign(first.scan.affine[0, 0]) == np.sign(again.scan.affine[0, 0])
            assert not np.array_equal(first.scan.compartments, again.scan.compartments)  # it lies another way
            seen.append(first.scan.scanner.noise)
    assert len(set(seen)) == 4  # one for each subject and region


def test_middle_slice_alone_is_that_of_the_whole_stack(small: Callable[..., str], tmp_path: Path) -> None:
    whole, middle = (
        read_table(generate(tmp_path / slices, preset=small(), seed=1, slices=slices)).acquisitions
        for slices in ("all", "mid")
    )
    assert [row.slice for row in whole] == [1] * 5
    assert [row.slice for row in middle] == [0] * 5
    for row, other in zip(whole, middle, strict=True):
        assert row.mask is not None and other.mask is not None
        for name in ("te345_magnitude", "te575_phase", "compartments", "true_fat_fraction"):
            stack, one = (read_volume(file.with_name(f"{name}.nii.gz")) for file in (row.mask, other.mask))
            assert stack.data.shape[2] == 3
            assert np.array_equal(stack.data[:, :, [1]], one.data)
            place = [nib.affines.apply_affine(v.geometry.affine, [5, 6, k]) for v, k in ((stack, 1), (one, 0))]
            assert place[0] == pytest.approx(place[1], abs=1e-3)


def test_label_all_leaves_the_slice_blank(small: Callable[..., str], tmp_path: Path) -> None:
    table = read_table(generate(tmp_path / "out", preset=small(), seed=1, label_all=True))
    assert {row.slice for row in table.acquisitions} == {None}
    for row in table.acquisitions:
        assert row.mask is not None
        assert read_volume(row.mask).data.any(axis=(0, 1)).all(), "every slice is drawn"


def test_turbo_spin_echo_shows_one_limb(small: Callable[..., str], tmp_path: Path) -> None:
    children = Group(name="DMD", subjects=3, severity=(0.3, 0.9), ages=(6.0, 12.0))
    stack = Stack(rows=80, columns=80, voxel_mm=2.0, slices=2, slice_mm=3.0, points=2)
    preset = small(groups=(children,), sequence="turbo_spin_echo", stack=stack, alternate=True)
    table = read_table(generate(tmp_path / "out", preset=preset, seed=1))
    assert [row.region for row in table.acquisitions] == [Region.CALF, Region.THIGH, Region.CALF]
    for row in table.acquisitions:
        assert set(row.channels) == {"fat", "water"}
        assert row.limbs in (Limbs.LEFT, Limbs.RIGHT)
        assert row.mask is not None
        drawn = set(np.unique(read_volume(row.mask.with_name("compartments.nii.gz")).data)) - {0}
        own = {value for name, value in compartment_values(row.region).items() if name.endswith(row.limbs.value)}
        assert drawn and drawn <= own


@pytest.mark.parametrize(
    ("generator", "channels"),
    [("any_scanner", {"fat"}), ("any_contrast", {"image"}), ("any_dixon", {"fat", "water", "te345", "te575"})],
)
def test_slices_of_scanners_at_random_come_from_their_own_generator(
    small: Callable[..., str], tmp_path: Path, generator: str, channels: set[str]
) -> None:
    few = replace(find_preset(generator).groups[0], subjects=2)
    preset = small(groups=(few,), stack=None, sequence=generator, alternate=True)
    table = read_table(generate(tmp_path / "out", preset=preset, seed=1))
    assert [row.region for row in table.acquisitions] == [Region.CALF, Region.THIGH]
    for row in table.acquisitions:
        assert set(row.channels) == channels
        assert row.fat_fraction is None
        mask, *images = (labelled(row, file) for file in (row.mask, *row.channels.values()))
        assert all(mask.shape == image.shape for image in images)
        assert mask.any()


def test_children_are_smaller() -> None:
    rng = np.random.default_rng(0)
    child = Group(name="DMD", subjects=1, severity=(0.0, 1.0), ages=(6.0, 12.0))
    adult = Group(name="IBM", subjects=1, severity=(0.0, 1.0), ages=(45.0, 80.0))
    children, adults = ([sample_body(rng, group) for _ in range(30)] for group in (child, adult))
    assert all(6 <= body.age <= 12 and body.size < 0.95 and not body.female for body in children)
    assert all(45 <= body.age <= 80 and body.size > 0.8 for body in adults)


def test_none_with_kennedys_disease_is_female() -> None:
    bodies: dict[str, list[bool]] = {}
    for subject in list_subjects(find_preset("paper")):
        body = sample_body(np.random.default_rng([1, subject.index]), subject.group)
        bodies.setdefault(subject.group.name, []).append(body.female)
    females = {name: sum(those) for name, those in bodies.items()}
    assert females.pop("KD") == 0
    assert all(0.2 < count / len(bodies[name]) < 0.8 for name, count in females.items())


def test_a_subject_keeps_the_limb_that_the_turbo_spin_echo_shows() -> None:
    children = Group(name="DMD", subjects=6, severity=(0.3, 0.9), ages=(6.0, 12.0), retested=6)
    stack = Stack(rows=40, columns=40, voxel_mm=4.0, slices=1, slice_mm=3.0, points=1)
    preset = Preset(groups=(children,), sequence="turbo_spin_echo", stack=stack)
    shown = [{one.scan.limbs for one in scan_subject(preset, subject, 1)} for subject in list_subjects(preset)]
    assert all(len(sides) == 1 for sides in shown)
    assert set().union(*shown) == {Limbs.RIGHT, Limbs.LEFT}


def test_long_generations_tell_how_far_they_are(
    small: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    two = Group(name="control", subjects=2, severity=(0.0, 0.1))
    with caplog.at_level(logging.INFO, "musclesense"):
        generate(tmp_path / "out", preset=small(groups=(two,)), seed=1, slices="mid")
    assert capsys.readouterr().out == ""
    (said,) = caplog.messages
    assert said.startswith("phantom: 1 of 2 subjects, about 0.")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: generate(out, preset="gold", seed=1), r"'gold' is unknown; use smoke, demo"),
        (lambda out: generate(out, preset="smoke", seed=-1), "seed -1 is negative"),
        (lambda out: generate(out, preset="smoke", seed=1, workers=0), "workers 0 is too few"),
        (lambda out: generate(out, preset="smoke", seed=1, slices="top"), "slices 'top' is unknown"),  # type: ignore[arg-type]
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


# Past failures: a traceback where a name is too long, or where the workers are more than any machine has


def test_a_name_too_long_for_the_disk_is_refused(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 300)
    with pytest.raises(InputError) as caught:
        generate(out, preset="smoke", seed=1)
    assert caught.value.problems == (f"{out}: cannot be written (File name too long); give a shorter name",)


def test_there_are_no_more_workers_than_subjects(small: Callable[..., str], tmp_path: Path) -> None:
    assert generate(tmp_path / "out", preset=small(), seed=1, workers=10**10).exists()


def test_fat_lies_off_as_far_as_the_header_tells(table: CohortTable) -> None:
    signs = set()
    for row in table.acquisitions[:8]:
        folder = row.channels["fat"].parent
        along, across = json.loads((folder / "scan.json").read_text())["fat_shift_voxels"]
        assert 0.2 <= abs(along) <= 0.8 and across == 0
        signs.add(np.sign(along))
        fat, water = (read_volume(folder / f"{name}.nii.gz").data[..., 0].astype(float) for name in ("fat", "water"))
        body = ndimage.gaussian_filter(fat + water, 1) > 0.2 * np.percentile(fat + water, 99)
        percent = read_volume(folder / "true_fat_fraction.nii.gz").data[..., 0] * body
        # The fat image fits the true one best where that is moved as the header says, not the other way.
        moved = (ndimage.shift(percent, (step, 0), order=1) for step in (along, -along))
        fits = [np.corrcoef(one[body], fat[body])[0, 1] for one in moved]
        assert fits[0] > fits[1]
    assert signs == {-1, 1}


# Stopped


SLOW = """
import os, signal, sys, threading, time
from pathlib import Path
from musclesense.endings import told
from musclesense.phantom.cohorts import generate

def make(root, preset, seed, middle_only, label_all, subject):
    (root / subject.name).mkdir()
    time.sleep(86400)

def stop():
    while len(list(Path().glob(".phantom.*/*"))) < 2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    generate.make_subject = make
    threading.Thread(target=stop, daemon=True).start()
    with told():
        generate.generate(Path("phantom"), preset="smoke", seed=1, workers=2)
"""


def test_subjects_in_the_making_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "slow.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert done.returncode == 130
    assert done.stderr == f"stopped by Ctrl+C: {AGAIN}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["slow.py"], "no copies of images are left"
