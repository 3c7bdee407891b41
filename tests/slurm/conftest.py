"""A Slurm of one node in a folder of its own: Debian's packages, no systemd, no cgroups, nothing below /etc touched."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ..shared.waiting import LONGEST_SECONDS

PACKAGES = ("slurm-wlm", "munge")
_COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch")

# Jobs are told apart by their processes' parents and are not bound to cores, which asks for no rights of the host.
# cred_expire: a requeued job waits so long (Slurm's default is two minutes) before it can start again.
_CONFIGURATION = """
ClusterName=musclesense
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=2
PartitionName=main Nodes={host} Default=YES PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes={host} PriorityTier=2
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find a cluster that runs for the session."""
    if not os.environ.get("MUSCLESENSE_TEST_SLURM"):
        pytest.skip("installs and starts Slurm: make test-slurm")
    if reason := _why_not():
        pytest.skip(reason)
    # Not below pytest's own folder: the path of munge's socket has to be short.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, _running(Path(folder)) as environment:
        yield environment


@pytest.fixture(scope="session")
def ask(cluster: dict[str, str]) -> Callable[..., str]:
    """Give what a command of Slurm's prints; it must not fail."""

    def run(*command: str) -> str:
        return subprocess.run(
            command, env=cluster, check=True, stdout=subprocess.PIPE, text=True, timeout=LONGEST_SECONDS
        ).stdout

    return run


def _why_not() -> str | None:
    """Install Slurm where it is missing; tell why it cannot run here, or None where it can."""
    if not sys.platform.startswith("linux"):
        return f"Slurm's daemons run on Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "Slurm's daemons start jobs as root, and this user is not root"
    if all(shutil.which(command) for command in _COMMANDS):
        return None
    if shutil.which("apt-get") is None:
        return f"{' and '.join(PACKAGES)} are not installed, and there is no apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    impatient = ("-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1")
    for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(["apt-get", "-qq", *impatient, *arguments], env=quiet, capture_output=True, text=True)
        if done.returncode:
            return f"apt-get {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    return None


@contextmanager
def _running(folder: Path) -> Iterator[dict[str, str]]:
    """Run the cluster during the block; it and all of its jobs are stopped afterwards."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    configuration, munge = folder / "slurm.conf", folder / "munge"
    configuration.write_text(
        _CONFIGURATION.format(host=host, folder=folder, controller_port=_free_port(), node_port=_free_port())
    )
    key = munge.with_suffix(".key")
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    files = [f"--{name}-file={munge.with_suffix(f'.{name}')}" for name in ("key", "log", "pid", "seed")]

    def answers(*command: str) -> str | None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS)
        return done.stdout if done.returncode == 0 else None

    daemons: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:

        def start(*command: str) -> None:
            # A daemon outlives its parent's violent end otherwise.
            dependent = ("setpriv", "--pdeathsig", "TERM", *command)
            daemons.append(stack.enter_context(_daemon(dependent, environment, folder / f"{command[0]}.out")))

        def reach(reached: Callable[[], bool], what: str) -> None:
            _wait_for(reached, what, folder, daemons)

        start("munged", "--foreground", "--force", f"--socket={munge}.socket", *files)
        reach(munge.with_suffix(".socket").exists, "munged")
        start("slurmctld", "-D", "-f", str(configuration))
        start("slurmd", "-D", "-f", str(configuration), "-N", host)
        reach(lambda: "idle" in (answers("sinfo", "--noheader", "--format=%t") or ""), "the node")
        try:
            yield environment
        finally:
            answers("scancel", "--me")
            reach(lambda: not (answers("squeue", "--noheader") or "").strip(), "an empty queue")


@contextmanager
def _daemon(command: tuple[str, ...], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(
    reached: Callable[[], bool], what: str, folder: Path, daemons: "Sequence[subprocess.Popen[bytes]]"
) -> None:
    started = time.monotonic()
    while not reached():
        ended = any(daemon.poll() is not None for daemon in daemons)
        if ended or time.monotonic() - started > LONGEST_SECONDS:
            files = sorted([*folder.glob("*.log"), *folder.glob("*.out")])
            logs = "\n".join(f"{file.name}:\n{file.read_text()[-2000:]}" for file in files)
            raise TimeoutError(f"waited {time.monotonic() - started:.0f} s for {what}\n{logs}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
