"""``python train.py -m outer=0..4 inner=0..4``: 25 runs, resumed, repeated, failed, in any launcher."""

import csv
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import pytest

from ..shared.waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]

LITERAL = ("-m", "outer=0..4", "inner=0..4")
SMOKE = "experiment=smoke"

# One worker does them all: they share the sweep.
pytestmark = pytest.mark.xdist_group("multirun")


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: its folder, its one study and what it printed."""

    folder: Path
    study: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, train: Command) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    done = train(folder, *LITERAL, SMOKE, "logger=wandb")
    assert done.returncode == 0, done.stderr
    (study,) = (path for path in (folder / "runs").iterdir() if not path.name.startswith("."))
    return Sweep(folder, study, done.stdout, done.stderr)


def runs_of(study: Path) -> list[Path]:
    return sorted(done.parent for done in study.glob("*/done.json"))


def copy_of(sweep: Sweep, folder: Path) -> Path:
    """Give a copy of the sweep whose files keep their times, so that the cache still fits the phantom."""
    shutil.copytree(sweep.folder, folder, dirs_exist_ok=True, copy_function=shutil.copy2)
    return folder / "runs" / sweep.study.name


def table_of(study: Path) -> bytes:
    return (study / "report" / "nested_cv.csv").read_bytes()


def epochs_of(run: Path) -> list[dict[str, str]]:
    """The record of a run's epochs, but for how long they took."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_25_finished_runs_of_one_study(sweep: Sweep) -> None:
    assert [run.name for run in runs_of(sweep.study)] == [f"outer{o}_inner{i}" for o in range(5) for i in range(5)]


def test_every_subject_is_tested_once_in_each_inner_fold(sweep: Sweep) -> None:
    tested: dict[int, list[str]] = {inner: [] for inner in range(5)}
    subjects = set()
    for run in runs_of(sweep.study):
        rows = list(csv.DictReader((run / "cases.csv").read_text().splitlines()))
        assert {(int(row["outer"]), int(row["inner"])) for row in rows} == {(int(run.name[5]), int(run.name[12]))}
        tested[int(run.name[12])] += sorted({row["subject"] for row in rows})
        subjects |= {row["subject"] for row in rows}
    for names in tested.values():
        assert sorted(names) == sorted(subjects)


def test_what_is_printed(sweep: Sweep) -> None:
    ended = [line for line in sweep.err.splitlines() if line.startswith("outer")]
    assert len(ended) == len({line.split()[0] for line in ended}) == 25
    assert "25 of 25" in ended[-1]
    assert "Traceback" not in sweep.err
    assert "Phantom data" in sweep.out
    assert "0.950 (0.025)" in sweep.out
    page = Path(sweep.out.rsplit("report: ", 1)[1].strip())
    assert (sweep.folder / page).is_file()


def test_25_separate_wandb_runs(sweep: Sweep) -> None:
    written = list(sweep.study.glob("*/wandb/offline-run-*/run-*.wandb"))
    assert len({path.stem for path in written}) == len({path.parents[2] for path in written}) == 25


def test_an_ablation_ends_with_its_comparison(tmp_path: Path, train: Command) -> None:
    asked = (SMOKE, "+ablation=width", "model.width=2,3", "outer=0", "inner=0", "trainer.max_epochs=1")
    done = train(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    first, second = (next((tmp_path / "runs").glob(f"width_{width}-phantom-smoke-*")) for width in (2, 3))
    (compared,) = (tmp_path / "runs" / "compared").iterdir()
    assert compared.name == f"width-{first.name[-8:]}"
    assert f"compared: {compared.relative_to(tmp_path)}" in done.stderr
    assert f"Reference: {first.name}" in done.stdout
    assert "  model.width: 2 | 3\n" in done.stdout
    rows = list(csv.DictReader((compared / "compare.csv").read_text().splitlines()))
    assert {(row["study"], row["region"]) for row in rows} == {(second.name, "calf"), (second.name, "thigh")}


def test_a_second_time_nothing_is_trained(sweep: Sweep, tmp_path: Path, train: Command) -> None:
    study = copy_of(sweep, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in study.glob("outer*/**/*") if path.is_file()}
    again = train(tmp_path, *LITERAL, SMOKE)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in study.glob("outer*/**/*") if path.is_file()} == before
    assert table_of(study) == table_of(sweep.study)


def test_a_run_without_done_is_the_only_one_trained(sweep: Sweep, tmp_path: Path, train: Command) -> None:
    study = copy_of(sweep, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in study.glob("*/done.json")}
    (study / "outer2_inner3" / "done.json").unlink()
    assert train(tmp_path, *LITERAL, SMOKE).returncode == 0
    after = {path: path.stat().st_mtime_ns for path in study.glob("*/done.json")}
    assert {path.parent.name for path in after if after[path] != before[path]} == {"outer2_inner3"}
    assert table_of(study) == table_of(sweep.study)


