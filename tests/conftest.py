"""Fixtures that several rooms' tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start ``python train.py`` in ``folder`` as a user types it, with no input and no wandb account."""
    environment = {**os.environ, "WANDB_API_KEY": "", "WANDB_MODE": "offline", "NETRC": str(folder / "no-netrc")}
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def start() -> Start:
    """Start ``python train.py`` in a folder and do not wait for it."""
    return _start


@pytest.fixture(scope="session")
def train() -> Command:
    """Run ``python train.py`` in a folder to its end."""

    def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        process = _start(folder, *arguments)
        out, err = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, outside the project."""
    folder = os.environ.get("MUSCLESENSE_REAL_DATA")
    if not folder:
        pytest.skip("MUSCLESENSE_REAL_DATA names no folder of real scans")
    return Path(folder).resolve()
