"""The verbs of the command line: what they print, and how they refuse. ``segment`` has its own tests."""

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from musclesense.cli import main as cli
from musclesense.cli.main import main
from musclesense.cohort.folds import NestedFolds, draw
from musclesense.cohort.table import read_table, write_table
from musclesense.dixon.phase import PhaseUnit
from musclesense.imaging.nifti import read_volume
from musclesense.version import __version__
from musclesense.vocabulary import Limbs, Region

VERBS = (
    "check",
    "folds",
    "export-nnunet",
    "import-nnunet",
    "find-scans",
    "phantom",
    "separate",
    "segment",
    "score",
    "models",
    "export-bundle",
    "export-onnx",
    "report",
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest phantom's table, made by the verb."""
    out = tmp_path_factory.mktemp("phantom") / "smoke"
    main(["phantom", str(out), "--preset", "smoke", "--seed", "3"])
    return out / "cohort.csv"


TAKES = dict(cli._VERBS)


def words_of(run: Callable[..., None], out: Path) -> list[str] | None:
    """The fewest words of a verb that writes to ``out``; None where it takes no such place."""
    parser, words = argparse.ArgumentParser(), [run.__name__.replace("_", "-")]
    for argument in TAKES[run]:
        argument(parser)
    actions = [action for action in parser._actions if action.dest != "help"]
    for action in actions:
        values = [str(out)] if action.dest == "out" else ["x"] * (action.nargs if isinstance(action.nargs, int) else 1)
        if action.dest == "out" or action.required:
            words += [*action.option_strings[:1], *values]
    return words if any(action.dest == "out" for action in actions) else None


WRITING = [run for run in TAKES if words_of(run, Path())]


@pytest.mark.parametrize("run", WRITING, ids=lambda run: run.__name__)
def test_where_results_cannot_be_written_no_verb_works(
    run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = list[Path]()

    @functools.wraps(run)
    def verb(**asked: Any) -> None:
        began.append(asked["out"])

    monkeypatch.setattr(cli, "_VERBS", {verb: TAKES[run]})
    (tmp_path / "file").write_text("mine")
    (tmp_path / "lost").symlink_to("gone")
    for place, said in (("file/out", "cannot be written (Not a directory)"), ("lost/out", "a link that leads nowhere")):
        words = words_of(run, tmp_path / place)
        assert words is not None
        (line,) = refused(capsys, *words)
        assert said in line
    assert not began
    for place in ("file", "new/out", "out"):  # what is there, the verb itself may refuse, or add to
        words = words_of(run, tmp_path / place)
        assert words is not None
        main(words)
    assert began == [tmp_path / "file", tmp_path / "new/out", tmp_path / "out"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "lost"]


def test_verbs_that_write_are_many() -> None:
    assert {run.__name__ for run in WRITING} >= {"site", "segment", "find_scans", "compare", "import_dicom", "phantom"}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    lines = err.splitlines()
    assert lines and all(line.startswith("error: ") for line in lines)
    return lines


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    return capsys.readouterr().out


# Start


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom musclesense.cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'lightning', 'matplotlib', 'scipy', 'skimage', 'nibabel', 'hydra'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    said = answered(capsys, "--help")
    assert all(verb in said for verb in VERBS)
    assert "--debug" in said


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys, verb, "--help").startswith(f"usage: musclesense {verb}")


def test_train_is_the_training_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["musclesense"])
    assert "train" in answered(capsys, "--help")
    assert "== Configuration groups ==" in answered(capsys, "train", "--help")
    assert refused(capsys, "train", "wdith=3") == ["error: wdith: no such key; see conf/ for all keys"]
    main(["train", "--cfg", "job", "outer=3"])
    assert capsys.readouterr().out.startswith("outer: 3\n")
    assert list(tmp_path.iterdir()) == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys, "--version") == f"{__version__}\n"


