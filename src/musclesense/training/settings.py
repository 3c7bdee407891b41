"""What travels through a run: the configuration, resolved once into what it means, typed and checked.

Nothing but `build` knows Hydra's or OmegaConf's objects.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, cast

from omegaconf import DictConfig, OmegaConf

from musclesense.cohort.table import scan_table
from musclesense.errors import InputError, collected, refuse
from musclesense.imaging.frame import reference_channel
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.content import Cohort
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.writing import named_study
from musclesense.training import config as schema
from musclesense.training.machine import devices
from musclesense.training.synthesis import build as synthesis
from musclesense.training.synthesis.schedule import Synthesis
from musclesense.vocabulary import Channel

_LONGEST_FOLDER = 255
_LONGEST_STUDY = 200  # file systems take 255, and drafts and locks beside the folder have longer names


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """One run: its configuration, and what that means.

    The image by which slices are placed, in ``spec``, is known once the cohort is read, see
    `musclesense.training.inputs`.
    """

    config: schema.Config
    study: StudyFolder
    spec: NetworkSpec
    synthesis: Synthesis | None

    @property
    def run(self) -> RunFolder:
        """The folder of this run."""
        return self.study.run(**self.fold)

    @property
    def fold(self) -> dict[str, int]:
        """``outer`` and ``inner``, as records have them."""
        return {"outer": self.config.outer, "inner": self.config.inner}

    @property
    def classes(self) -> frozenset[str]:
        """Dotted names of classes of the user's own, which no file but the run's may name."""
        own = (self.config.model, self.config.loss, self.config.optimizer, self.config.schedule)
        return frozenset(str(group["_target_"]) for group in own if "_target_" in group)

    def at(self, outer: int, inner: int) -> Self:
        """Give another run of the same study."""
        return replace(self, config=replace(self.config, outer=outer, inner=inner))


def build(config: DictConfig) -> Settings:
    """Build what a composed configuration means; nothing need exist yet, and nothing is written.

    Raises:
        InputError: All that no run could use, a line each.
    """
    return build_runs(config, [{}])[0]


def build_runs(config: DictConfig, folds: Iterable[Mapping[str, int]]) -> list[Settings]:
    """Build several runs of one study at the price of one, by the folds that each has in place of its configuration's.

    Raises:
        InputError: All that no run could use, a line each.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise InputError(f"{missing[0]}: has no value; give {missing[0]}=VALUE")
    typed = cast(schema.Config, OmegaConf.to_object(config))
    numbers = [{"outer": typed.outer, "inner": typed.inner, **own} for own in folds]
    problems = list(dict.fromkeys(problem for own in numbers for problem in typed.folds.lacks(**own)))
    with collected(problems):
        first = _build(typed)
    refuse(problems)
    return [first.at(**own) for own in numbers]


def _build(config: schema.Config) -> Settings:
    problems = list(schema.problems(config))
    grid, labels = Grid(), LabelSet.from_config({"any": []})  # where there are none, what is wrong beside is still told
    with collected(problems):
        _require_devices(config)
    with collected(problems):
        grid = Grid(**asdict(config.grid))
    with collected(problems):
        labels = LabelSet.from_config(config.labels.classes)
    with collected(problems):
        spec = _spec(config, grid, labels)
        drawn = synthesis.build(config, spec)
    with collected(problems):
        study = _study(config)
    refuse(problems)
    return Settings(config=config, study=study, spec=spec, synthesis=drawn)


def _require_folders(config: schema.Config) -> None:
    """Refuse places that can have no folder."""
    problems = [
        f"{name}={place}: no name of a folder; give another"
        for name, place in (("runs", config.runs), ("data", config.data))
        if not place.isprintable() or any(len(os.fsencode(part)) > _LONGEST_FOLDER for part in Path(place).parts)
    ]
    refuse(problems)


def _require_devices(config: schema.Config) -> None:
    """Refuse devices that cannot be meant, as far as can be told on a machine that may not be the one that trains."""
    devices.require_known(config.trainer.devices)
    if config.trainer.devices.isdigit():
        devices.share_of(config.loader.batch_size, int(config.trainer.devices))


def _own_cohort(config: schema.Config) -> Cohort | None:
    """Describe the table of one's own; None for a phantom, and for a table that will be refused."""
    with suppress(InputError):
        if config.cohort.path is not None:
            table = scan_table(Path(config.cohort.path))
            return Cohort.of(table, (row for row in table.acquisitions if row.region in config.region.regions))
    return None


def _spec(config: schema.Config, grid: Grid, labels: LabelSet) -> NetworkSpec:
    return NetworkSpec(
        channels=tuple(config.channels),
        placed_by=reference_channel(config.channels) if config.channels else Channel.FAT,
        labels=labels,
        grid=grid,
        regions=tuple(config.region.regions),
        network=config.model,
        normalisation=config.normalisation,
        **asdict(config.inference) | {"scales": tuple(config.inference.scales)},
    )


def _study(config: schema.Config) -> StudyFolder:
    _require_folders(config)
    runs, defaults = Path(config.runs), schema.defaults()
    named = StudyFolder(runs / config.study) if config.study else None
    folder = named or named_study(runs, config.plain, defaults, _own_cohort(config))
    name = config.study or folder.path.name
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith(".") or len(os.fsencode(name)) > _LONGEST_STUDY:
        characters = "letters, digits, '-', '_', '+' and '.'"
        raise InputError(f"study={name} is no folder name; use {characters}, {_LONGEST_STUDY} bytes at most")
    return folder
