"""Workers that end with the process that started them."""

import subprocess
import sys
import threading

from musclesense.storage.processes import end_with_parent

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
