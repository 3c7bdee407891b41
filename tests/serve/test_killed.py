"""A worker or the server is killed in the middle: what had finished stays, what waited is done."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..shared.waiting import end, wait_until

REPOSITORY = Path(__file__).parents[2]


class Server:
    """A server that may be killed and begun again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "tests.serve.serving", str(self.data)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill the server alone."""
        self.process.kill()
        self.process.communicate()

    def submit(self, region: str) -> str:
        return str(httpx.post(f"{self.address}/api/jobs", files={"example": (None, region)}).json()["id"])

    def state(self, name: str) -> str:
        return str(httpx.get(f"{self.address}/api/jobs/{name}").json()["state"])

    def ended(self, name: str) -> str:
        wait_until(lambda: self.state(name) in ("done", "failed"), self.process)
        return self.state(name)

    def mask(self, name: str) -> bytes:
        return httpx.get(f"{self.address}/api/jobs/{name}/files/mask.nii.gz").raise_for_status().content

    def worker_of(self, name: str) -> int:
        begun = self.data / "jobs" / name / "begun"
        wait_until(begun.exists, self.process)
        return int(begun.read_text())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    own = Server(tmp_path / "data")
    yield own
    end(own.process)


def is_gone(process: int) -> bool:
    """Whether a process has ended; one whose parent has not asked for its end counts."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_the_server_is_killed_and_the_next_one_goes_on(server: Server) -> None:
    finished = server.submit("thigh")
    assert server.ended(finished) == "done"
    at_work, waiting = server.submit("calf"), server.submit("thigh")
    worker = server.worker_of(at_work)
    server.kill()
    wait_until(lambda: is_gone(worker))
    (server.data / "jobs" / at_work / "begun").unlink()
    server.begin()
    assert (server.state(finished), server.mask(finished)) == ("done", b"a mask")
    server.worker_of(at_work)
    (server.data / "jobs" / "go").touch()
    assert [server.ended(name) for name in (at_work, waiting)] == ["done", "done"]
    assert {server.mask(name) for name in (finished, at_work, waiting)} == {b"a mask"}


def test_a_worker_is_killed_and_the_others_go_on(server: Server) -> None:
    finished = server.submit("thigh")
    assert server.ended(finished) == "done"
    at_work, waiting = server.submit("calf"), server.submit("thigh")
    os.kill(server.worker_of(at_work), signal.SIGKILL)
    assert [server.ended(name) for name in (at_work, waiting)] == ["failed", "done"]
    said = httpx.get(f"{server.address}/api/jobs/{at_work}").json()["problems"]
    assert said == ["the job was ended: its process ended before its end (exit code -9)"]
    assert {server.mask(name) for name in (finished, waiting)} == {b"a mask"}
