"""What a run works on: its cohort, folds and slices, found, made or refused.

What makes a phantom is imported where one is made: a run that finds its own starts sooner.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from musclesense.cohort import cache, checks, folds
from musclesense.cohort.table import LABEL_COLUMNS, Acquisition, CohortTable, read_table, scan_table
from musclesense.errors import InputError
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.version import PHANTOM_VERSION, version_of
from musclesense.storage.locks import locked
from musclesense.storage.records import read_json
from musclesense.studies.layout import StudyFolder
from musclesense.training.augmentation import Augmentation
from musclesense.training.config import Config, active_channels
from musclesense.training.folders import open_study, require_same_study, study_folder
from musclesense.training.machine import devices, hardware
from musclesense.training.synthesis.pool import Pool, Recipe
from musclesense.training.synthesis.schedule import Synthesis
from musclesense.vocabulary import CHANNELS, Region

_LARGEST_NUMBER = 2**31 - 1
_LONGEST_NAME = 255


@dataclass(frozen=True, eq=False)
class Inputs:
    """The cohort's slices, who of them is trained, validated and tested on, and what is drawn beside."""

    slices: cache.SliceCache
    split: folds.Split
    synthesis: Synthesis | None = None


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
        ("callbacks.keep_every", config.callbacks.keep_every),
        ("loader.overfit_cases", config.loader.overfit_cases),
    ):
        if value is not None and not 1 <= value <= _LARGEST_NUMBER:
            problems.append(f"{name}={value}: give 1 or more" + (f", up to {_LARGEST_NUMBER}" if value > 1 else ""))
    for name, value in (
        ("loader.workers", config.loader.workers),
        ("seed", config.seed),
        ("folds.seed", config.folds.seed),
        ("cohort.phantom.seed", config.cohort.phantom.seed),
        ("logger.overlays", config.logger.overlays),
    ):
        if not 0 <= value <= _LARGEST_NUMBER:
            problems.append(f"{name}={value}: give 0 or more" + (f", up to {_LARGEST_NUMBER}" if value > 0 else ""))
    for name, place in (("runs", config.runs), ("data", config.data)):
        if not place.isprintable() or any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(place).parts):
            problems.append(f"{name}={place}: no name of a folder; give another")
    if not math.isfinite(config.callbacks.min_delta):
        problems.append(f"callbacks.min_delta={config.callbacks.min_delta}: give a number")
    problems.extend(hardware.problems(config.trainer))
    if config.labels.column not in LABEL_COLUMNS:
        problems.append(f"labels.column={config.labels.column}: give {' or '.join(LABEL_COLUMNS)}")
    if not 0 < config.labels.threshold < 1:
        problems.append(f"labels.threshold={config.labels.threshold}: give a probability between 0 and 1")
    if config.callbacks.averaging is not None and not 0 <= config.callbacks.averaging < 1:
        problems.append(f"callbacks.averaging={config.callbacks.averaging}: give a decay from 0 to below 1, or null")
    for make in (grid, labels, augmentation, regions, synthesis, _require_devices):
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
        drawn, asked = StudyFolder(study_folder(config)).folds, config.folds
        if drawn.is_file():
            there = folds.NestedFolds.load(drawn)
            folds.require_fit(drawn, there, table, used, seed=asked.seed, outer=asked.outer, inner=asked.inner)
    else:
        find_preset(config.cohort.phantom.preset)
        if (folder := _phantom_folder(config)).is_dir():
            _require_this_phantom(folder)
        else:
            from musclesense.phantom.cohorts.generate import require_known_slices

            require_known_slices(config.cohort.phantom.slices)


def _require_devices(config: Config) -> None:
    """Refuse devices that cannot be meant, as far as can be told on a machine that may not be the one that trains."""
    devices.require_known(config.trainer.devices)
    if config.trainer.devices.isdigit():
        devices.share_of(config.loader.batch_size, int(config.trainer.devices))


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
    drawn = StudyFolder(open_study(config)).folds
    nested = folds.load_or_draw(
        drawn, table, used, seed=config.folds.seed, outer=config.folds.outer, inner=config.folds.inner
    )
    slices = cache.open_or_build(
        _cache_folder(config, used), used, grid=grid(config), labels=labels(config), column=config.labels.column
    )
    return Inputs(slices, nested.split(config.outer, config.inner), synthesis(config))


def grid(config: Config) -> Grid:
    """Make the grid of a configuration."""
    return Grid(config.grid.spacing_mm, config.grid.rows, config.grid.columns, config.grid.fit)  # type: ignore[arg-type]


def labels(config: Config) -> LabelSet:
    """Make the label set of a configuration."""
    return LabelSet.from_config({name: list(values) for name, values in config.labels.classes.items()})


def augmentation(config: Config) -> Augmentation:
    """Make the augmentation of a configuration."""
    return Augmentation.from_config(config.augmentation)


def regions(config: Config) -> frozenset[Region]:
    """Give the regions of a configuration."""
    unknown = [name for name in config.region.regions if name not in tuple(Region)]
    if unknown or not config.region.regions:
        raise InputError(f"region.regions={list(config.region.regions)}: give {' or '.join(Region)}, or both")
    return frozenset(map(Region, config.region.regions))


