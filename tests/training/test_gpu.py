"""What a GPU alone can show; the other tests of training are on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback
from tests.shared.runs import assert_same_run, done_of, losses_of, train_until, weights_of

from musclesense.errors import InputError
from musclesense.training.machine.devices import reserved
from musclesense.training.module import SegmentationModule
from musclesense.training.run import train
from musclesense.training.session import set_up

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
GPU = "trainer.accelerator=gpu"


def test_a_run_on_a_gpu_chooses_mixed_precision_and_learns_as_on_a_cpu(configured, finished):
    config = configured(GPU, "trainer.precision=auto")
    train(config)
    done = done_of(config.run.path)
    assert (done["accelerator"], done["compiled"]) == ("cuda", False)
    assert done["precision"] in ("bf16-mixed", "16-mixed")
    assert losses_of(config.run.path) == pytest.approx(losses_of(finished), rel=0.1)
    assert all(not tensor.is_cuda for tensor in SegmentationModule.load(_best(config)).state_dict().values())


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32-true"])
def test_an_interrupted_run_ends_as_if_it_had_never_stopped(configured, precision):
    asked = (GPU, f"trainer.precision={precision}", "averaging.decay=0.9")
    whole, stopped = (configured(*asked, f"study={name}") for name in ("whole", "stopped"))
    train(whole)
    train_until(stopped, 2)
    train(stopped)
    assert_same_run(stopped.run.path, whole.run.path)


class NoWaiting(Callback):
    """Raises where a step of the second epoch or a later one waits for the GPU."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch > 0:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps += torch.cuda.get_sync_debug_mode() == 2
        if trainer.is_last_batch:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
def test_no_step_waits_for_the_gpu(configured, slices):
    config = configured(GPU, "trainer.precision=auto")
    with reserved("1", "cuda") as own:
        session = set_up(config, slices, own, None)
        watch = NoWaiting()
        trainer: Any = session.trainer
        trainer.callbacks.append(watch)
        try:
            session.fit()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert watch.steps == 3 * len(session.datamodule.train_dataloader())


def test_a_run_whose_slices_the_gpu_holds_learns_as_one_that_reads_them(configured, monkeypatch):
    held, read = (configured(GPU, "trainer.precision=32-true", f"study={name}") for name in ("held", "read"))
    train(held)
    monkeypatch.setattr("musclesense.training.datamodule.HELD_SHARE", 0.0)
    train(read)
    assert_same_run(held.run.path, read.run.path)


def test_a_compiled_run_learns_the_same(configured):
    plain, compiled = (configured(GPU, f"trainer.compile={asked}", f"study={asked}") for asked in ("never", "always"))
    for config in (plain, compiled):
        train(config)
    assert done_of(compiled.run.path)["compiled"]
    assert losses_of(compiled.run.path) == pytest.approx(losses_of(plain.run.path), rel=0.02)
    assert weights_of(plain.run.path).keys() == weights_of(compiled.run.path).keys()


def test_what_was_trained_on_a_gpu_segments_alike_on_a_cpu(configured):
    config = configured(GPU)
    train(config)
    module = SegmentationModule.load(_best(config))
    images = torch.randn(4, len(module.spec.channels), 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own = module.probabilities(images)
        other = module.to("cuda").probabilities(images.to("cuda")).cpu()
    assert np.abs((own - other).numpy()).max() < 0.02  # the GPU multiplies 32 bit as TF32


def test_a_gpu_that_is_not_there_is_named():
    there = torch.cuda.device_count()
    with pytest.raises(InputError, match=f"trainer.devices={there},"), reserved(f"{there},", "cuda"):
        pass


def _best(config: Any) -> Any:
    return config.run.path / "checkpoints" / "best.ckpt"