def test_choices_are_those_of_the_rooms_below(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(cli.PHASE_UNITS) == set(PhaseUnit)
    said = answered(capsys, "segment", "--help")
    assert f"{{{','.join(Region)}}}" in said
    assert f"{{auto,{','.join(Limbs)}}}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: VERB; see musclesense --help"),
        (["bake"], "invalid choice: 'bake'"),
        (["check"], "required: COHORT; see musclesense check --help"),
        (["check", "a.csv", "b.csv"], "unrecognized arguments: b.csv"),
        (["folds", "a.csv", "--outer", "five"], "argument --outer: invalid int value: 'five'"),
        (["folds", "a.csv", "--out", "5"], "unrecognized arguments: --out 5"),
        (["separate", "--te345", "--out", "o"], "argument --te345: expected at least one argument"),
        (["separate", "--out", "o"], "required: --te345, --te460, --te575"),
        (["segment"], "required: --out"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, *arguments)
    assert said in line


def test_the_installed_command_exits_with_2(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "musclesense"
    done = subprocess.run([command, "check", "nowhere.csv"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: nowhere.csv: no such cohort table")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_anywhere_shows_the_traceback(place: int, tmp_path: Path) -> None:
    arguments = ["check", str(tmp_path / "no.csv")]
    arguments.insert(place, "--debug")
    code = f"from musclesense.cli.main import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "InputError" in done.stderr


# phantom, check, folds


def test_phantom_prints_its_table(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", str(tmp_path / "again"), "--preset", "smoke", "--seed", "3"])
    assert capsys.readouterr().out == f"{tmp_path / 'again' / 'cohort.csv'}\n"
    assert (tmp_path / "again" / "cohort.csv").read_bytes() == cohort.read_bytes()


def test_phantom_makes_the_middle_slice_or_labels_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, object]] = []

    def make(out: Path, **options: object) -> Path:
        asked.append(options)
        return out / "cohort.csv"

    monkeypatch.setattr("musclesense.phantom.cohorts.generate.generate", make)
    main(["phantom", str(tmp_path / "one")])
    main(["phantom", str(tmp_path / "two"), "--preset", "paper", "--slices", "mid", "--label-all", "--workers", "3"])
    assert asked == [
        {"preset": "demo", "seed": 1, "workers": os.cpu_count(), "slices": "all", "label_all": False},
        {"preset": "paper", "seed": 1, "workers": 3, "slices": "mid", "label_all": True},
    ]


def test_phantom_refuses(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, "phantom", str(tmp_path / "out"), "--preset", "huge")
    assert "preset 'huge' is unknown" in line
    assert not (tmp_path / "out").exists()
    before = sorted(cohort.parent.rglob("*"))
    (line,) = refused(capsys, "phantom", str(cohort.parent), "--preset", "smoke")
    assert str(cohort.parent) in line
    assert sorted(cohort.parent.rglob("*")) == before


def test_check_prints_who_is_in_the_table(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(cohort)])
    said = capsys.readouterr().out
    table = read_table(cohort)
    subjects = len({row.subject for row in table.acquisitions})
    assert said.startswith(f"{cohort}: {subjects} subjects, {len(table.acquisitions)} acquisitions\n")


def test_check_lists_all_problems(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.csv"
    write_table(broken, list(read_table(cohort).acquisitions))
    lines = broken.read_text().splitlines()
    lines[1] = lines[1].replace("fat.nii.gz", "flat.nii.gz", 1)
    lines[2] = lines[2].replace(",calf,", ",hip,").replace(",thigh,", ",hip,")
    broken.write_text("\n".join(lines))
    problems = refused(capsys, "check", str(broken))
    assert len(problems) == 2
    assert any("line 2" in problem and "flat.nii.gz: no such file" in problem for problem in problems)
    assert any("line 3" in problem and "'hip'" in problem for problem in problems)


def test_folds_prints_balance_and_places(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["folds", str(cohort), "--region", "calf", "--outer", "3", "--inner", "2", "--seed", "4"])
    said = capsys.readouterr().out
    table = read_table(cohort)
    calf = [row for row in table.acquisitions if row.region is Region.CALF]
    assert said.startswith(
        f"{len({row.subject for row in calf})} subjects, {len(calf)} acquisitions, seed 4: 3 outer folds"
    )
    assert "thigh" not in said
    main(["folds", str(cohort)])
    assert "5 outer folds of 5 inner folds" in capsys.readouterr().out


def test_folds_refuses_too_many_folds(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, "folds", str(cohort), "--outer", "99")
    assert str(cohort) in line and "too few for 99 outer" in line


# export-nnunet, import-nnunet


def test_nnunet_there_and_back_and_its_masks_scored(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "Dataset001_Smoke"
    main(["export-nnunet", str(cohort), str(dataset), "--channels", "fat", "water", "--outer", "2", "--seed", "3"])
    main(["import-nnunet", str(dataset), str(tmp_path / "back")])
    main(["import-nnunet", str(dataset), str(tmp_path / "study"), "--predictions", str(dataset / "labelsTs")])
    said = capsys.readouterr().out.splitlines()
    assert said == [str(dataset), str(tmp_path / "back" / "cohort.csv"), str(tmp_path / "study" / "outer2_inner0")]
    before, after = read_table(cohort).acquisitions, read_table(tmp_path / "back" / "cohort.csv").acquisitions
    assert [(row.subject, row.slice) for row in after] == [(row.subject, row.slice) for row in before]
    main(["report", str(tmp_path / "study")])
    assert "1.000 (0.000)" in capsys.readouterr().out


def test_nnunet_takes_the_folds_of_a_study(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, drawn = read_table(cohort), tmp_path / "folds.json"
    draw(table.acquisitions, table=table.digest, seed=8, outer=3, inner=2).save(drawn)
    export = ["export-nnunet", str(cohort), str(tmp_path / "Dataset001_A"), "--channels", "fat"]
    main([*export, "--folds", str(drawn)])
    assert NestedFolds.load(tmp_path / "Dataset001_A" / "folds.json") == NestedFolds.load(drawn)
    capsys.readouterr()
    draw(table.acquisitions, table="0" * 64, seed=8).save(tmp_path / "others.json")
    others = [*export[:2], str(tmp_path / "Dataset002_B"), *export[3:], "--folds", str(tmp_path / "others.json")]
    (line,) = refused(capsys, *others)
    assert f"others.json: does not fit ({cohort} has changed since)" in line
    (line,) = refused(capsys, *export)
    assert "exists already" in line
    dataset = str(tmp_path / "Dataset001_A")
    (line,) = refused(capsys, "import-nnunet", dataset, "x", "--predictions", "y", "--region", "calf")
    assert line.startswith("error: --region: does not go with --predictions")


# separate, report


def test_separate_writes_fat_and_water(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = next(iter(read_table(cohort).acquisitions)).channels["fat"].parent
    echoes = []
    for name in ("te345", "te460", "te575"):
        echoes += [f"--{name}", *(str(scan / f"{name}_{kind}.nii.gz") for kind in ("magnitude", "phase"))]
    main(["separate", *echoes, "--out", str(tmp_path / "parts")])
    assert {file.name for file in (tmp_path / "parts").iterdir()} == {
        "fat.nii.gz",
        "water.nii.gz",
        "fat_fraction.nii.gz",
    }
    own, made = (read_volume(folder / "fat.nii.gz").data for folder in (scan, tmp_path / "parts"))
    assert np.abs(own - made).max() < 0.05 * own.max()  # both from whole numbers
    assert capsys.readouterr().err == "phases: 12bit\n"
    (line,) = refused(capsys, "separate", *echoes, "--phase-unit", "radians", "--te345", "no", "no", "--out", "parts")
    assert "no: given twice" in line
    (line,) = refused(capsys, "separate", *echoes, "--te345", "no", "nope", "--out", str(tmp_path / "other"))
    assert "no: no such file" in line
    assert not (tmp_path / "other").exists()


def test_separate_takes_the_spectrum_and_t1_into_account(cohort: Path, tmp_path: Path) -> None:
    row = next(iter(read_table(cohort).acquisitions))
    scan = row.channels["fat"].parent
    echoes = []
    for name in ("te345", "te460", "te575"):
        echoes += [f"--{name}", *(str(scan / f"{name}_{kind}.nii.gz") for kind in ("magnitude", "phase"))]
    main(["separate", *echoes, "--out", str(tmp_path / "one")])
    spectrum = ["--fat-peaks", "6", "--larmor-mhz", "127.74", "--flip-angle", "10", "--tr", "125"]
    main(["separate", *echoes, *spectrum, "--out", str(tmp_path / "six")])
    shift = json.loads((scan / "scan.json").read_text())["fat_shift_voxels"]
    main(["separate", *echoes, *spectrum, "--fat-shift", *map(str, shift), "--out", str(tmp_path / "moved")])
    assert row.mask is not None and row.fat_fraction is not None
    true, muscle = read_volume(row.fat_fraction).data, read_volume(row.mask).data > 0
    # Away from borders, which the images blur and the truth does not.
    within = ndimage.binary_erosion(muscle, np.ones((3, 3, 1)))
    errors = {
        name: np.mean((read_volume(tmp_path / name / "fat_fraction.nii.gz").data - true)[within])
        for name in ("one", "six")
    }
    assert abs(errors["six"]) < 1.5
    assert errors["one"] < errors["six"] - 0.5
    off = {
        name: np.median(np.abs(read_volume(tmp_path / name / "fat_fraction.nii.gz").data - true)[muscle])
        for name in ("six", "moved")
    }
    assert off["moved"] < 0.8 * off["six"], "fat and water lie over each other"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flip-angle", "10"], "--flip-angle: goes with --tr"),
        (["--tr", "125"], "--tr: goes with --flip-angle"),
        (["--flip-angle", "0", "--tr", "125"], "flip angle 0: must lie above 0"),
        (["--fat-peaks", "3"], "argument --fat-peaks: invalid choice: 3"),
        (["--larmor-mhz", "123.2"], "--larmor-mhz: one fat peak does not depend on it"),
        (["--larmor-mhz", "64", "--fat-peaks", "6"], "frequency 64 MHz: not that of a 3 T scanner"),
        (["--fat-shift", "0.5", "40"], "fat shift 40: farther than any scan's"),
        (["--fat-shift", "0.5"], "argument --fat-shift: expected 2 arguments"),
    ],
)
def test_separate_refuses_a_fat_model_that_makes_no_sense(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    echoes = [word for name in ("te345", "te460", "te575") for word in (f"--{name}", "mag", "phase")]
    (line,) = refused(capsys, "separate", *echoes, *options, "--out", str(tmp_path / "parts"))
    assert said in line
    assert not (tmp_path / "parts").exists()


def test_report_refuses_what_is_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        (line,) = refused(capsys, "report", str(folder))
        assert str(folder) in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        "check {}",
        "folds {}",
        "report {}",
        "import-nnunet {} out --region thigh",
        "segment --fat {} --region thigh --model x --out out",
        "segment --fat {}/IM1 --region thigh --model x --out out",
        "separate --te345 {} a --te460 b c --te575 d e --out out",
    ],
)
def test_dicom_is_called_so_wherever_it_is_given(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "IM1").write_bytes(bytes(128) + b"DICM" + bytes(99))
    with pytest.raises(SystemExit) as ended:
        cli.main(words.format("scan").split())
    assert ended.value.code == 2
    kind = "file" if "IM1" in words else "folder"
    command = "musclesense import-dicom scan --out DIR"
    assert f"is a DICOM {kind}; make images of it first, by {command}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