def synthesis(config: Config) -> Synthesis | None:
    """Give what is drawn for D3 beside the cohort's slices, or None where nothing is.

    Raises:
        InputError: All that is wrong, a line each.
    """
    chosen = config.synthesis
    if chosen.name == "none":
        return None
    if problems := list(_problems_of_synthesis(config)):
        raise InputError(*problems)
    recipe = Recipe(
        seed=chosen.seed,
        regions=tuple(sorted(regions(config))),
        without=tuple(sorted(chosen.without)),
        grid=grid(config),
        labels=labels(config),
        column=config.labels.column,
        shard=chosen.shard,
    )
    return Synthesis(
        pool=Pool.below(Path(config.data) / "pool", recipe),
        slices=chosen.slices,
        initial=chosen.initial,
        growth=chosen.growth,
        per_epoch=chosen.per_epoch,
        replace=chosen.replace,
        workers=chosen.workers,
    )


def _problems_of_synthesis(config: Config) -> Iterator[str]:
    from musclesense.phantom import any_scanner

    chosen = config.synthesis
    if chosen.name != "any_scanner":
        yield f"synthesis.name={chosen.name}: give none or any_scanner"
    if active_channels(config) != ("fat",):
        yield (
            f"synthesis={chosen.name}: only fat images can be drawn, and the channels are "
            f"{', '.join(active_channels(config))}; give edition=simplified or synthesis=none"
        )
    for name in chosen.without:
        if name not in any_scanner.INGREDIENTS:
            known = ", ".join(any_scanner.INGREDIENTS)
            yield f"synthesis.without={name}: no such ingredient; leave out some of {known}"
    for name, least in (("per_epoch", 1), ("shard", 1), ("growth", 0), ("seed", 0), ("workers", 0)):
        if (value := getattr(chosen, name)) < least:
            yield f"synthesis.{name}={value}: give {least} or more"
    if config.loader.overfit_cases is not None:
        yield (
            f"loader.overfit_cases={config.loader.overfit_cases}: trains on a few scans alone; "
            "give synthesis=none or loader.overfit_cases=null"
        )
    yield from _problems_of_drawn_labels(config)
    if chosen.initial < chosen.per_epoch:
        yield f"synthesis.initial={chosen.initial}: give {chosen.per_epoch} or more, as many as an epoch trains on"
    if chosen.slices < chosen.initial:
        yield f"synthesis.slices={chosen.slices}: give {chosen.initial} or more, as many as there are initially"


def _problems_of_drawn_labels(config: Config) -> Iterator[str]:
    """Name what a label set asks of the truth that drawn slices cannot have."""
    from musclesense.phantom.anatomy.templates import compartment_values

    asked = [(name, value) for name, values in config.labels.classes.items() for value in values]
    if config.labels.column == "mask":
        unknown = [f"value {value}" for _, value in asked if value != 1]
    elif config.labels.column == "compartments":
        there = {
            pair for region in Region if region in config.region.regions for pair in compartment_values(region).items()
        }
        # A value under another name would be another muscle's: a cohort may count otherwise than the phantom.
        unknown = [f"value {value} of {name}" for name, value in asked if (name, value) not in there]
        unknown += [f"any positive value ({name})" for name, values in config.labels.classes.items() if not values]
    else:
        return
    if unknown:
        some = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        yield (
            f"labels={config.labels.name}: {some} {'is' if len(unknown) == 1 else 'are'} not in drawn "
            f"{config.labels.column.removesuffix('s')}s; "
            "give labels=whole_muscle, labels=compartments or synthesis=none"
        )


def find_table(config: Config) -> CohortTable:
    """Read the cohort's table; the phantom is made first where it is missing, once among processes."""
    if config.cohort.path is not None:
        return read_table(Path(config.cohort.path))
    phantom, folder = config.cohort.phantom, _phantom_folder(config)
    if not folder.is_dir():
        with locked(folder):
            if not folder.is_dir():
                from musclesense.phantom.cohorts.generate import generate

                generate(
                    folder,
                    preset=phantom.preset,
                    seed=phantom.seed,
                    workers=os.cpu_count() or 1,
                    slices=phantom.slices,  # type: ignore[arg-type]
                )
    _require_this_phantom(folder)
    table = read_table(folder / "cohort.csv")
    _require_good(config, table, used_rows(config, table))
    return table


def _phantom_folder(config: Config) -> Path:
    phantom = config.cohort.phantom
    part = "" if phantom.slices == "all" else f"-{phantom.slices}"
    return Path(config.data) / f"phantom-{phantom.preset}-{phantom.seed}{part}"


def _require_this_phantom(folder: Path) -> None:
    """Refuse a phantom of another version: the same arguments would give other scans now."""
    try:
        record = read_json(folder / "phantom.json", remedy="remove the folder")
    except InputError:
        record = None
    made_by = version_of(record) if isinstance(record, dict) else None
    if made_by != PHANTOM_VERSION:
        raise InputError(
            f"{folder}: made by version {made_by or 'unknown'} of the phantom, and this is version {PHANTOM_VERSION}; "
            "remove the folder"
        )


def used_rows(config: Config, table: CohortTable) -> list[Acquisition]:
    """Give the rows of the table that a configuration works on."""
    wanted = regions(config)
    return [acquisition for acquisition in table.acquisitions if acquisition.region in wanted]


def _cache_folder(config: Config, used: list[Acquisition]) -> Path:
    return cache.cache_folder(
        Path(config.data) / "cache", used, grid=grid(config), labels=labels(config), column=config.labels.column
    )


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
        label_column=config.labels.column,
        label_values=values or None,
    )
