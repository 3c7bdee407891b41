"""Which devices of the machine a run trains on, and the processes of a run that trains on several."""

import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from musclesense.errors import InputError
from musclesense.storage.locks import locked_if_free
from musclesense.storage.processes import end_with_parent, unheard
from musclesense.training.config import TrainerConfig
from musclesense.training.machine.hardware import choose

_LOOK_EVERY_SECONDS = 0.5
_ASKED = re.compile(r"auto|-1|[1-9]\d{0,3}|\d{1,3}(,\d{1,3})*,|\d{1,3}(,\d{1,3})+")


def require_known(devices: str) -> None:
    """Refuse what names no devices.

    Raises:
        InputError: ``devices`` is no number of devices and no list of them.
    """
    if not _ASKED.fullmatch(devices):
        raise InputError(f"trainer.devices={devices}: give auto, a number such as 2, or GPUs by index such as '0,2'")


def runs_at_once(config: TrainerConfig) -> int:
    """Give the number of runs that this machine trains side by side unless told otherwise.

    As many as its GPUs hold, each with its own. Without a GPU half as many as there are cores, since memory is short
    before cores are, but two on two cores.
    """
    from joblib import cpu_count  # the cores that joblib divides among its workers

    if "," in config.devices or config.devices in ("auto", "-1"):
        return 1
    match choose(config).accelerator:
        case "cuda":
            there = torch.cuda.device_count()
        case "cpu":
            there = max(cpu_count() // 2, min(cpu_count(), 2))
        case _:
            there = 1
    return max(1, there // int(config.devices))


@contextmanager
def reserved(devices: str, accelerator: str) -> Iterator[tuple[int, ...]]:
    """Hold the devices of a run during the block, and give their indices.

    Of several GPUs a run takes those that the fewest other runs on this machine hold, whatever started them: a sweep
    side by side, or two sweeps. A run that ends, however it ends, gives them back.

    Args:
        devices: ``auto`` and ``-1`` (all there are), a number, or GPUs by index such as ``0,2``, which are obeyed.
        accelerator: ``cuda``, ``mps`` or ``cpu``; on a CPU a device is a process.

    Raises:
        InputError: More GPUs than there are, or others.
    """
    count, among = _meant(devices, accelerator)
    if accelerator != "cuda":
        yield among[:count]
        return
    with ExitStack() as holding:
        yield _least_busy(count, among, holding)


def _meant(devices: str, accelerator: str) -> tuple[int, tuple[int, ...]]:
    """Give how many devices are meant, and among which.

    Raises:
        InputError: This machine has none such, or not as many.
    """
    require_known(devices)
    named = tuple(int(index) for index in devices.split(",") if index) if "," in devices else ()
    count = None if named or devices in ("auto", "-1") else int(devices)
    if accelerator == "cpu":
        return count or len(named) or 1, named or tuple(range(count or 1))
    there = tuple(range(torch.cuda.device_count() if accelerator == "cuda" else 1))
    if not there or not {*named} <= {*there} or (count or 1) > len(there):
        raise InputError(f"trainer.devices={devices}: this machine has {len(there)} GPUs; give some of them")
    return count or len(named or there), named or there


def require_here(config: TrainerConfig) -> None:
    """Refuse an accelerator or devices that this machine lacks.

    Raises:
        InputError: Names what is not there.
    """
    accelerator = choose(config).accelerator
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[accelerator]:
        raise InputError(f"trainer.accelerator={config.accelerator}: not found on this machine; give auto or cpu")
    _meant(config.devices, accelerator)


def _least_busy(count: int, among: tuple[int, ...], holding: ExitStack) -> tuple[int, ...]:
    """Lock ``count`` of these GPUs: the n-th run on a GPU holds its n-th lock."""
    folder = Path(tempfile.gettempdir()) / f"musclesense-{getuser()}"
    visible = [re.sub(r"\W", "_", name) for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    mine: list[int] = []
    for turn, index in ((turn, index) for turn in itertools.count() for index in among):
        name = visible[index] if visible else index
        if index not in mine and holding.enter_context(locked_if_free(folder / f"gpu-{name}-{turn}")):
            mine.append(index)
        if len(mine) == count:
            break
    return tuple(sorted(mine))


def share_of(cases: int, devices: int) -> int:
    """Give the cases of a step that each device takes.

    Raises:
        InputError: The devices would have different numbers of them.
    """
    if cases % devices:
        raise InputError(f"loader.batch_size={cases}: give a multiple of {devices}, the number of devices")
    return cases // devices


def train_in_step(
    work: Callable[..., None], arguments: tuple[Any, ...], devices: int, look: Callable[[], None]
) -> None:
    """Do ``work(rank, *arguments)`` in a process for each device, with what they need to find each other.

    Not by Lightning's launcher, which starts the command of the user once more: that is the whole sweep again. These
    end with the process that started them, whose threads they share, and a process that fails ends the others. What
    they are given is pickled. ``look`` is called now and then while they work.

    Raises:
        RuntimeError: One of them failed; the reason is its last line.
    """
    threads = max(1, torch.get_num_threads() // devices)
    given = (find_free_network_port(), threads, work, arguments)
    with unheard():
        processes = start_processes(_as_rank, given, nprocs=devices, join=False)  # type: ignore[no-untyped-call]
    try:
        while not processes.join(_LOOK_EVERY_SECONDS):
            look()
    except (ProcessRaisedException, ProcessExitedException) as error:
        raise RuntimeError(f"device {error.error_index}: {str(error).strip().splitlines()[-1]}") from error
    finally:
        for process in processes.processes:
            if process.is_alive():
                process.kill()
    look()


def _as_rank(rank: int, port: int, threads: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    end_with_parent()  # torch sees to it no sooner than the libraries are imported, and it may be gone by then
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    torch.set_num_threads(threads)
    work(rank, *arguments)
    if distributed.is_initialized():
        distributed.destroy_process_group()
