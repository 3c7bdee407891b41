"""A pool of synthetic slices on disk, which any number of runs share.

The pool is stored in files of some hundred slices, its shards. A slice depends on the recipe and on its number alone,
so any process may make it at any time. ``python -m musclesense.training.synthesis.pool FOLDER --slices N`` continues a
pool that a run has begun.
"""

import argparse
import hashlib
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError, report_input_errors
from musclesense.imaging.frame import Z_SCORE, Frame, reference_channel
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.phantom.version import current_version
from musclesense.storage.atomic import atomic_path
from musclesense.storage.locks import locked, locked_if_free
from musclesense.storage.records import read_json, write_json
from musclesense.training.streams import Stream
from musclesense.vocabulary import EDITIONS, Channel, Region

_FORMAT = 2  # of recipe.json; 1 had the digest of the sources in the place of the phantom's version
# Training goes first: processes that make slices ahead of it take the time that it leaves.
_NICENESS = 10
_LOOK_EVERY_SECONDS = 0.2
_OPEN_SHARDS = 64


GENERATORS: Mapping[str, tuple[Channel, ...]] = {
    "any_scanner": (Channel.FAT,),
    "any_contrast": (Channel.IMAGE,),
    "any_dixon": EDITIONS["professional"],
}
"""The generators of synthetic slices, modules of `musclesense.phantom`, and the channels that each draws."""


def find_generator(name: str) -> Any:
    """Give the module of a generator."""
    return importlib.import_module(f"musclesense.phantom.{name}")


