"""The literal command on a real Slurm: jobs cancelled and pre-empted, a submitting process killed, the same table."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..shared.waiting import LONGEST_SECONDS, end, wait_until

PROJECT = Path(__file__).parents[2]
# More epochs than the smoke test's own, so that there is a middle to be interrupted in.
CPU = "trainer.accelerator=cpu"
LITERAL = ("-m", "outer=0..4", "inner=0..4", "experiment=smoke", "trainer.max_epochs=24", CPU)
ON_SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=null",
    "hydra.launcher.look_every_s=2",
)
# A job of three minutes is told to leave half a minute before its end, or up to a minute earlier.
LONG = ("-m", "outer=0", "inner=0", "experiment=smoke", "trainer.max_epochs=100", "early_stopping.patience=100", CPU)
SHORT_OF_TIME = ("hydra.launcher.timeout_min=3", "hydra.launcher.signal_delay_s=30")
TIMED_OUT = "this job is timed-out"
CANCELLED_WHILE_RUNNING, CANCELLED_WHILE_PENDING = "outer0_inner1", "outer4_inner4"
REQUEUED = "outer0_inner3"
TOLD_TO_LEAVE = {"outer1_inner0": "TERM", "outer1_inner2": "USR1"}
URGENT = ("--parsable", "--partition=urgent", "--ntasks=2", "--output=/dev/null")
LEFT = "SIG{} while Slurm calls the job RUNNING"
PREEMPTED = LEFT.format("TERM")

Ask = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended: its study, how it ended and what it printed."""

    study: Path
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start ``python train.py`` in a folder; what still runs at the end, as when a test fails, is killed."""
    processes: list[subprocess.Popen[str]] = []

    def begin(folder: Path, environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "train.py"), *arguments],
            cwd=folder,
            env={**environment, "OMP_NUM_THREADS": "1"},  # as in the jobs, so that sums are added in the same order
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        end(process)


def ended(process: "subprocess.Popen[str]", folder: Path) -> Sweep:
    out, err = process.communicate(timeout=LONGEST_SECONDS)
    (study,) = (path for path in (folder / "runs").iterdir() if not path.name.startswith("."))
    return Sweep(study, process.returncode, out, err)


def wait_for(reached: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    try:
        wait_until(reached, process)
    except AssertionError as error:
        error.add_note(process.communicate()[1] if process.poll() is not None else "it still runs")
        raise


def table_of(study: Path) -> bytes:
    return (study / "report" / "nested_cv.csv").read_bytes()


def epochs_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def log_of(run: Path) -> str:
    path = run / "slurm.log"
    return path.read_text() if path.is_file() else ""


def starts_of(run: Path) -> int:
    return log_of(run).count("Starting with JobEnvironment")


def halt_until_told(folder: Path, process: "subprocess.Popen[str]") -> None:
    """Halt a run in its middle until Slurm has told it that its time is over, however fast the machine is."""

    def middle() -> list[Path]:
        return list(folder.glob("runs/[!.]*/outer0_inner0/checkpoints/last.ckpt"))

    wait_for(lambda: bool(middle()), process)
    run = middle()[0].parents[1]
    pid = int((run.parent / f".{run.name}.lock").read_text().split()[1])
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: TIMED_OUT in log_of(run) or is_pending(signal.SIGUSR2, pid), process)
    os.kill(pid, signal.SIGCONT)


def is_pending(number: signal.Signals, pid: int) -> bool:
    """Tell whether a signal waits for a process that is halted."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def bystanders(study: Path) -> list[Path]:
    """The runs that nothing but a more urgent job strikes, as far as they have begun."""
    struck = {CANCELLED_WHILE_RUNNING, CANCELLED_WHILE_PENDING, REQUEUED, *TOLD_TO_LEAVE}
    return [path.parents[1] for path in study.glob("*/checkpoints/last.ckpt") if path.parts[-3] not in struck]


