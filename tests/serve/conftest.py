"""A server of the page in this process, and jobs that do what a test needs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient

from musclesense.serve.app import application
from musclesense.serve.jobs import Jobs
from musclesense.serve.settings import Settings
from musclesense.serve.store import Store
from musclesense.serve.work import Task

from ..segmentation.conftest import TwoLimbs, odd_geometry, write_limbs
from ..shared.waiting import LONGEST_SECONDS, wait_until
from .doing import at_once

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_format_1"
"""A network of one feature, which finds what is bright in the fat image."""
Serve = Callable[..., TestClient]
ENDED = ("done", "failed")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve the page; ``work`` is what jobs do, other words are settings."""
    with ExitStack() as servers:

        def begin(work: Callable[[Task], None] | None = at_once, **asked: Any) -> TestClient:
            settings = Settings(**{"data": tmp_path / "data", **asked})
            jobs = None if work is None else Jobs(Store(settings.data), settings, work)
            host = f"http://{asked.get('host', '127.0.0.1')}:8000"
            client = TestClient(application(settings, jobs), base_url=host, follow_redirects=False)
            return servers.enter_context(client)

        yield begin


@contextmanager
def served(work: Callable[[Task], None], **asked: Any) -> Iterator[httpx.Client]:
    """Serve the page to many at once, as users meet it: by HTTP."""
    settings = Settings(**asked)
    guard = application(settings, Jobs(Store(settings.data), settings, work))
    server = uvicorn.Server(uvicorn.Config(guard, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LONGEST_SECONDS) as own:
            yield own
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def limbs(tmp_path_factory: pytest.TempPathFactory) -> TwoLimbs:
    """Fat and water of two round limbs in four slices, stored along odd axes."""
    return write_limbs(tmp_path_factory.mktemp("limbs"), odd_geometry())


def submit(client: TestClient, *files: tuple[str, bytes], role: str = "files", **fields: str) -> dict[str, Any]:
    """Submit files by their names; gives the status."""
    given = [(role, (name, content, "application/octet-stream")) for name, content in files]
    answer = client.post("/api/jobs", files=given or None, data=fields)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


def example(client: httpx.Client, **fields: str) -> str:
    """Submit the example, for jobs that look at no images; gives its name."""
    answer = client.post("/api/jobs", files={"example": (None, "thigh")}, data=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(client: httpx.Client, name: str) -> dict[str, Any]:
    """Wait for the end of a job; gives its status."""
    wait_until(lambda: client.get(f"/api/jobs/{name}").json()["state"] in ENDED)
    told: dict[str, Any] = client.get(f"/api/jobs/{name}").json()
    return told
