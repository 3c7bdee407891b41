"""What ``auto`` chooses on which machine."""

import pytest
import torch

from musclesense.training.config import TrainerConfig
from musclesense.training.machine.hardware import choose


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine: GPU kind, and instructions of the CPU."""

    def pretend(gpu: str = "", *, bf16: bool = False, cpu: tuple[str, ...] = ()) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu == "cuda")
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation
        )
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: gpu == "mps")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(cpu, True) | {"avx512_f": True})

    return pretend


@pytest.mark.parametrize(
    ("arguments", "accelerator", "precision"),
    [
        ({}, "cpu", "32-true"),
        ({"cpu": ("avx512_bf16",)}, "cpu", "bf16-mixed"),
        ({"cpu": ("amx_bf16",)}, "cpu", "bf16-mixed"),
        ({"cpu": ("avx512_fp16", "avx2")}, "cpu", "32-true"),
        ({"gpu": "cuda", "bf16": True}, "cuda", "bf16-mixed"),
        ({"gpu": "cuda", "bf16": False, "cpu": ("avx512_bf16",)}, "cuda", "16-mixed"),
        ({"gpu": "mps", "cpu": ("avx512_bf16",)}, "mps", "32-true"),
    ],
)
def test_auto_takes_what_the_machine_multiplies(machine, arguments, accelerator, precision):
    machine(**arguments)
    chosen = choose(TrainerConfig())
    assert (chosen.accelerator, chosen.precision) == (accelerator, precision)
    assert chosen.device == torch.device(accelerator)
    assert chosen.reason


def test_bf16_instructions_named_but_absent_are_not_taken(machine, monkeypatch):
    machine()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "amx_bf16": False})
    assert choose(TrainerConfig()).precision == "32-true"


def test_the_configuration_is_obeyed(machine):
    machine("cuda", bf16=True)
    chosen = choose(TrainerConfig(accelerator="cpu", precision="32-true"))
    assert (chosen.accelerator, chosen.precision, chosen.reason) == ("cpu", "32-true", "as configured")
    assert choose(TrainerConfig(accelerator="gpu")).accelerator == "cuda"
    assert choose(TrainerConfig(accelerator="gpu", precision="16")).precision == "16"
    assert choose(TrainerConfig(accelerator="cpu", precision="16-mixed")).precision == "bf16-mixed", "as PyTorch can"
    assert choose(TrainerConfig(accelerator="cpu")).accelerator == "cpu"
