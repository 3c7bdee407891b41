"""What trains, and at which precision: ``auto`` decides by what the machine multiplies fast, and says so."""

from dataclasses import dataclass

import torch

from musclesense.training.config import TrainerConfig


@dataclass(frozen=True)
class Hardware:
    """The choice for one run, as Lightning names it, such as ``cuda`` and ``bf16-mixed``, and why."""

    accelerator: str
    precision: str
    reason: str

    @property
    def device(self) -> torch.device:
        """The first device of the accelerator."""
        return torch.device(self.accelerator)


def choose(config: TrainerConfig) -> Hardware:
    """Choose accelerator and precision where the configuration leaves them to ``auto``.

    On a CPU without bf16 instructions mixed precision is many times slower than 32 bit, so it is never chosen there.
    """
    accelerator = "cuda" if config.accelerator == "gpu" else config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if accelerator == "cpu" and config.precision in ("16", "16-mixed"):
        return Hardware(accelerator, "bf16-mixed", "PyTorch has no mixed fp16 on a CPU")
    if config.precision != "auto":
        return Hardware(accelerator, config.precision, "as configured")
    return Hardware(accelerator, *_precision(accelerator))


def _precision(accelerator: str) -> tuple[str, str]:
    if accelerator == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU multiplies bf16"
        return "16-mixed", "the GPU multiplies fp16 but not bf16"
    if accelerator == "cpu":
        able = torch.cpu.get_capabilities()
        if able.get("amx_bf16") or able.get("avx512_bf16"):
            return "bf16-mixed", "the CPU has bf16 instructions"
        return "32-true", "the CPU has no bf16 instructions"
    return "32-true", f"mixed precision is not proven on {accelerator}"
