"""What a run works on: its cohort, folds and slices, found, made or refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from musclesense.cohort import cache, checks, folds
from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.writing import open_study, require_same_study
from musclesense.training import config as schema
from musclesense.training.settings import Settings
from musclesense.training.source import Phantom
from musclesense.vocabulary import Region


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a run trains on.

    Attributes:
        slices: Of the cohort.
        split: Who of it is trained, validated and tested on.
        spec: The network, which now knows the image by which its slices were placed.
    """

    slices: cache.SliceCache
    split: folds.Split
    spec: NetworkSpec


def check(settings: Settings) -> None:
    """Refuse a cohort or a study's folder that cannot be used, before anything is written.

    Raises:
        InputError: All that is wrong, a line each.
    """
    require_own_study(settings)
    table = settings.cohort.scan()
    if table is None:
        return
    used = used_rows(settings, table)
    _require_good(settings, table, used)
    if (drawn := settings.study.folds).is_file():
        folds.load_fitting(drawn, table, used, **vars(settings.folds))


def require_own_study(settings: Settings) -> None:
    """Refuse a study's folder that belongs to another configuration.

    Raises:
        InputError: Names what differs.
    """
    require_same_study(settings.study, settings.plain, schema.defaults())


def prepare(settings: Settings) -> Inputs:
    """Find or make the cohort, the study's folder, its folds and its slices; safe among processes.

    Raises:
        InputError: The cohort cannot be used, or the study's folder belongs to another one.
    """
    table, spec = find_table(settings), settings.spec
    used = used_rows(settings, table)
    open_study(settings.study, settings.plain, schema.defaults())
    nested = folds.load_or_draw(settings.study.folds, table, used, **vars(settings.folds))
    slices = cache.open_or_build(
        _cache_folder(settings, used), used, grid=spec.grid, labels=spec.labels, column=settings.column
    )
    return Inputs(slices, nested.split(settings.outer, settings.inner), replace(spec, placed_by=slices.placed_by))


def find_table(settings: Settings) -> CohortTable:
    """Read the cohort's table; a phantom is made first where it is missing, once among processes."""
    table = settings.cohort.read()
    if isinstance(settings.cohort, Phantom):  # one's own was checked before
        _require_good(settings, table, used_rows(settings, table))
    return table


def used_rows(settings: Settings, table: CohortTable) -> list[Acquisition]:
    """Give the rows of the table that a run works on."""
    return [acquisition for acquisition in table.acquisitions if acquisition.region in settings.spec.regions]


def _cache_folder(settings: Settings, used: Sequence[Acquisition]) -> Path:
    spec = settings.spec
    return cache.cache_folder(settings.data / "cache", used, grid=spec.grid, labels=spec.labels, column=settings.column)


def _require_good(settings: Settings, table: CohortTable, used: Sequence[Acquisition]) -> None:
    """Check the cohort, unless these very files were checked before: then their slices are in the cache."""
    channels = settings.spec.channels
    lacking = [name for name in channels if any(name not in row.channels for row in used)]
    if used and not lacking and not table.problems and _cache_folder(settings, used).is_dir():
        return
    values = {value for own in settings.spec.labels.values for value in own}
    checks.check(
        table,
        channels=tuple(dict.fromkeys([*channels, *(cache.common_channels(used) if used else ())])),
        regions=frozenset(map(Region, settings.spec.regions)),
        folds=settings.folds.outer,
        inner_folds=settings.folds.inner,
        label_column=settings.column,
        label_values=values or None,
    )
