"""What the interface's description (OpenAPI) allows, and what it does not: nothing makes the server fail."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import ended, example, served
from .doing import shows

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis (pip install 'musclesense[fuzz]')")


@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    with served(shows, data=tmp_path, queue=3, upload_mb=1) as client:
        _try_all(client)


def _try_all(client: httpx.Client) -> None:
    name = example(client)
    assert ended(client, name)["state"] == "done"
    told, tried = client.get("/api/openapi.json").json(), set()
    known = {"name": name, "file": "mask.nii.gz", "image": "fat", "number": 1}
    for found in schemathesis.openapi.from_dict(told).get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(), right=st.sets(st.sampled_from([*known])))
        @settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck], derandomize=True, database=None)
        def ask(case: Any, right: set[str]) -> None:
            if case.method != "DELETE":  # so that the others find the job
                case.path_parameters.update({key: known[key] for key in right & case.path_parameters.keys()})
            answer = case.call(base_url=str(client.base_url))
            tried.add((case.method, answer.status_code))
            assert answer.status_code < 500 or answer.status_code == 503, f"{case.method} {case.path}: {answer.text}"

        ask()
    assert {("POST", 202), ("GET", 200), ("GET", 404), ("DELETE", 404)} <= tried