def test_killed_and_started_again_it_ends_the_same(sweep: Sweep, tmp_path: Path, train: Command, start: Start) -> None:
    study = copy_of(sweep, tmp_path)
    lost = [f"outer{outer}_inner{inner}" for outer in (3, 4) for inner in range(5)]
    for name in lost:
        shutil.rmtree(study / name)
    process = start(tmp_path, *LITERAL, SMOKE)
    # In the middle of the third run, once it has an epoch to go on from.
    wait_until((study / lost[2] / "checkpoints" / "last.ckpt").is_file, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(runs_of(study)) < 25
    done = train(tmp_path, *LITERAL, SMOKE)
    assert done.returncode == 0, done.stderr
    assert table_of(study) == table_of(sweep.study)
    for name in lost:
        assert epochs_of(study / name) == epochs_of(sweep.study / name)


def test_a_failing_run_does_not_stop_the_others(sweep: Sweep, tmp_path: Path, train: Command) -> None:
    study = copy_of(sweep, tmp_path)
    for inner in (0, 1):
        shutil.rmtree(study / f"outer0_inner{inner}")
    (study / "outer0_inner0" / "metrics.csv").mkdir(parents=True)  # in the way of a file
    done = train(tmp_path, *LITERAL, SMOKE)
    assert done.returncode == 1
    assert len(runs_of(study)) == 24
    assert json.loads((study / "outer0_inner0" / "failed.json").read_text())["outer"] == 0
    assert f"failed: {study.relative_to(tmp_path) / 'outer0_inner0'}" in done.stderr
    assert "24 of 25 runs finished" in done.stdout


def test_two_processes_share_a_sweep(
    sweep: Sweep, tmp_path: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The joblib launcher, from nothing: phantom, cache and folds are made once between its workers."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # obeyed where set
        monkeypatch.delenv(name, raising=False)
    done = train(tmp_path, "-m", "outer=0..1", "inner=0..1", SMOKE, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    # On a slow machine the second says that it waits for what the first makes.
    lines = [line for line in done.stderr.splitlines() if ": waiting for process " not in line]
    told = [line for line in lines if not line.startswith("phantom: ")]
    assert told[0].startswith("4 of 4 runs to do")
    assert sorted(line.split("  DSC")[0] for line in told[1:]) == [f"outer{o}_inner{i}" for o in (0, 1) for i in (0, 1)]
    (study,) = (path for path in (tmp_path / "runs").iterdir() if not path.name.startswith("."))
    assert study.name == sweep.study.name
    assert (study / "folds.json").read_bytes() == (sweep.study / "folds.json").read_bytes()
    for run in runs_of(study):
        assert (run / "cases.csv").read_bytes() == (sweep.study / run.name / "cases.csv").read_bytes()
        assert json.loads((run / "done.json").read_text())["threads"] == max(1, joblib.cpu_count() // 2)
    assert len(runs_of(study)) == 4


def test_a_sweep_whose_runs_take_two_devices_each(sweep: Sweep, tmp_path: Path, train: Command) -> None:
    study = copy_of(sweep, tmp_path)
    lost = [study / f"outer4_inner{inner}" for inner in (3, 4)]
    for run in lost:
        shutil.rmtree(run)
    done = train(tmp_path, *LITERAL, SMOKE, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    assert done.returncode == 0, done.stderr
    assert len(runs_of(study)) == 25
    for run in lost:
        assert json.loads((run / "done.json").read_text())["devices"] == 2
        alone = sweep.study / run.name
        tested, expected = (
            [(row["line"], row["label"]) for row in csv.DictReader((folder / "cases.csv").read_text().splitlines())]
            for folder in (run, alone)
        )
        assert tested == expected
        assert len(epochs_of(run)) == len(epochs_of(alone))


def test_editions_and_channel_sets_are_studies_of_their_own(sweep: Sweep, tmp_path: Path, train: Command) -> None:
    copy_of(sweep, tmp_path)
    folds = ("outer=0..1", "inner=0")
    editions = train(tmp_path, "-m", "edition=professional,simplified", *folds, SMOKE, "model.depth=2")
    channels = train(tmp_path, "-m", "channels=[water],[fat,water]", *folds, SMOKE, "model.depth=2")
    assert (editions.returncode, channels.returncode) == (0, 0), editions.stderr + channels.stderr
    studies = {path.parents[1] for path in (tmp_path / "runs").glob("*/*/done.json")} - {
        tmp_path / "runs" / sweep.study.name
    }
    assert sorted(study.name.split("-lower_limb-")[1].rsplit("-", 1)[0] for study in studies) == [
        "fat",
        "fat+water",
        "fat+water+te345+te575",
        "water",
    ]
    assert all(len(runs_of(study)) == 2 for study in studies)


def test_hydra_shows_a_configuration_and_nothing_is_trained(tmp_path: Path, train: Command) -> None:
    shown = train(tmp_path, "--cfg", "job", "edition=simplified")
    assert shown.returncode == 0
    assert "channels:\n- fat\nregion:" in shown.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["outer=5"], ["-m", "outer=0..5"], ["edition=gold"]])
def test_bad_input_ends_with_one_line_and_code_2(tmp_path: Path, train: Command, arguments: list[str]) -> None:
    done = train(tmp_path, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
