"""One input: a command line, the files that it names, and what may become of it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")


class Verdict(StrEnum):
    """What the maker of an input knows of it."""

    ACCEPT = "must be taken"
    REFUSE = "must be refused"
    EITHER = "may be taken or refused"


@dataclass(frozen=True, kw_only=True)
class Case:
    """An input of one kind.

    Attributes:
        arguments: After ``musclesense``, or after ``train.py``.
        changes: What was done to a sound input, for the reader of a failure.
        verdict: What is known of it.
        train: Whether it is a command line of ``train.py``.
        told: What must stand in the notes beside a result; the empty text: there must be none.
        untold: What must not stand there.
        names: What a refusal must say.
        right: Says what is wrong with the results in the folder and on stdout of a command that took its input.
    """

    arguments: tuple[str, ...]
    changes: str
    verdict: Verdict = Verdict.EITHER
    train: bool = False
    told: str | None = None
    untold: str | None = None
    names: str = ""
    right: Callable[[Path, str], str | None] = lambda folder, said: None


class Draw:
    """Random choices of one input, which depend on nothing but their seed."""

    def __init__(self, *seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def one_of(self, choices: Sequence[_T]) -> _T:
        """Choose one."""
        return choices[int(self.random.integers(len(choices)))]

    def some_of(self, choices: Sequence[_T], most: int) -> list[_T]:
        """Choose one to ``most`` different ones, few more often than many."""
        count = min(int(self.random.geometric(0.6)), most, len(choices))
        return [choices[int(i)] for i in self.random.permutation(len(choices))[:count]]

    def chance(self, probability: float) -> bool:
        """Say yes with a probability."""
        return bool(self.random.random() < probability)

    def below(self, stop: int) -> int:
        """Give a whole number from 0 to below ``stop``."""
        return int(self.random.integers(stop))

    def damaged(self, content: bytes) -> tuple[bytes, str]:
        """Damage bytes: flipped bits, a piece cut out, cut off, zeroed, doubled or made of noise."""
        data = bytearray(content)
        size = max(len(data), 1)
        at, length = self.below(size), 1 + int(self.random.geometric(0.05))
        how = self.one_of(("bits", "cut off", "cut out", "zeroed", "doubled", "noise", "digits"))
        match how:
            case "bits":
                for _ in range(1 + self.below(8)):
                    if data:
                        data[self.below(size)] ^= 1 << self.below(8)
            case "cut off":
                del data[at:]
            case "cut out":
                del data[at : at + length]
            case "zeroed":
                data[at : at + length] = bytes(len(data[at : at + length]))
            case "doubled":
                data[at:at] = data[at : at + length] * (1 + self.below(50))
            case "noise":
                data[at : at + length] = self.random.bytes(length)
            case "digits":
                places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
                for _ in range(1 + self.below(3)):
                    if places:
                        data[self.one_of(places)] = self.one_of(b"0123456789-.e")
        return bytes(data), f"{how} at {at}"

    def put(self, how: str, path: Path) -> None:
        """Put something else where a file is looked for."""
        match how:
            case "folder":
                path.mkdir()
            case "loop":
                path.symlink_to(path.name)
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to(self.one_of(("/dev/zero", "/dev/full", "/dev/null", "/dev/stdin")))
            case "empty":
                path.touch()


Maker = Callable[[Draw, Path, Any], Case]
"""Makes an input in an empty folder from random choices and sound seeds."""
