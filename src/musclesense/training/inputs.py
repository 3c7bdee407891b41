"""What a run works on: its cohort, folds and slices, found, made or refused."""

import os
from dataclasses import dataclass
from pathlib import Path

from musclesense.cohort import cache, checks, folds
from musclesense.cohort.table import CHANNELS, Acquisition, CohortTable, Region, read_table, scan_table
from musclesense.errors import InputError
from musclesense.files import locked
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.phantom import generate
from musclesense.phantom.presets import find_preset
from musclesense.training.augmentation import Augmentation
from musclesense.training.config import Config, active_channels
from musclesense.training.folders import open_study, require_same_study, study_folder


@dataclass(frozen=True, eq=False)
class Inputs:
    """The cohort's slices and who of them is trained, validated and tested on."""

    slices: cache.SliceCache
    split: folds.Split


def check(config: Config) -> None:
    """Refuse what cannot be trained, before anything is written.

    Raises:
        InputError: All that is wrong, a line each.
    """
    problems = fold_problems(config)
    channels = active_channels(config)
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown or not channels:
        problems.append(f"channels={list(channels)}: give some of {', '.join(CHANNELS)}")
    for name, value in (
        ("loader.batch_size", config.loader.batch_size),
        ("trainer.max_epochs", config.trainer.max_epochs),
        ("callbacks.patience", config.callbacks.patience),
        ("loader.overfit_cases", config.loader.overfit_cases),
    ):
        if value is not None and value < 1:
            problems.append(f"{name}={value}: give 1 or more")
    if not 0 < config.labels.threshold < 1:
        problems.append(f"labels.threshold={config.labels.threshold}: give a probability between 0 and 1")
    if config.loader.workers < 0:
        problems.append(f"loader.workers={config.loader.workers}: give 0 or more")
    if config.seed < 0:
        problems.append(f"seed={config.seed}: give 0 or more")
    for make in (grid, labels, augmentation, regions):
        try:
            make(config)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(*problems)
    require_same_study(config)
    if config.cohort.path is not None:
        table = scan_table(Path(config.cohort.path))
        used = used_rows(config, table)
        _require_good(config, table, used)
        drawn, asked = study_folder(config) / "folds.json", config.folds
        if drawn.is_file():
            there = folds.NestedFolds.load(drawn)
            folds.require_fit(drawn, there, table, used, seed=asked.seed, outer=asked.outer, inner=asked.inner)
    else:
        find_preset(config.cohort.phantom.preset)


def fold_problems(config: Config) -> list[str]:
    """Name the folds asked for that do not exist."""
    asked = ((name, getattr(config, name), getattr(config.folds, name)) for name in ("outer", "inner"))
    return [
        f"{name}={value}: no such fold; give 0 to {count - 1}, or change folds.{name}={count}"
        for name, value, count in asked
        if not 0 <= value < count
    ]


def prepare(config: Config) -> Inputs:
    """Find or make the cohort, the study's folder, its folds and its slices; safe among processes.

    Raises:
        InputError: The cohort cannot be used, or the study's folder belongs to another one.
    """
    table = find_table(config)
    used = used_rows(config, table)
    study = open_study(config)
    nested = folds.load_or_draw(
        study / "folds.json", table, used, seed=config.folds.seed, outer=config.folds.outer, inner=config.folds.inner
    )
    slices = cache.open_or_build(_cache_folder(config, used), used, grid=grid(config), labels=labels(config))
    return Inputs(slices, nested.split(config.outer, config.inner))


def grid(config: Config) -> Grid:
    """Make the grid of a configuration."""
    return Grid(config.grid.spacing_mm, config.grid.rows, config.grid.columns, config.grid.fit)  # type: ignore[arg-type]


def labels(config: Config) -> LabelSet:
    """Make the label set of a configuration."""
    return LabelSet.from_config({name: list(values) for name, values in config.labels.classes.items()})


def augmentation(config: Config) -> Augmentation:
    """Make the augmentation of a configuration."""
    chosen = config.augmentation
    return Augmentation(chosen.shift, tuple(chosen.scale), chosen.flip_horizontal, chosen.flip_vertical)  # type: ignore[arg-type]


def regions(config: Config) -> frozenset[Region]:
    """Give the regions of a configuration."""
    unknown = [name for name in config.region.regions if name not in tuple(Region)]
    if unknown or not config.region.regions:
        raise InputError(f"region.regions={list(config.region.regions)}: give {' or '.join(Region)}, or both")
    return frozenset(map(Region, config.region.regions))


def find_table(config: Config) -> CohortTable:
    """Read the cohort's table; the phantom is made first where it is missing, once among processes."""
    if config.cohort.path is not None:
        return read_table(Path(config.cohort.path))
    phantom = config.cohort.phantom
    folder = Path(config.data) / f"phantom-{phantom.preset}-{phantom.seed}"
    if not folder.is_dir():
        with locked(folder):
            if not folder.is_dir():
                generate.generate(folder, preset=phantom.preset, seed=phantom.seed, workers=os.cpu_count() or 1)
    table = read_table(folder / "cohort.csv")
    _require_good(config, table, used_rows(config, table))
    return table


def used_rows(config: Config, table: CohortTable) -> list[Acquisition]:
    """Give the rows of the table that a configuration works on."""
    wanted = regions(config)
    return [acquisition for acquisition in table.acquisitions if acquisition.region in wanted]


def _cache_folder(config: Config, used: list[Acquisition]) -> Path:
    return cache.cache_folder(Path(config.data) / "cache", used, grid=grid(config), labels=labels(config))


def _require_good(config: Config, table: CohortTable, used: list[Acquisition]) -> None:
    """Check the cohort, unless these very files were checked before: then their slices are in the cache."""
    lacking = [name for name in active_channels(config) if any(name not in row.channels for row in used)]
    if used and not lacking and not table.problems and _cache_folder(config, used).is_dir():
        return
    values = {value for own in labels(config).values for value in own}
    checks.check(
        table,
        channels=tuple(dict.fromkeys([*active_channels(config), *(cache.common_channels(used) if used else ())])),
        regions=regions(config),
        folds=config.folds.outer,
        inner_folds=config.folds.inner,
        label_values=values or None,
        require_masks=True,
    )
