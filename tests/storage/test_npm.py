"""A package of npm is taken as it was tried, or not at all."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.storage.npm import Package

FILES = {"one.mjs": b"a script", "two.wasm": b"\0asm and more"}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
OURS = Package("scripts", "1.2.0", DIGESTS, "--scripts")


def archive(**content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as out:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return made.getvalue()


WHOLE = archive(**{f"package/dist/{name}": content for name, content in FILES.items()}, **{"../../evil": b"x"})


def test_it_is_read_of_an_archive_and_of_folders(tmp_path: Path) -> None:
    (tmp_path / "it.tgz").write_bytes(WHOLE)
    assert dict(OURS.files(tmp_path / "it.tgz")) == FILES
    for folder in (tmp_path / "package" / "dist", tmp_path / "plain"):
        folder.mkdir(parents=True)
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        assert dict(OURS.files(folder)) == FILES
    assert dict(OURS.files(tmp_path / "package")) == FILES


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "cannot be read"),
        (WHOLE[:40], "cannot be read"),
        (archive(**{"package/dist/one.mjs": b"a script"}), "lacks two.wasm"),
        (
            archive(**{"package/dist/one.mjs": b"another", "package/dist/two.wasm": FILES["two.wasm"]}),
            "holds another one",
        ),
        (archive(**{name: content for name, content in FILES.items()}), "lacks one.mjs"),
    ],
)
def test_another_one_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (file := tmp_path / "it.tgz").write_bytes(content)
    with pytest.raises(InputError) as refused:
        OURS.files(file)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{file}: {said}") and "npm pack scripts@1.2.0" in problem


@pytest.mark.parametrize("given", ["nowhere", "folder"])
def test_what_is_not_there_is_told(given: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="npm pack"):
        OURS.files(tmp_path / given)


@pytest.mark.parametrize(
    ("status", "content", "fetched"), [(200, WHOLE, True), (404, b"", False), (200, b"a login page", False)]
)
@pytest.mark.parametrize("name", ["scripts", "@some/scripts"])
def test_it_is_fetched_from_a_registry(name: str, status: int, content: bytes, fetched: bool) -> None:
    asked, ours = [], replace(OURS, name=name)

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        if fetched:
            assert dict(ours.files(None, address)) == FILES
        else:
            with pytest.raises(InputError, match="--scripts"):
                ours.files(None, address)
        thread.join()
    assert asked == [f"/{name}/-/scripts-1.2.0.tgz"]


@pytest.mark.parametrize("registry", ["file:///etc", "nonsense", "ftp://127.0.0.1"])
def test_what_is_no_registry_is_refused(registry: str) -> None:
    with pytest.raises(InputError, match="no address of a registry"):
        OURS.files(None, registry)
