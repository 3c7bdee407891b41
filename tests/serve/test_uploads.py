"""Forms with files: read as they come, in pieces of any length, up to a size."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.serve.uploads import NAMES, RefusedError, receive

TYPE = "multipart/form-data; boundary=between"


def form(*parts: tuple[str, bytes]) -> bytes:
    lines = (
        b"--between\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), body) for head, body in parts
    )
    return b"".join(lines) + b"--between--\r\n"


def received(body: bytes, folder: Path, *, most: int = 10**6, step: int = 7, kind: str = TYPE) -> dict[str, str]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    return asyncio.run(receive(pieces(), kind, folder, most))


def refused(body: bytes, folder: Path, **how: object) -> int:
    with pytest.raises(RefusedError) as error:
        received(body, folder, **how)  # type: ignore[arg-type]
    return error.value.status


@given(content=st.binary(max_size=2000), step=st.integers(1, 300))
def test_files_are_written_as_they_were_sent(
    content: bytes, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if b"--between" in content:
        return
    folder = tmp_path_factory.mktemp("form") / "upload"
    parts = [
        ('name="files"; filename="a/Meyer.nii"', content),
        ('name="fat"; filename="b"', b""),
        ('name="region"', b"calf"),
    ]
    assert received(form(*parts), folder, step=step) == {"region": "calf"}
    assert json.loads((folder / NAMES).read_text()) == [["files", "a/Meyer.nii"], ["fat", "b"]]
    assert sorted(file.name for file in folder.iterdir()) == ["000001", "000002", NAMES]
    assert (folder / "000001").read_bytes() == content


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "\\\\server\\x", "a" * 3000, "ä\u202e.nii", "%00", "x;y"])
def test_no_name_is_a_path(name: str, tmp_path: Path) -> None:
    received(form((f'name="files"; filename="{name}"', b"x")), tmp_path / "u")
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["000001", NAMES, "u"]


def test_a_field_without_a_file_is_none(tmp_path: Path) -> None:
    assert received(form(('name="files"; filename=""', b""), ('name="example"', b"calf")), tmp_path / "u") == {
        "example": "calf"
    }
    assert [file.name for file in (tmp_path / "u").iterdir()] == [NAMES]


@pytest.mark.parametrize(
    ("status", "body", "how"),
    [
        (413, form(('name="files"; filename="a"', bytes(5000))), {"most": 4000}),
        (400, form(('name="files"; filename="a"', b"x"))[:-8], {}),
        (400, b"no form", {}),
        (400, b"", {}),
        (415, b"{}", {"kind": "application/json"}),
        (415, b"", {"kind": "multipart/form-data"}),
        (415, b"", {"kind": ""}),
        (422, form(('name="other"', b"x")), {}),
        (422, form(('name="other"; filename="a"', b"x")), {}),
        (422, form(('name="region"', b"x" * 301)), {}),
        (422, form(("", b"x")), {}),
    ],
)
def test_what_is_no_such_form_is_refused(status: int, body: bytes, how: dict[str, object], tmp_path: Path) -> None:
    assert refused(body, tmp_path / "u", **how) == status


@given(st.binary(max_size=400))
def test_any_other_body_is_refused_and_nothing_else(
    body: bytes,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert refused(b"--between\r\n" + body, Path(folder) / "u") in (400, 413, 422)
