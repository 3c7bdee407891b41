"""The script of all measurements on a GPU: it goes on, and its commands are ones that exist."""

import shlex
from pathlib import Path

import pytest
from benchmarks.speed import on_gpu

from musclesense.training.composition import compose


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"tests": [0], "step_default": [1, 0], "step_fast": [0], "step_small": [0], "sweep": [0]}
    run: list[str] = []

    def timed(words: list[str], log: Path) -> tuple[int, float]:
        run.append(log.stem)
        return codes[log.stem].pop(0), 1.5

    monkeypatch.setattr(on_gpu, "timed", timed)
    assert on_gpu.main([str(tmp_path)]) == 1
    assert on_gpu.main([str(tmp_path)]) == 0
    assert run == [*on_gpu.COMMANDS, "step_default"]
    assert (tmp_path / "seconds.csv").read_text().splitlines()[2] == "step_default,0,1.5"


@pytest.mark.parametrize("name", [name for name in on_gpu.COMMANDS if name != "tests"])
def test_its_commands_are_accepted(name: str) -> None:
    words = shlex.split(on_gpu.COMMANDS[name])
    overrides = [w for w in words if "=" in w and not w.startswith(("hydra", "outer", "inner"))]
    assert compose(*overrides).config.cohort.phantom.preset == "paper"


def test_a_command_leaves_what_it_said_and_its_exit_code(tmp_path: Path) -> None:
    code, seconds = on_gpu.timed(["-c", "print('said'); raise SystemExit(3)"], tmp_path / "log.txt")
    assert (code, (tmp_path / "log.txt").read_text()) == (3, "said\n") and seconds >= 0
