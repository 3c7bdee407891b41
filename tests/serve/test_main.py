"""The server itself, as a user starts it."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from musclesense.cli import scans
from musclesense.cli.main import main
from musclesense.serve.main import default_data

from ..shared.waiting import end


def started(data: Path, *arguments: str, verb: Sequence[str] = ()) -> "tuple[subprocess.Popen[str], str]":
    """Start a server of the page, or of another verb; gives its address."""
    own = verb or ("serve", "--data", str(data))
    command = [sys.executable, "-m", "musclesense", *own, "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_it_says_where_it_is_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    process, address = started(tmp_path / "data")
    try:
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(address).status_code == 200
        with pytest.raises(SystemExit) as second:
            main(["serve", "--data", str(tmp_path / "data"), "--port", "0"])
        assert second.value.code == 2
        process.terminate()
        _, said = process.communicate()
        assert process.returncode == 143
        assert said.splitlines()[-1].startswith("stopped by SIGTERM")
        assert "Traceback" not in said
    finally:
        end(process)


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as refused:
        main(["serve", "--port", str(taken.getsockname()[1]), "--data", str(tmp_path)])
    assert refused.value.code == 2
    assert "cannot be listened at (Address already in use); give another port" in capsys.readouterr().err


def test_others_are_not_let_in_without_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["serve", "--host", "0.0.0.0", "--data", str(tmp_path / "data")])
    assert refused.value.code == 2 and not (tmp_path / "data").exists()
    assert "give --token-file FILE" in capsys.readouterr().err


def test_without_its_packages_it_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else object())
    with pytest.raises(SystemExit) as refused:
        main(["serve"])
    assert refused.value.code == 2
    assert capsys.readouterr().err == "error: serve: its packages are not installed; pip install 'musclesense[serve]'\n"
    assert scans.serve.__doc__


def test_the_usual_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data() == tmp_path / ".musclesense" / "serve"