@pytest.fixture(scope="module")
def serial(cluster: dict[str, str], start: Start, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("serial")
    return ended(start(folder, dict(os.environ), *LITERAL), folder)


@pytest.fixture(scope="module")
def troubled(cluster: dict[str, str], ask: Ask, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep on Slurm, two of whose jobs are cancelled and others pre-empted."""
    folder = tmp_path_factory.mktemp("slurm")
    process = start(folder, cluster, *LITERAL, *ON_SLURM)

    def run(name: str) -> Path:
        return next(folder.glob(f"runs/[!.]*/{name}"), folder / "none")

    def in_the_middle(name: str) -> bool:
        return (run(name) / "checkpoints" / "last.ckpt").is_file()

    def job(name: str) -> str:
        return (run(name) / "slurm_id").read_text().strip()

    wait_for(lambda: (run(CANCELLED_WHILE_PENDING) / "slurm_id").is_file(), process)
    ask("scancel", job(CANCELLED_WHILE_PENDING))
    strikes = {
        CANCELLED_WHILE_RUNNING: ("scancel",),
        REQUEUED: ("scontrol", "requeue"),  # by somebody's order, as when a node is taken out of service
        **{name: ("scancel", f"--signal={kind}") for name, kind in TOLD_TO_LEAVE.items()},
    }
    signals = []
    while strikes:  # each as soon as it has begun, whatever order the jobs run in: they take seconds
        wait_for(lambda: any(map(in_the_middle, strikes)), process)
        for name in filter(in_the_middle, tuple(strikes)):
            command = (*strikes.pop(name), job(name))
            if name in TOLD_TO_LEAVE:
                # The signal is sent at once; then scancel waits, to send it again, for a job that is being requeued.
                signals.append(subprocess.Popen(("timeout", "5", *command), env=cluster, stderr=subprocess.DEVNULL))
            else:
                ask(*command)
    # A job that wants both cores pre-empts whatever is on them by then, training or importing. Told while it trains, a
    # run leaves a record; it may just have ended instead, and then a later one is tried.
    study = run(REQUEUED).parent
    while not any(PREEMPTED in log_of(path) for path in bystanders(study)):
        wait_for(lambda: any(not (path / "done.json").exists() for path in bystanders(study)), process)
        ask("sbatch", "--wait", *URGENT, "--wrap=sleep 1")
    for sent in signals:
        sent.wait()  # whatever it says: the logs of the jobs tell
    return ended(process, folder)


def test_cancelled_jobs_are_named_and_the_others_are_finished(troubled: Sweep) -> None:
    assert troubled.code == 1
    assert "Traceback" not in troubled.err
    lost = sorted([CANCELLED_WHILE_RUNNING, CANCELLED_WHILE_PENDING])
    failed = [line for line in troubled.err.splitlines() if line.startswith("failed: ")]
    assert failed == [f"failed: {Path('runs') / troubled.study.name / name} (see error.txt there)" for name in lost]
    reasons = {name: (troubled.study / name / "error.txt").read_text() for name in lost}
    assert "ended without a result (CANCELLED); see slurm.log" in reasons[CANCELLED_WHILE_RUNNING]
    assert "left the queue before it started" in reasons[CANCELLED_WHILE_PENDING]
    assert "23 of 25 runs finished" in troubled.out
    assert starts_of(troubled.study / CANCELLED_WHILE_RUNNING) == 1


def test_each_run_leads_to_the_log_of_its_job(troubled: Sweep) -> None:
    for done in troubled.study.glob("*/done.json"):
        log = log_of(done.parent)
        assert f"{done.parent.name}  DSC " in log
        assert (done.parent / "slurm_id").read_text().strip() in log


def test_preempted_jobs_go_on_from_their_last_epoch(troubled: Sweep, serial: Sweep) -> None:
    again = {done.parent for done in troubled.study.glob("*/done.json") if starts_of(done.parent) > 1}
    assert {REQUEUED, *TOLD_TO_LEAVE} <= {run.name for run in again}
    for name, kind in TOLD_TO_LEAVE.items():
        assert LEFT.format(kind) in log_of(troubled.study / name)
    preempted = {run for run in bystanders(troubled.study) if PREEMPTED in log_of(run)}
    assert preempted
    assert preempted <= again
    for run in again:
        assert epochs_of(run) == epochs_of(serial.study / run.name)


def test_the_same_command_finds_its_jobs_and_ends_with_the_table_of_the_serial_run(
    troubled: Sweep, serial: Sweep, cluster: dict[str, str], ask: Ask, start: Start
) -> None:
    folder, lost = troubled.study.parents[1], (CANCELLED_WHILE_RUNNING, CANCELLED_WHILE_PENDING)
    before = {path: path.stat().st_mtime_ns for path in troubled.study.glob("*/done.json")}
    ids = [(troubled.study / name / "slurm_id") for name in lost]
    old = [path.read_text() for path in ids]
    blocker = ask("sbatch", *URGENT, "--wrap=sleep 3600").strip()  # keeps the jobs in the queue
    process = start(folder, cluster, *LITERAL, *ON_SLURM)
    wait_for(lambda: all(path.read_text() != was for path, was in zip(ids, old, strict=True)), process)
    process.kill()
    process.communicate()
    sent = [path.read_text() for path in ids]
    process = start(folder, cluster, *LITERAL, *ON_SLURM)
    assert process.stderr is not None
    assert any(f"2 runs are in the queue already: {sent[0].split('_')[0]}" in line for line in process.stderr)
    ask("scancel", blocker)
    done = ended(process, folder)
    assert done.code == 0, done.err
    assert [path.read_text() for path in ids] == sent
    after = {path: path.stat().st_mtime_ns for path in troubled.study.glob("*/done.json")}
    assert {path.parent.name for path in after if after[path] != before.get(path)} == set(lost)
    assert serial.code == 0
    assert table_of(done.study) == table_of(serial.study)


def test_a_job_that_meets_its_time_goes_on_in_a_new_one(cluster: dict[str, str], start: Start, tmp_path: Path) -> None:
    apart, folder = tmp_path / "serial", tmp_path / "slurm"
    apart.mkdir()
    folder.mkdir()
    beside = start(apart, dict(os.environ), *LONG)
    process = start(folder, cluster, *LONG, *ON_SLURM, *SHORT_OF_TIME)
    halt_until_told(folder, process)
    timed, serial = ended(process, folder), ended(beside, apart)
    assert (serial.code, timed.code) == (0, 0), timed.err
    run = timed.study / "outer0_inner0"
    assert TIMED_OUT in log_of(run)
    assert starts_of(run) > 1
    assert epochs_of(run) == epochs_of(serial.study / run.name)
    assert table_of(timed.study) == table_of(serial.study)


def test_what_slurm_refuses_is_one_line(cluster: dict[str, str], start: Start, tmp_path: Path) -> None:
    refused = ended(start(tmp_path, cluster, *LITERAL, *ON_SLURM, "hydra.launcher.partition=nowhere"), tmp_path)
    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert refused.err.splitlines()[-1].startswith(
        "error: hydra/launcher=slurm: Batch job submission failed: Invalid partition name specified; change "
    )