@dataclass(frozen=True)
class Recipe:
    """All that decides what the slices of a pool are."""

    seed: int
    regions: tuple[Region, ...]
    without: tuple[str, ...]  # ingredients of the generator that are left out, some of its ``INGREDIENTS``
    grid: Grid
    labels: LabelSet
    column: str  # ``mask`` or ``compartments``: the reference labels, whose values ``labels`` explains
    shard: int  # slices in a file
    generator: str = "any_scanner"  # one of `GENERATORS`
    channels: tuple[str, ...] = ()  # images, of those that it draws; none: the first
    normalisation: str = Z_SCORE  # of each image, one of `NORMALISATIONS`

    @property
    def images(self) -> tuple[str, ...]:
        """The channels of a slice, in order."""
        return self.channels or GENERATORS[self.generator][:1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a slice on disk: what `SliceCache` holds of a case."""
        frame = (self.grid.rows, self.grid.columns)
        several = (len(self.images),) if len(self.images) > 1 else ()
        image, air = ("image", np.float16, several + frame), ("air", np.float32, several)
        return np.dtype([image, ("classes", np.uint8, frame), air])

    def random_state(self, number: int) -> np.random.Generator:
        """Give what slice ``number`` of the pool is drawn with."""
        return np.random.default_rng([Stream.POOL, self.seed, number])

    def make(self, number: int) -> NDArray[Any]:
        """Make slice ``number`` of the pool: a record of ``dtype``."""
        synthetic = find_generator(self.generator).synthetic_slice(
            self.random_state(number), regions=self.regions, without=self.without
        )
        drawn = GENERATORS[self.generator]
        shown = {drawn[0]: synthetic.image, **synthetic.others}
        frame = Frame(self.grid, self.images, reference_channel(drawn), self.normalisation)
        native = {name: synthetic.stored(image) for name, image in shown.items()}
        images, air, placement = frame.prepare(synthetic.geometry, native)
        truth = self.labels.encode(synthetic.stored(getattr(synthetic, self.column)))
        record: NDArray[Any] = np.zeros((), self.dtype)
        record["image"], record["air"] = np.squeeze(images, 0) if len(images) == 1 else images, np.squeeze(air)
        record["classes"] = placement.labels_to_grid(truth, self.labels.n_classes)
        return record

    def to_config(self) -> dict[str, Any]:
        """Give plain values for ``from_config``; the phantom's version is among them."""
        plain = {"regions": sorted(self.regions), "without": sorted(self.without), "channels": list(self.channels)}
        parts = {"grid": self.grid.to_config(), "labels": self.labels.to_config()}
        named = {"format": _FORMAT, "phantom": current_version(self.generator)} | vars(self) | plain | parts
        before = {"generator": "any_scanner", "channels": [], "normalisation": Z_SCORE}  # when there was no other one
        return {name: value for name, value in named.items() if name not in before or value != before[name]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the recipe that ``to_config`` gave."""
        own = {"generator": "any_scanner", "channels": (), "normalisation": Z_SCORE} | config
        own = {field.name: own[field.name] for field in fields(cls)}
        own["regions"] = tuple(map(Region, own["regions"]))
        own |= {name: tuple(own[name]) for name in ("without", "channels")}
        own["grid"], own["labels"] = Grid(**own["grid"]), LabelSet.from_config(own["labels"])
        return cls(**own)


@dataclass(frozen=True)
class Pool:
    """The slices of a recipe, as far as they are made: ``recipe.json`` and the shards in ``folder``."""

    folder: Path
    recipe: Recipe

    @classmethod
    def below(cls, root: Path, recipe: Recipe) -> Self:
        """Give the pool of a recipe; its folder's name is a function of the recipe."""
        content = json.dumps(recipe.to_config(), sort_keys=True)
        return cls(root / hashlib.sha256(content.encode()).hexdigest()[:16], recipe)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Give the pool that a run has begun in ``folder``.

        Raises:
            InputError: There is none, or it was begun with another generator.
        """
        path, remedy = folder / "recipe.json", "let a run with synthesis=any_scanner begin a pool"
        config = read_json(path, remedy=remedy)
        try:
            if config["format"] > _FORMAT:
                raise InputError(f"{path}: format {config['format']} is newer than this Musclesense; update it")
            recipe = Recipe.from_config(config)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no recipe of a pool; {remedy}") from error
        if config != recipe.to_config():
            raise InputError(f"{path}: was begun by another version of the phantom; start the run again")
        return cls(folder, recipe)

    def begin(self) -> None:
        """Write down the recipe."""
        path = self.folder / "recipe.json"
        with locked(path):
            if not path.is_file():
                write_json(path, self.recipe.to_config())

    def shards(self, slices: int) -> list[Path]:
        """Give the files that hold the first ``slices`` slices, made or not."""
        return [self.folder / f"shard-{index:05}.npy" for index in range(-(-slices // self.recipe.shard))]

    def read(self, slices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Give the records of these slices, which must have been made."""
        wanted = np.asarray(slices)
        records = np.empty(len(wanted), self.recipe.dtype)
        shards, within = np.divmod(wanted, self.recipe.shard)
        for shard in np.unique(shards):
            own = shards == shard
            records[own] = _mapped(self.folder / f"shard-{shard:05}.npy")[within[own]]
        return records

    def make_shard(self, path: Path, stopping: Callable[[], bool]) -> None:
        """Make a shard that this process holds the lock of; where ``stopping`` gives true, end without a file."""
        first = self.recipe.shard * int(path.stem.rpartition("-")[2])
        records = np.empty(self.recipe.shard, self.recipe.dtype)
        for position in range(self.recipe.shard):
            if stopping():
                return
            records[position] = self.recipe.make(first + position)
        with atomic_path(path) as draft:
            np.save(draft, records, allow_pickle=False)

    def fill(self, slices: int, stopping: Callable[[], bool] = lambda: False) -> None:
        """Make the first ``slices`` slices in order, sharing the work with other processes that do the same."""
        while missing := [path for path in self.shards(slices) if not path.is_file()]:
            worked = False
            for path in missing:
                with locked_if_free(path) as mine:
                    if mine and not path.is_file():
                        self.make_shard(path, stopping)
                        worked = True
                if stopping():
                    return
            if not worked:  # other processes make what is left; should one of them die, its lock is free again
                time.sleep(_LOOK_EVERY_SECONDS)


@lru_cache(maxsize=_OPEN_SHARDS)
def _mapped(path: Path) -> NDArray[Any]:
    return np.lib.format.open_memmap(path, mode="r")


@report_input_errors(debug=False)
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and fill a pool."""
    parser = argparse.ArgumentParser(description=Pool.fill.__doc__)
    parser.add_argument("folder", type=Path, help="folder of the pool, in which recipe.json lies")
    parser.add_argument("--slices", type=int, required=True, help="how many slices the pool is to hold")
    parser.add_argument("--while-open", action="store_true", help="stop when standard input is closed")
    options = parser.parse_args(arguments)
    if options.slices < 1:
        raise InputError(f"--slices {options.slices}: give 1 or more")
    stop = threading.Event()
    if options.while_open:

        def wait_for_the_end() -> None:
            while os.read(sys.stdin.fileno(), 1):
                pass
            stop.set()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
    os.nice(_NICENESS)
    Pool.open(options.folder).fill(options.slices, stop.is_set)


if __name__ == "__main__":
    main()
