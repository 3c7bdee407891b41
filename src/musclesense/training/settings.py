"""What travels through a run: the configuration, resolved once into what it means, typed and checked.

Nothing but `build` knows Hydra's or OmegaConf's objects. What only one place reads keeps its class of
`musclesense.training.config`.
"""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from omegaconf import DictConfig, OmegaConf

from musclesense.errors import InputError, collected
from musclesense.imaging.frame import reference_channel
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.writing import named_study
from musclesense.training import config as schema
from musclesense.training.augmentation import Augmentation
from musclesense.training.machine import devices
from musclesense.training.source import OwnTable, Phantom
from musclesense.training.synthesis import build as synthesis
from musclesense.training.synthesis.schedule import Synthesis
from musclesense.vocabulary import Channel

_LONGEST_FOLDER = 255
_LONGEST_STUDY = 200  # file systems take 255, and drafts and locks beside the folder have longer names


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """One run: values of `config.Config` by their names there, and these that have a meaning of their own.

    Attributes:
        outer: Outer fold: who is tested on.
        inner: Inner fold: who is validated on.
        seed: Of the network, shuffling and augmentation.
        study: The folder of all runs of this configuration.
        data: The folder of phantoms, caches and pools.
        cohort: Who is trained on.
        spec: The network: what it takes, what it gives, how it is made. The image by which slices are placed is known
            once the cohort is read, see `musclesense.training.inputs`.
        column: The table's column of reference labels.
        synthesis: Synthetic slices that are trained on, or None.
        averaging: Decay of averaged weights, or None.
        keep_every: Epochs from one kept checkpoint to the next, or None.
        plain: The whole configuration as plain values, for the records of study and run.
    """

    outer: int
    inner: int
    seed: int
    study: StudyFolder
    data: Path
    cohort: OwnTable | Phantom
    folds: schema.FoldsConfig
    spec: NetworkSpec
    column: str
    augmentation: Augmentation
    synthesis: Synthesis | None
    loader: schema.LoaderConfig
    loss: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    trainer: schema.TrainerConfig
    early_stopping: schema.EarlyStoppingConfig
    averaging: float | None
    keep_every: int | None
    logger: schema.LoggerConfig
    plain: Mapping[str, Any]

    @property
    def run(self) -> RunFolder:
        """The folder of this run."""
        return self.study.run(self.outer, self.inner)

    @property
    def fold(self) -> dict[str, int]:
        """``outer`` and ``inner``, as records have them."""
        return {"outer": self.outer, "inner": self.inner}

    def at(self, outer: int, inner: int) -> Self:
        """Give another run of the same study."""
        plain = {**self.plain, "outer": outer, "inner": inner}
        return replace(self, outer=outer, inner=inner, plain=plain)


def build(config: DictConfig) -> Settings:
    """Build what a composed configuration means; nothing need exist yet, and nothing is written.

    Raises:
        InputError: All that no run could use, a line each.
    """
    return build_runs(config)[0]


def build_runs(
    config: DictConfig, *, outer: Sequence[int] | None = None, inner: Sequence[int] | None = None
) -> list[Settings]:
    """Build several runs of one study at the price of one.

    Args:
        config: Composed by Hydra, without Hydra's own node.
        outer: Outer folds; None: that of the configuration.
        inner: Inner folds, each for every outer one; None: that of the configuration.

    Raises:
        InputError: All that no run could use, a line each.
    """
    typed, plain = _read(config)
    folds = list(itertools.product(outer or [typed.outer], inner or [typed.inner]))
    problems = list(dict.fromkeys(problem for fold in folds for problem in typed.folds.lacks(*fold)))
    with collected(problems):
        first = _build(typed, plain)
    if problems:
        raise InputError(*problems)
    return [first.at(*fold) for fold in folds]


def _read(config: DictConfig) -> tuple[schema.Config, dict[str, Any]]:
    """Give the configuration typed, and as plain values whose paths are absolute."""
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise InputError(f"{missing[0]}: has no value; give {missing[0]}=VALUE")
    typed = cast(schema.Config, OmegaConf.to_object(config))
    plain = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), resolve=True))
    if typed.cohort.path is not None:
        plain["cohort"]["path"] = str(Path(typed.cohort.path).absolute())
    return typed, plain


def _build(typed: schema.Config, plain: dict[str, Any]) -> Settings:
    problems = list(schema.problems(typed))
    grid, labels = Grid(), LabelSet.from_config({"any": []})  # where there are none, what is wrong beside is still told
    with collected(problems):
        _require_devices(typed)
    with collected(problems):
        grid = Grid(**vars(typed.grid))
    with collected(problems):
        labels = LabelSet.from_config(typed.labels.classes)
    with collected(problems):
        spec = _spec(typed, grid, labels)
        drawn = synthesis.build(typed, spec)
    with collected(problems):
        augmentation = Augmentation(**vars(typed.augmentation))
    with collected(problems):
        study = _study(typed, plain)
    if problems:
        raise InputError(*problems)
    return Settings(
        outer=typed.outer,
        inner=typed.inner,
        seed=typed.seed,
        study=study,
        data=Path(typed.data),
        cohort=_cohort(typed),
        folds=typed.folds,
        spec=spec,
        column=typed.labels.column,
        augmentation=augmentation,
        synthesis=drawn,
        loader=typed.loader,
        loss=typed.loss,
        optimizer=typed.optimizer,
        schedule=typed.schedule,
        trainer=typed.trainer,
        early_stopping=typed.early_stopping,
        averaging=typed.averaging.decay,
        keep_every=typed.checkpoints.keep_every,
        logger=typed.logger,
        plain=plain,
    )


def _require_folders(typed: schema.Config) -> None:
    """Refuse places that can have no folder."""
    problems = [
        f"{name}={place}: no name of a folder; give another"
        for name, place in (("runs", typed.runs), ("data", typed.data))
        if not place.isprintable() or any(len(os.fsencode(part)) > _LONGEST_FOLDER for part in Path(place).parts)
    ]
    if problems:
        raise InputError(*problems)


def _require_devices(typed: schema.Config) -> None:
    """Refuse devices that cannot be meant, as far as can be told on a machine that may not be the one that trains."""
    devices.require_known(typed.trainer.devices)
    if typed.trainer.devices.isdigit():
        devices.share_of(typed.loader.batch_size, int(typed.trainer.devices))


def _cohort(typed: schema.Config) -> OwnTable | Phantom:
    if typed.cohort.path is not None:
        return OwnTable(Path(typed.cohort.path))
    return Phantom(Path(typed.data), **vars(typed.cohort.phantom))


def _spec(typed: schema.Config, grid: Grid, labels: LabelSet) -> NetworkSpec:
    return NetworkSpec(
        channels=tuple(typed.channels),
        placed_by=reference_channel(typed.channels) if typed.channels else Channel.FAT,
        labels=labels,
        grid=grid,
        regions=tuple(typed.region.regions),
        network=typed.model,
        threshold=typed.inference.threshold,
        flip=typed.inference.flip,
        scales=tuple(typed.inference.scales),
    )


def _study(typed: schema.Config, plain: Mapping[str, Any]) -> StudyFolder:
    _require_folders(typed)
    runs = Path(typed.runs)
    folder = named_study(runs, plain, schema.defaults()) if typed.study is None else StudyFolder(runs / typed.study)
    name = typed.study or folder.path.name
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith(".") or len(os.fsencode(name)) > _LONGEST_STUDY:
        characters = "letters, digits, '-', '_', '+' and '.'"
        raise InputError(f"study={name} is no folder name; use {characters}, {_LONGEST_STUDY} bytes at most")
    return folder
