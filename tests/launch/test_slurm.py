"""Jobs of a Slurm array, without a Slurm: its commands are stand-ins. The real one is in tests/slurm."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.shared.commands import PlanOf

from musclesense.endings import Stopped
from musclesense.errors import InputError
from musclesense.launch import slurm
from musclesense.launch.plan import check
from musclesense.training.settings import Settings

from ..shared.waiting import LONGEST_SECONDS

SLURM = "hydra/launcher=slurm"
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script in place of a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def test_the_plan_knows_that_runs_are_elsewhere(plan_of: PlanOf) -> None:
    assert plan_of("outer=0,1").here
    assert plan_of("hydra/launcher=joblib").here
    assert not plan_of(SLURM, "outer=0,1").here
    assert plan_of(SLURM).waits
    assert not plan_of(SLURM, "hydra.launcher.wait=false").waits


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("hydra.launcher.timeout_mn=5", "hydra.launcher.timeout_mn: no such key"),
        ("hydra.launcher.timeout_min=long", "hydra.launcher.timeout_min=long:"),
        ("trainer.devices=auto", "hydra.launcher: While dereferencing interpolation '${trainer.devices}'"),
    ],
)
def test_bad_resources_are_one_clear_line(plan_of: PlanOf, override: str, line: str) -> None:
    with pytest.raises(InputError) as raised:
        plan_of(SLURM, override)
    (problem,) = raised.value.problems
    assert problem.startswith(line)


def test_one_run_without_multirun_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(InputError, match="add -m"):
        plan_of(SLURM, multirun=False)


def test_a_machine_without_slurm_is_refused_before_anything_is_written(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="hydra/launcher=slurm: no sbatch on this machine; start it where"):
        check(plan_of(SLURM))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("multirun")
def test_what_is_asked_of_slurm_and_what_is_said_of_lost_jobs(
    tmp_path: Path, commands: Callable[[str, str], None]
) -> None:
    """Two jobs are taken, one starts, and they are never seen in the queue again."""
    commands("sbatch", f"cp $1 {tmp_path}/script; echo epoch > $(dirname $1)/7_0_0_log.out; echo Submitted batch job 7")
    commands("srun", "exit 1")
    commands("squeue", "exit 0")
    commands("scontrol", "[ $3 = 7_1 ] || echo JobState=FAILED Reason=None")
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "train.py", "-m", "outer=0", "inner=0,1", "experiment=smoke", "study=lost"),
            *("hydra/launcher=slurm", "hydra.launcher.look_every_s=0.1", "hydra.launcher.array_parallelism=1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
    )
    script = (tmp_path / "script").read_text().splitlines()
    for line in ("gpus-per-node=1", "ntasks-per-node=1", "time=240", "signal=USR2@120", "requeue", "array=0-1%1"):
        assert f"#SBATCH --{line}" in script
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "2 jobs sent: 7; slurm.log in each run's folder" in done.stderr
    reasons = (
        "job 7_0 ended without a result (FAILED); see slurm.log",
        "job 7_1 left the queue before it started, as when it is cancelled",
    )
    for inner, reason in enumerate(reasons):
        run = tmp_path / "runs" / "lost" / f"outer0_inner{inner}"
        assert f"outer0_inner{inner}  failed: {reason}" in done.stderr
        assert f"failed: runs/lost/outer0_inner{inner} (see error.txt there)" in done.stderr
        assert json.loads((run / "failed.json").read_text())["error"] == reason
        assert (run / "slurm.log").readlink() == Path(f"../../.sweep/slurm/7_{inner}_0_log.out")


@pytest.fixture
def runs(plan_of: PlanOf, tmp_path: Path) -> dict[str, Settings]:
    """The runs of three jobs."""
    plan = plan_of(SLURM, "inner=0,1,2", f"runs={tmp_path / 'runs'}")
    for run in plan.runs:
        run.run.path.mkdir(parents=True)
    return {f"5_{number}": run for number, run in enumerate(plan.runs)}


def test_only_jobs_that_are_gone_for_several_looks_are_lost(
    runs: dict[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comes back, as a requeued job may; while Slurm does not answer nothing is concluded."""
    one, two, three = runs
    looks: Iterator[set[str] | None] = iter([{one, two}, None, {two}, {two}, None, {one}, {one}, set(), set(), set()])

    def queue() -> set[str] | None:
        look = next(looks)
        if look == {one}:
            (runs[two].run.path / "done.json").write_text("{}")
        return look

    monkeypatch.setattr(slurm, "_queue", queue)
    monkeypatch.setattr(slurm, "_ask", lambda *command: None)
    (runs[three].run.path / "failed.json").write_text('{"error": "out of memory"}')
    slurm._wait(runs, look_every_s=0)
    assert next(looks, "none left") == "none left"
    records = {job: run.run.path / "failed.json" for job, run in runs.items()}
    lost = json.loads(records[one].read_text())["error"]
    assert lost == "job 5_0 left the queue before it started, as when it is cancelled"
    assert json.loads(records[three].read_text())["error"] == "out of memory"
    assert not records[two].exists()


def test_stopping_to_wait_leaves_the_jobs_alone(runs: dict[str, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(slurm, "_queue", interrupted)
    with pytest.raises(Stopped) as raised:
        slurm._wait(runs, look_every_s=0)
    assert raised.value.number == signal.SIGINT
    assert raised.value.way_on == "the jobs go on; the same command waits for them again, and scancel 5 stops them"
    assert not any((run.run.path / "failed.json").exists() for run in runs.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_submitit_lets_pass_ends_the_run_of_a_job(number: signal.Signals) -> None:
    """Its script then requeues it, as the next test shows."""
    code = (
        "import os, signal\nfrom musclesense.launch import slurm\n"
        f"signal.signal({number:d}, lambda *_: print('let pass'))\n"  # as submitit has it
        f"slurm._job(lambda config: os.kill(os.getpid(), {number:d}), None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "")


@pytest.mark.parametrize(
    ("code", "state", "array", "asked"),
    [
        (143, "RUNNING", {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "requeue 7_3\n"),
        (138, "RUNNING", {}, "requeue 7\n"),
        (140, "RUNNING", {}, "requeue 7\n"),  # at its time, before Python can answer
        (143, "COMPLETING", {}, ""),  # cancelled
        (143, "", {}, ""),  # Slurm does not answer
        (137, "RUNNING", {}, ""),  # out of memory
        (0, "RUNNING", {}, ""),
    ],
)
def test_a_job_that_a_signal_ends_is_requeued_by_its_script_unless_it_was_cancelled(
    tmp_path: Path, commands: Callable[[str, str], None], code: int, state: str, array: dict[str, str], asked: str
) -> None:
    commands("squeue", f"echo {state}")
    commands("scontrol", f'echo "$@" > {tmp_path}/asked')
    script = "\n".join([f"(exit {code})", "", "# teardown", slurm._AFTER_JOB.read_text()])
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "SLURM_JOB_ID": "7", **array}, capture_output=True, text=True
    )
    assert done.returncode == code
    names = {138: "SIGUSR1", 140: "SIGUSR2", 143: "SIGTERM"}
    said = f"{names[code]} while Slurm calls the job {state or 'unknown'}\n" if code in names else ""
    assert (done.stdout, done.stderr) == (said, "")
    assert ((tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else "") == asked
