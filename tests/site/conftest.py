"""The page's scripts without a browser: Node does the steps that a test asks for."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Step = Callable[..., list[Any]]
NODE = shutil.which("node")


def told(array: NDArray[Any]) -> dict[str, Any]:
    """An array as the scripts' side reads it."""
    content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"kind": array.dtype.name, "shape": list(array.shape), "bytes": content}


def array(found: dict[str, Any], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """An array that the scripts' side told."""
    values = np.frombuffer(base64.b64decode(found["bytes"]), np.dtype(found["kind"]))
    return values.reshape(shape or found["shape"])


@pytest.fixture
def steps(tmp_path: Path) -> Step:
    """Let the scripts do steps, given as their names and what each takes; gives their answers."""
    if NODE is None:
        pytest.skip("needs node")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for script in (files("musclesense.site") / "static").iterdir():
        (scripts / script.name).write_bytes(script.read_bytes())
    (scripts / "package.json").write_text('{"type": "module"}')

    def do(*asked: tuple[str, dict[str, Any]]) -> list[Any]:
        said = tmp_path / "asked.json"
        said.write_text(json.dumps([{"step": step, **given} for step, given in asked]))
        command = [str(NODE), str(Path(__file__).with_name("steps.mjs")), str(scripts), str(said)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers

    return do
