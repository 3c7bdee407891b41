"""Results of `segment` of three small scans, by a network whose answers are known, and their list."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import musclesense as ms
from musclesense.serve.review.app import application
from musclesense.serve.review.main import source_of
from musclesense.serve.settings import Settings

from ...segmentation.conftest import TwoLimbs, found_in

STUDY = Path(__file__).parents[2] / "fixtures" / "before" / "study"
NAMES = ("S001-thigh", "S002-thigh", "S003-thigh")
Review = Callable[..., TestClient]


@pytest.fixture(scope="session")
def results(limbs: TwoLimbs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a batch writes: three scans, the second doubtful, the third flagged, and one that could not be used."""
    out = tmp_path_factory.mktemp("batch")
    scan = ms.read_scan(fat=limbs.fat, water=limbs.water)
    found = found_in(scan, (limbs.right | limbs.left).astype(np.uint8))
    found.save(out / NAMES[0])
    for name, flag, quality in ((NAMES[1], "doubtful", "0.31"), (NAMES[2], "cut", "0.72")):
        shutil.copytree(out / NAMES[0], out / name)
        mark(out / name, flag, quality)
    told = {"format": 1, "results": None, "no_result": {"S004-thigh": "<b>none.nii.gz</b>: no such file"}}
    (out / "batch.json").write_text(json.dumps(told))
    return out


def mark(folder: Path, flag: str, quality: str) -> None:
    """Say of every row what networks would have said of a poor mask."""
    table = folder / "measurements.csv"
    head, *lines = table.read_text().splitlines()
    columns = head.split(",")
    cells = [dict(zip(columns, line.split(","), strict=True)) | {"flags": flag, "quality": quality} for line in lines]
    table.write_text("\n".join([head, *(",".join(row.values()) for row in cells)]) + "\n")


@pytest.fixture
def folder(results: Path, tmp_path: Path) -> Path:
    """A copy of them, to be written to."""
    return Path(shutil.copytree(results, tmp_path / "results"))


@pytest.fixture
def review() -> Iterator[Review]:
    """Serve the list of a folder."""
    with ExitStack() as servers:

        def begin(folder: Path, **asked: Any) -> TestClient:
            settings = Settings(**{"data": folder, **asked})
            host = f"http://{asked.get('host', '127.0.0.1')}:8000"
            client = TestClient(application(source_of(folder), settings), base_url=host, follow_redirects=False)
            return servers.enter_context(client)

        yield begin


def masks(client: TestClient) -> dict[str, dict[str, Any]]:
    """Give the list, by the names of scans."""
    return {one["scan"]: one for one in client.get("/api/scans").json()}


def say(client: TestClient, scan: str, **said: Any) -> Any:
    """Say something of a mask; gives the answer."""
    own = masks(client)[scan]
    body = {"by": "A. Reader", "mask_sha256": own["mask_sha256"], **said}
    return client.post(f"/api/scans/{own['id']}/review", json=body)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A copy of the study of an earlier release, of which three runs are finished."""
    return Path(shutil.copytree(STUDY, tmp_path / "runs" / "mine"))
