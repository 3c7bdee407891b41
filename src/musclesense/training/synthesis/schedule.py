"""Which synthetic slices each epoch trains on, and the processes that make them beside training."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.training.config import SynthesisConfig
from musclesense.training.streams import Stream
from musclesense.training.synthesis.pool import Pool

_LOOK_EVERY_SECONDS = 0.2
_CLOSING_SECONDS = 20
# Longer than a process needs for a few slices; a file that others make may take longer, which does no harm.
_PATIENCE_SECONDS = 20


@dataclass(eq=False)
class Synthesis:
    """The synthetic part of the training set.

    An epoch trains on a random sample of the slices that are available to it. How many are available depends on the
    epoch alone: a resumed run equals an uninterrupted one, however fast the slices were made.
    """

    pool: Pool
    config: SynthesisConfig
    _workers: dict["subprocess.Popen[bytes]", IO[bytes]] = field(default_factory=dict, init=False)

    def available(self, epoch: int) -> int:
        """Give the number of slices that are available to an epoch."""
        return min(self.config.slices, self.config.initial + epoch * self.config.growth)

    def sample(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Give the numbers of the slices of an epoch, each once."""
        rng = np.random.default_rng([Stream.SAMPLE, seed, epoch])
        return rng.choice(self.available(epoch), self.config.per_epoch, replace=False)

    @contextmanager
    def running_workers(self, epochs: int, *, here: bool = True) -> Iterator[None]:
        """Make all slices that a training of ``epochs`` needs, by worker processes beside the block.

        Of several devices only the first starts them ``here``.
        """
        slices = self.available(epochs - 1)
        self.pool.begin()
        if here and any(not path.is_file() for path in self.pool.shards(slices)):
            for _ in range(self.config.workers):
                self._start(slices)
        try:
            yield
        finally:
            for process in self._workers:
                assert process.stdin is not None
                process.stdin.close()
            for process, words in self._workers.items():
                try:
                    process.wait(_CLOSING_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                words.close()
            self._workers = {}

    def wait(self, epoch: int) -> None:
        """Return when the slices of an epoch are there; make them where no worker does.

        Raises:
            InputError: All workers ended too soon; it tells the last line that one of them wrote.
        """
        slices = self.available(epoch)
        shards, found, changed = self.pool.shards(slices), -1, time.monotonic()
        while True:
            # Asked before the files are counted: a process may end right after its last file.
            ended = [process for process in self._workers if process.poll() is not None]
            earlier, found = found, sum(path.is_file() for path in shards)
            if found == len(shards):
                return
            if earlier < 0:
                share = f"{found} of {len(shards)} files are there"
                log.info(f"epoch {epoch + 1} waits for {slices} synthetic slices; {share}")
            if found > earlier:
                changed = time.monotonic()
            if self.config.workers == 0:
                self.pool.fill(slices)
            elif ended and len(ended) == len(self._workers):
                words = self._workers[max(ended, key=lambda process: process.returncode != 0)]
                raise InputError(
                    f"{self.pool.folder}: the processes that make synthetic slices ended too soon "
                    f"({_last_line(words)}); give the same command again, or synthesis.workers=0"
                )
            elif not self._workers and time.monotonic() - changed > _PATIENCE_SECONDS:
                # The process that was to make them may be gone; where it is not, the work is shared.
                self.pool.fill(slices)
            else:
                time.sleep(_LOOK_EVERY_SECONDS)

    def _start(self, slices: int) -> None:
        """Start a worker, which ends when the pool is full or when this process ends, however it ends."""
        # One thread each: they work side by side, and beside training.
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "musclesense.training.synthesis.pool", str(self.pool.folder)]
        command += ["--slices", str(slices), "--while-open"]
        # A group of its own, so that Ctrl-C ends the run alone; not a session, since Linux weighs niceness within one.
        words = tempfile.TemporaryFile(dir=self.pool.folder)  # noqa: SIM115  # closed where the workers end; of no name
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=words, env=os.environ | one, process_group=0)
        self._workers[process] = words


def _last_line(words: IO[bytes]) -> str:
    words.seek(0)
    lines = [line.strip() for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "without a word"
