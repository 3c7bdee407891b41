"""Processes that do not outlive the one that started them."""

import functools
import os
import threading
import time
from multiprocessing import parent_process

from musclesense.endings import leave_signals_to_parent

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
