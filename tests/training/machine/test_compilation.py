"""torch.compile: chosen where it pays, the same training as without it, resumed as ever, and no harm where it fails."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from tests.shared.runs import assert_same_run, done_of, losses_of, same, train_until, weights_of
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from musclesense.errors import InputError
from musclesense.training import run
from musclesense.training.config import TrainerConfig
from musclesense.training.machine import compilation
from musclesense.training.machine.compilation import CompiledNetwork
from musclesense.training.machine.devices import train_in_step
from musclesense.training.machine.hardware import Hardware
from musclesense.training.run import train
from musclesense.training.settings import Settings

needs_compiler = pytest.mark.skipif(
    compilation._lacks("cpu") is not None, reason="torch.compile needs a C++ compiler, which is not here"
)
COMPILED = "trainer.compile=always"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let this machine have a C++ compiler, or none."""
    monkeypatch.delenv("CXX", raising=False)
    return lambda there: monkeypatch.setattr(shutil, "which", lambda name: name if there else None)


@pytest.mark.parametrize(
    ("asked", "accelerator", "epochs", "devices", "there", "expected"),
    [
        ("auto", "cpu", 100, 1, True, True),
        ("auto", "cpu", 99, 1, True, False),  # too short to make up for compiling
        ("auto", "cpu", 100, 2, True, False),
        ("auto", "cpu", 100, 1, False, False),
        ("auto", "cuda", 100, 1, True, False),  # not measured there
        ("always", "cpu", 1, 2, True, True),
        ("never", "cpu", 100, 1, True, False),
    ],
)
def test_it_is_wanted_where_it_pays(compiler, asked, accelerator, epochs, devices, there, expected):
    compiler(there)
    config = TrainerConfig(compile=asked, max_epochs=epochs)
    hardware = Hardware(accelerator, "32-true", "")
    assert compilation.wanted(config, hardware, cases=100, devices=devices) is expected


def test_a_compiler_that_is_asked_for_and_missing_is_named(compiler):
    compiler(False)
    with pytest.raises(InputError, match=r"trainer.compile=always: no C\+\+ compiler is found here; install one or"):
        compilation.wanted(TrainerConfig(compile="always"), Hardware("cpu", "32-true", ""), cases=1, devices=1)


def test_the_compiler_that_the_environment_names_counts(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no C"):
        compilation.wanted(TrainerConfig(compile="always"), Hardware("cpu", "32-true", ""), cases=1, devices=1)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Let torch.compile give a function."""
    return lambda function: monkeypatch.setattr(torch, "compile", lambda network, **_: function)


def test_other_batches_than_whole_ones_run_as_they_are(network, fake):
    sizes: list[int] = []

    def compiled(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return network(images)

    fake(compiled)
    run_by = CompiledNetwork(network, 4)
    for size in (4, 3, 4, 1):
        assert run_by(torch.zeros(size, 2, 8, 8)).shape == (size, 3, 8, 8)
    assert sizes == [4, 4]


def test_where_compiling_fails_training_goes_on_and_says_so_once(network, fake, capsys):
    def failing(_: Tensor) -> Tensor:
        raise RuntimeError("InvalidCxxCompiler: no working compiler\nmore of it")

    fake(failing)
    network.eval()
    run_by, images = CompiledNetwork(network, 4), torch.randn(4, 2, 8, 8)
    for _ in range(2):
        assert torch.equal(run_by(images), network(images))
    said = capsys.readouterr().err
    assert said == ("torch.compile failed (InvalidCxxCompiler: no working compiler); training goes on without it\n")


@needs_compiler
def test_a_backward_that_cannot_be_compiled_is_seen_in_the_first_step(network, monkeypatch, capsys):
    def backend(graph: Any, inputs: Any, **_: Any) -> Any:
        def backward(*_: Any) -> Any:
            raise RuntimeError("no room for kernels")

        return aot_autograd(fw_compiler=lambda forward, _: make_boxed_func(forward), bw_compiler=backward)(
            graph, inputs
        )

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled(network, backend=backend))
    run_by = CompiledNetwork(network, 4)
    run_by(torch.randn(4, 2, 8, 8)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert "no room for kernels" in capsys.readouterr().err


def test_what_the_network_itself_raises_is_raised(fake, capsys):
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError("not this size")

    broken = Broken()
    fake(broken)
    with pytest.raises(ValueError, match="not this size"):
        CompiledNetwork(broken, 4)(torch.zeros(4, 2, 8, 8))
    assert capsys.readouterr().err == ""


def test_a_network_that_was_compiled_fails_openly_later(network, fake):
    calls = iter([torch.zeros(4, 3, 8, 8)])
    fake(lambda _: next(calls))
    run_by = CompiledNetwork(network, 4)
    run_by(torch.zeros(4, 2, 8, 8))
    with pytest.raises(StopIteration):
        run_by(torch.zeros(4, 2, 8, 8))


@needs_compiler
def test_compiled_steps_give_the_network_s_own_gradients_and_statistics(network):
    twin, images = copy.deepcopy(network), torch.randn(4, 2, 16, 16)
    run_by = CompiledNetwork(network, 4)
    for call in (run_by, twin):
        call(images).square().mean().backward()
    assert run_by._compiled is not network, "not compiled"
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(network.buffers(), twin.buffers(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5)


@needs_compiler
def test_a_compiled_run_learns_the_same_and_is_resumed_by_another_process(configured, finished, tmp_path):
    whole = configured(COMPILED, "study=whole")
    train(whole)
    folder = whole.run.path
    done, plain = done_of(folder), done_of(finished)
    assert (done["compiled"], plain["compiled"]) == (True, False)
    assert weights_of(folder).keys() == weights_of(finished).keys()
    assert not same(weights_of(folder, "last"), weights_of(finished, "last"))  # rounded otherwise
    assert losses_of(folder) == pytest.approx(losses_of(finished), rel=1e-3)

    resumed = configured(COMPILED, "study=whole", f"runs={tmp_path / 'resumed'}")
    train_until(resumed, 2)
    # Compiled anew, by a process that knows nothing of the first.
    command = [sys.executable, "train.py", "experiment=smoke", "trainer=cpu", COMPILED, "study=whole"]
    places = [f"data={resumed.config.data}", f"runs={resumed.study.path.parent}"]
    cold = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cold")}
    subprocess.run([*command, *places], cwd=Path(__file__).parents[3], env=cold, check=True, capture_output=True)
    assert (tmp_path / "cold").is_dir()
    assert_same_run(resumed.run.path, folder)


def _as_rank(rank: int, config: Settings) -> None:
    run._as_rank(rank, config, (0, 1))


@needs_compiler
def test_devices_that_share_a_run_compile_each(configured):
    """Two processes on the CPU, as with two GPUs; averaging copies the network before it is compiled."""
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "averaging.decay=0.9")
    folders = []
    for compile_ in ("always", "never"):
        config = configured(*ddp, "trainer.max_epochs=2", f"trainer.compile={compile_}", f"study={compile_}")
        folders.append(config.run.path)
        train_in_step(_as_rank, (config,), devices=2, look=lambda: None)
    assert [done_of(folder)["compiled"] for folder in folders] == [True, False]
    assert losses_of(folders[0]) == pytest.approx(losses_of(folders[1]), rel=1e-3)
    assert not same(*(weights_of(folder, "last") for folder in folders))  # rounded otherwise
    assert weights_of(folders[0]).keys() == weights_of(folders[1]).keys()
