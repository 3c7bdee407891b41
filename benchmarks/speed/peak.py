"""The most that something comes to while a block runs."""

import threading
from collections.abc import Callable
from typing import Self


class Peak(threading.Thread):
    """The largest of what ``look`` gives while the block runs, 0 before the first look.

    Args:
        look: Gives a number, such as of bytes.
        every: Seconds from one look to the next.
    """

    def __init__(self, look: Callable[[], int], *, every: float) -> None:
        super().__init__(daemon=True)
        self._look = look
        self._every = every
        self._ended = threading.Event()
        self.largest = 0

    def run(self) -> None:
        """Look until the block ends."""
        while not self._ended.wait(self._every):
            self.largest = max(self.largest, self._look())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
