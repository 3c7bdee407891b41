"""The queue: what a job does to its process harms no other job and not the server."""

from pathlib import Path

import pytest

from musclesense.serve.jobs import Jobs
from musclesense.serve.settings import Settings
from musclesense.serve.store import Store

from ..shared.waiting import wait_until
from .conftest import Serve, ended, example
from .doing import at_once, crashes, fails, hangs


def test_a_job_that_crashes_is_told_and_the_next_is_done(serve: Serve, tmp_path: Path) -> None:
    client = serve(crashes)
    told = ended(client, example(client))
    assert (told["state"], told["files"]) == ("failed", [])
    assert told["problems"] == ["the job was ended: its process ended before its end (exit code 9)"]
    again = example(client)
    assert ended(client, again)["state"] == "failed"


def test_a_job_that_takes_too_long_is_ended(serve: Serve) -> None:
    client = serve(hangs, minutes=0.02)
    told = ended(client, example(client))
    assert told["problems"] == ["the job was ended: it took longer than 1 s, the most that is allowed here"]


def test_a_scan_that_cannot_be_used_is_told(serve: Serve) -> None:
    client = serve(fails)
    assert ended(client, example(client))["problems"] == ["image-001.nii.gz: <i>"]


def test_a_job_that_runs_can_be_deleted(serve: Serve, tmp_path: Path) -> None:
    client = serve(hangs)
    name = example(client)
    folder = tmp_path / "data" / "jobs" / name
    wait_until((folder / "begun").exists)
    assert client.delete(f"/api/jobs/{name}").status_code == 204
    assert not folder.exists()
    assert client.get(f"/api/jobs/{name}").status_code == 410
    after = example(client)
    wait_until((tmp_path / "data" / "jobs" / after / "begun").exists)


def test_the_server_stops_at_once_and_the_next_one_goes_on(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    store = Store(tmp_path)
    names = [store.new_folder()[0] for _ in range(2)]
    for name in names:
        store.add(name, "segment", {}, most=5)  # type: ignore[arg-type]
    jobs = Jobs(store, settings, hangs)
    jobs.start()
    wait_until((store.folder(names[0]) / "begun").exists)
    jobs.stop()
    assert [job.state for name in names if (job := store.find(name))] == ["queued", "queued"]
    jobs = Jobs(store, settings, at_once)
    jobs.start()
    wait_until(lambda: all(job.state == "done" for name in names if (job := store.find(name))))
    jobs.stop()


@pytest.mark.parametrize("queue", [1, 3])
def test_the_queue_is_bounded(queue: int, serve: Serve, tmp_path: Path) -> None:
    client = serve(hangs, queue=queue)
    first = example(client)
    wait_until((tmp_path / "data" / "jobs" / first / "begun").exists)
    names = [example(client) for _ in range(queue)]
    assert [client.get(f"/api/jobs/{name}").json()["ahead"] for name in names] == [*range(queue)]
    full = client.post("/api/jobs", files={"example": (None, "calf")})
    assert (full.status_code, full.headers["retry-after"]) == (503, "300")
    assert {folder.name for folder in (tmp_path / "data" / "jobs").iterdir()} == {first, *names}
