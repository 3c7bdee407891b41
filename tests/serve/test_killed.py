"""A worker or the server is killed in the middle: what had finished stays, what waited is done."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest

import musclesense as ms
from musclesense.imaging.nifti import write_volume
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.vocabulary import Region

from ..segmentation.conftest import leg_scan
from ..shared.waiting import end, wait_until

REPOSITORY = Path(__file__).parents[2]


class Server:
    """A server that may be killed and begun again."""

    def __init__(self, data: Path, work: str = "waits_if_calf", jobs: int = 1) -> None:
        self.data, self._does = data, (work, str(jobs))
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "tests.serve.serving", str(self.data), *self._does]
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

    def submit_image(self, image: Path) -> str:
        files = {"image": (image.name, image.read_bytes())}
        return str(httpx.post(f"{self.address}/api/jobs", files=files).json()["id"])

    def file(self, name: str, file: str) -> bytes:
        return httpx.get(f"{self.address}/api/jobs/{name}/files/{file}").raise_for_status().content

    def state(self, name: str) -> str:
        return str(httpx.get(f"{self.address}/api/jobs/{name}").json()["state"])

    def ended(self, name: str) -> str:
        wait_until(lambda: self.state(name) in ("done", "failed"), self.process)
        return self.state(name)

    def mask(self, name: str) -> bytes:
        return self.file(name, "mask.nii.gz")

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


def phantom(folder: Path, seed: int) -> Path:
    """Three slices of a thigh."""
    scan = leg_scan(Region.THIGH, (0.4, 0.5, 0.6), contrast=Contrast.SPIN_ECHO, seed=seed)
    write_volume(folder / f"{seed}.nii.gz", scan.channels["image"], scan.geometry, np.float32)
    return folder / f"{seed}.nii.gz"


def is_as_undisturbed(server: Server, name: str, image: Path, folder: Path) -> bool:
    """Whether a result is that of the same scan, segmented in this process."""
    own = ms.segment(ms.read_scan(image=image))
    own.save(folder / name, anonymous=True)
    (folder / "mask.nii.gz").write_bytes(server.mask(name))
    same = np.array_equal(np.asarray(nib.load(folder / "mask.nii.gz").dataobj), own.mask)
    table = (folder / name / "measurements.csv").read_bytes()
    return bool(own.mask.any()) and same and server.file(name, "measurements.csv") == table


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("step", ["segmenting", "measuring and drawing"])
def test_of_scans_that_networks_segment_a_kill_changes_no_result(step: str, tmp_path: Path) -> None:
    """Two at work and one that waits: a worker is killed, then the server."""
    images = [phantom(tmp_path, seed) for seed in range(1, 5)]
    server = Server(tmp_path / "data", "segments", jobs=2)
    try:
        finished = server.submit_image(images[0])
        assert server.ended(finished) == "done"
        before = server.mask(finished)
        (server.data / "hold").write_text(step)
        killed, at_work, waiting = (server.submit_image(image) for image in images[1:])
        workers = [server.worker_of(name) for name in (killed, at_work)]
        assert server.state(waiting) == "queued"
        os.kill(workers[0], signal.SIGKILL)
        workers.append(server.worker_of(waiting))  # which takes its place
        assert server.ended(killed) == "failed"
        server.kill()
        wait_until(lambda: all(map(is_gone, workers)))
        (server.data / "hold").unlink()
        server.begin()
        assert [server.ended(name) for name in (finished, at_work, waiting)] == ["done"] * 3
        assert server.state(killed) == "failed"
        assert server.mask(finished) == before
        for name, image in zip((finished, at_work, waiting), (images[0], *images[2:]), strict=True):
            assert is_as_undisturbed(server, name, image, tmp_path / "own")
    finally:
        end(server.process)
