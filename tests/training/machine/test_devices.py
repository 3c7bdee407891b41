"""Devices of runs on one machine, and processes of a run on several."""

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from musclesense.errors import InputError
from musclesense.training.config import TrainerConfig
from musclesense.training.machine.devices import (
    require_here,
    require_known,
    reserved,
    runs_at_once,
    share_of,
    train_in_step,
)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend a machine with so many GPUs and cores, whose locks lie in the folder of the test."""

    def pretend(gpus: int, cores: int = 8) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr("joblib.cpu_count", lambda: cores)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return pretend


def test_runs_side_by_side_take_a_gpu_each_and_then_share_them_evenly(machine):
    machine(gpus=3)
    with ExitStack() as first, ExitStack() as others:
        taken = [first.enter_context(reserved("1", "cuda"))]
        taken += [others.enter_context(reserved("1", "cuda")) for _ in range(4)]
        assert taken == [(0,), (1,), (2,), (0,), (1,)]
        first.close()
        assert others.enter_context(reserved("1", "cuda")) == (0,), "given back by the run that ended"
    with reserved("1", "cuda") as again:
        assert again == (0,)


def test_a_run_on_several_gpus_takes_the_least_busy(machine):
    machine(gpus=4)
    with reserved("1", "cuda"), reserved("2", "cuda") as two, reserved("2", "cuda") as others:
        assert (two, others) == ((1, 2), (0, 3))
    with reserved("auto", "cuda") as everything, reserved("-1", "cuda") as as_well:
        assert everything == as_well == (0, 1, 2, 3)
    with reserved("1,3", "cuda") as named, reserved("2,", "cuda") as one:
        assert (named, one) == ((1, 3), (2,))
        with reserved("1", "cuda") as free:
            assert free == (0,), "GPUs that are named are reserved, too"


def test_gpus_are_told_apart_by_what_the_process_may_see(machine, monkeypatch):
    machine(gpus=2)
    with reserved("1", "cuda") as first:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
        with reserved("1", "cuda") as second:
            assert (first, second) == ((0,), (0,)), "the first that this process sees is the other's second"


@pytest.mark.parametrize("asked", ["3", "0,2", "2,"])
def test_gpus_that_are_not_there_are_refused(machine, asked):
    machine(gpus=2)
    with pytest.raises(InputError, match="this machine has 2 GPUs"), reserved(asked, "cuda"):
        pass


def test_a_device_of_a_cpu_is_a_process(machine):
    machine(gpus=0)
    with reserved("auto", "cpu") as one, reserved("1", "cpu") as same, reserved("2", "cpu") as two:
        assert (one, same, two) == ((0,), (0,), (0, 1))


@pytest.mark.parametrize("asked", ["0", "-2", "two", "1;2", ",1", ""])
def test_what_names_no_device_is_refused(asked):
    with pytest.raises(InputError, match=r"trainer\.devices="):
        require_known(asked)


@pytest.mark.parametrize(
    ("gpus", "cores", "asked", "runs"),
    [
        (4, 64, "1", 4),
        (4, 64, "2", 2),
        (4, 64, "auto", 1),
        (4, 64, "0,1", 1),
        (1, 64, "1", 1),
        (0, 1, "1", 1),
        (0, 2, "1", 2),
        (0, 16, "1", 8),
        (0, 2, "2", 1),
    ],
)
def test_runs_at_once(machine, gpus, cores, asked, runs):
    machine(gpus, cores)
    assert runs_at_once(TrainerConfig(devices=asked)) == runs


def test_a_batch_is_shared_evenly_or_not_at_all():
    assert share_of(16, 4) == 4
    with pytest.raises(InputError, match=r"loader\.batch_size=16: give a multiple of 3"):
        share_of(16, 3)


def _leave_a_note(rank: int, folder: Path) -> None:
    lines = (torch.get_num_threads(), os.environ["LOCAL_RANK"], os.environ["MASTER_PORT"])
    (folder / str(rank)).write_text(" ".join(map(str, lines)), encoding="utf-8")
    if rank == 1:
        while not (folder / "0").exists():
            time.sleep(0.1)
        raise ValueError("out of memory")
    time.sleep(86400)


def test_processes_share_threads_know_each_other_and_end_when_one_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    looked: list[bool] = []
    with pytest.raises(RuntimeError, match=r"^device 1: ValueError: out of memory$"):
        train_in_step(_leave_a_note, (tmp_path,), devices=2, look=lambda: looked.append(True))
    notes = [(tmp_path / name).read_text(encoding="utf-8").split() for name in "01"]
    assert [note[:2] for note in notes] == [["2", "0"], ["2", "1"]]
    assert notes[0][2] == notes[1][2]
    assert looked


@pytest.mark.parametrize(
    ("gpus", "asked", "said"),
    [
        (0, {"accelerator": "gpu"}, "trainer.accelerator=gpu: not found"),
        (0, {"accelerator": "cuda", "devices": "2"}, "trainer.accelerator=cuda: not found"),
        (4, {"accelerator": "mps"}, "trainer.accelerator=mps: not found"),
        (1, {"accelerator": "gpu", "devices": "2"}, "trainer.devices=2: this machine has 1 GPUs"),
        (2, {"devices": "0,2"}, "trainer.devices=0,2: this machine has 2 GPUs"),
        (0, {"devices": "2"}, None),
        (0, {"accelerator": "cpu", "devices": "0,1"}, None),
        (2, {"accelerator": "cpu", "devices": "4"}, None),
        (2, {"accelerator": "gpu", "devices": "-1"}, None),
        (3, {"devices": "0,2"}, None),
    ],
)
def test_what_is_not_here_is_refused_before_any_work(machine, gpus, asked, said):
    machine(gpus)
    if said is None:
        require_here(TrainerConfig(**asked))
        return
    with pytest.raises(InputError) as caught:
        require_here(TrainerConfig(**asked))
    assert str(caught.value).startswith(said)


def test_an_apple_gpu_is_one_device(machine, monkeypatch):
    machine(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    require_here(TrainerConfig(devices="1"))
    require_here(TrainerConfig(accelerator="mps", devices="auto"))
    with pytest.raises(InputError, match="devices=2: this machine has 1 GPUs"):
        require_here(TrainerConfig(accelerator="mps", devices="2"))
