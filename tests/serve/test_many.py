"""Many people at once: all are served, and each gets what is their own."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import ended, served
from .doing import copies

PEOPLE = 20


def test_twenty_uploads_at_once_are_all_taken_and_none_is_mixed_up(tmp_path: Path) -> None:
    """None ends its upload before all have begun theirs."""
    all_begun = threading.Barrier(PEOPLE)

    def send(number: int) -> tuple[str, bytes]:
        content = bytes([number]) * 3000 * (1 + number)

        def body() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="scan.nii"\r\n\r\n' + content[:100]
            all_begun.wait()
            yield content[100:] + b"\r\n--x--\r\n"

        answer = client.post("/api/jobs", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
        if answer.status_code != 202:
            all_begun.abort()  # else the others would wait for this one
        assert answer.status_code == 202, answer.text
        return answer.json()["id"], content

    with served(copies, data=tmp_path, jobs=2, queue=PEOPLE) as client, ThreadPoolExecutor(PEOPLE) as people:
        sent = [*people.map(send, range(PEOPLE))]
        assert len({name for name, _ in sent}) == PEOPLE
        for name, content in sent:
            assert ended(client, name)["state"] == "done"
            assert client.get(f"/api/jobs/{name}/files/mask.nii.gz").content == content


@pytest.mark.parametrize("waiting", [0, 1])
def test_more_than_can_wait_are_told_to_come_later(
    waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musclesense.serve.desk._UPLOADS_WAITING", waiting)
    with served(copies, data=tmp_path) as client:
        answer = client.post("/api/jobs", files={"files": ("a.nii", b"x")})
        assert answer.status_code == (202 if waiting else 503)
        assert waiting or answer.headers["retry-after"] == "60"
