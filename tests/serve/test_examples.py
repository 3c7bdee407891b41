"""The examples of the page on the interface run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..segmentation.conftest import TwoLimbs
from ..shared.waiting import end
from .conftest import BUNDLE
from .test_main import started

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "api.md").read_text("utf-8")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = started(tmp_path_factory.mktemp("data"), "--model", str(BUNDLE))
    yield address
    end(process)


@pytest.fixture
def place(limbs: TwoLimbs, tmp_path: Path) -> Path:
    for file in (limbs.fat, limbs.water):
        shutil.copy(file, tmp_path)
    return tmp_path


def run(command: list[str], place: Path, address: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PAGE": address, "PATH": path}
    return subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(address: str, place: Path) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    run(["bash", "-ec", commands], place, address)
    assert (place / "mask.nii.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert (place / "measurements.csv").read_text().startswith("slice,limb,label")


def test_python(address: str, place: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert [line.split()[0] for line in run([sys.executable, "-c", code], place, address).splitlines()] == [
        "right",
        "left",
    ]
