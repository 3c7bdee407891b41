"""Processes that do not outlive the one that started them, and work that is shared among them."""

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from typing import TypeVar

from musclesense.endings import end_children, held, leave_signals_to_parent

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_LOOK_EVERY_SECONDS = 0.5


@functools.cache
def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, killed for example; where nobody did, do nothing.

    Multiprocessing knows when a parent ends, but not of joblib's workers. So what is looked at is the parent's number:
    the system gives orphans another one.
    """
    parent = parent_process()
    if parent is None:
        return
    leave_signals_to_parent()
    number = parent.pid

    def wait() -> None:
        while os.getppid() == number:
            time.sleep(_LOOK_EVERY_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def unheard() -> Iterator[None]:
    """Start processes in the block that hear nothing of what a terminal sends to all, for as long as they live.

    This process hears it at the end of the block. What `end_with_parent` does comes too late for processes that import
    for seconds before they do anything: each would end in a traceback, as would one of which half is started.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with held():
        resource_tracker.ensure_running()  # starts a process of its own, and hears signals again after that
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_processes(make: Callable[[_Item], _Made], items: Sequence[_Item], workers: int) -> Iterator[_Made]:
    """Give what is made of each item, in order, by so many processes; by this one where one is enough."""
    if min(workers, len(items)) <= 1:
        yield from map(make, items)
        return
    # Spawned, since a forked process may inherit locked threads of torch or wandb.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=context, initializer=end_with_parent) as pool:
        try:
            with unheard():
                made = [pool.submit(make, item) for item in items]
            for one in made:  # not by the pool's map: it cancels them, and its thread fails when processes are gone
                yield one.result()
        except BaseException:  # the pool would wait for what they are at
            pool.shutdown(wait=False, cancel_futures=True)
            end_children()
            raise
