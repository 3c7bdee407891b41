"""Which synthetic slices an epoch trains on, who makes them, and what happens while they are not there yet."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from musclesense.errors import InputError
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.messages import bars
from musclesense.training.config import SynthesisConfig
from musclesense.training.synthesis import schedule as module
from musclesense.training.synthesis.pool import Pool, Recipe
from musclesense.training.synthesis.schedule import Synthesis
from musclesense.vocabulary import Region

RECIPE = Recipe(
    seed=3,
    regions=tuple(Region),
    without=(),
    grid=Grid(6.4, 32, 64),
    labels=LabelSet.from_config({"muscle": []}),
    column="mask",
    shard=4,
)


def synthesis_in(folder: Path, **changed: Any) -> Synthesis:
    arguments: dict[str, Any] = {"slices": 20, "initial": 8, "growth": 3, "per_epoch": 6, "replace": False}
    return Synthesis(Pool.below(folder, RECIPE), SynthesisConfig(**arguments | {"workers": 0} | changed))


@given(
    initial=st.integers(1, 50), growth=st.integers(0, 20), more=st.integers(0, 200), epoch=st.integers(0, 100),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_an_epoch_is_a_sample_of_what_there_is_by_then(
    initial: int, growth: int, more: int, epoch: int, seed: int
) -> None:
    synthesis = synthesis_in(Path(), initial=initial, growth=growth, slices=initial + more, per_epoch=initial)
    available = synthesis.available(epoch)
    assert available == min(initial + growth * epoch, initial + more)
    sample = synthesis.sample(seed=seed, epoch=epoch).tolist()
    assert len(sample) == len(set(sample)) == initial
    assert min(sample) >= 0 and max(sample) < available
    assert sample == synthesis.sample(seed=seed, epoch=epoch).tolist()


def test_samples_differ_by_epoch_and_seed_and_reach_every_slice() -> None:
    synthesis = synthesis_in(Path())
    samples = {tuple(synthesis.sample(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(samples) == 9
    assert set(np.concatenate([synthesis.sample(seed=0, epoch=epoch) for epoch in range(60)])) == set(range(20))


def test_without_workers_an_epoch_draws_what_it_lacks_and_says_so(
    tmp_path: Path, drawn: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    synthesis = synthesis_in(tmp_path)
    console = Console(file=sys.stderr, width=200)
    with bars(console), synthesis.running_workers(epochs=5):
        assert not drawn
        synthesis.wait(0)
        assert len(drawn) == 8
        synthesis.wait(1)
        assert len(drawn) == 12, "whole files"
        synthesis.wait(0)
        assert len(drawn) == 12
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "epoch 1 waits for 8 synthetic slices; 0 of 2 files are there",
        "epoch 2 waits for 11 synthetic slices; 2 of 3 files are there",
    ]


def test_workers_draw_all_that_the_training_needs_and_end_with_it(tmp_path: Path) -> None:
    """The real generator in processes beside: as many as asked, none where nothing is left to draw."""
    synthesis = synthesis_in(tmp_path, initial=4, growth=4, slices=8, per_epoch=2, workers=2)
    with synthesis.running_workers(epochs=9):
        processes = list(synthesis._workers)
        assert len(processes) == 2
        synthesis.wait(1)
        assert synthesis.pool.read([0, 7])["classes"].any()
    assert [process.poll() for process in processes] == [0, 0]
    assert all(path.suffix in (".npy", ".json", ".lock") for path in synthesis.pool.folder.iterdir())
    with synthesis.running_workers(epochs=9):
        assert not synthesis._workers
    with synthesis_in(tmp_path, workers=2).running_workers(epochs=9, here=False):
        pass


def test_an_unfinished_pool_does_not_hold_up_the_end(tmp_path: Path) -> None:
    synthesis = synthesis_in(tmp_path, initial=4, slices=100_000, growth=100_000, per_epoch=2, workers=1)
    with synthesis.running_workers(epochs=2):
        synthesis.wait(0)
        (process,) = synthesis._workers
    assert process.poll() == 0
    assert not synthesis.pool.shards(100_000)[-1].is_file(), "it ended in the middle"


def test_workers_that_fail_end_the_waiting_and_their_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho Traceback >&2\necho no such ingredient >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    synthesis = synthesis_in(tmp_path, workers=1)
    with synthesis.running_workers(epochs=1), pytest.raises(InputError) as raised:
        synthesis.wait(0)
    assert raised.value.problems == (
        f"{synthesis.pool.folder}: the processes that make synthetic slices ended too soon (no such ingredient); "
        "give the same command again, or synthesis.workers=0",
    )


def test_a_worker_that_ends_right_after_its_last_file_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    synthesis = synthesis_in(tmp_path, workers=1)

    class Ending:
        """Draws all when it is first asked whether it has ended, and says that it has."""

        returncode = 0

        def poll(self) -> int:
            synthesis.pool.fill(8)
            return 0

    synthesis.pool.begin()
    synthesis._workers = {Ending(): io.BytesIO()}  # type: ignore[dict-item]
    synthesis.wait(0)
    assert len(drawn) == 8


def test_a_device_that_waits_in_vain_draws_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.3)
    synthesis = synthesis_in(tmp_path, workers=1)
    with synthesis.running_workers(epochs=1, here=False):
        synthesis.wait(0)
    assert len(drawn) == 8
