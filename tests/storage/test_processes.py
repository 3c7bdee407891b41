"""Workers that end with the process that started them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from musclesense.storage.processes import end_with_parent, unheard

from ..shared.waiting import LONGEST_SECONDS

# joblib's workers, for whom nothing else sees to it.
PARENT = """
import os, time
from joblib.externals.loky import get_reusable_executor
from musclesense.storage.processes import end_with_parent

pool = get_reusable_executor(1, timeout=86400)
pool.submit(end_with_parent).result()
pool.submit(time.sleep, 86400)
print(os.getpid(), flush=True)
time.sleep(86400)
"""


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.kill()
        process.communicate(timeout=LONGEST_SECONDS)  # until nobody, no worker either, holds the other end


def test_a_process_of_nobody_s_goes_on() -> None:
    before = threading.active_count()
    end_with_parent()
    assert threading.active_count() == before


# One that is started in the block of `unheard`, as each of the project's is, and one that imports for seconds.
STARTS = """
import multiprocessing, os, signal, sys, time
from musclesense.endings import told
from musclesense.storage.processes import unheard

def work():
    time.sleep(86400)

if __name__ == "__main__":
    with told():
        with unheard():
            os.kill(os.getpid(), signal.SIGINT)
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start()
            os.kill(child.pid, signal.SIGINT)
            os.kill(child.pid, signal.SIGHUP)
            print(child.pid, flush=True)
        print("not stopped", flush=True)
"""


def test_a_process_that_starts_hears_nothing_of_a_terminal_and_is_not_half_started(tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    command = [sys.executable, str(tmp_path / "starts.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    child, *more = done.stdout.splitlines()
    assert (done.returncode, more) == (130, []), done.stderr
    assert done.stderr.startswith("stopped by Ctrl+C: ") and len(done.stderr.splitlines()) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)


def test_signals_are_heard_again_after_the_block() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(ZeroDivisionError), unheard():
        assert {signal.SIGINT, signal.SIGHUP} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
        _ = 1 / 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
