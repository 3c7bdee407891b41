"""What a run works on: its cohort, folds and slices, found, made or refused."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from musclesense.cohort import cache, checks, folds
from musclesense.cohort.table import Acquisition, CohortTable, read_table, scan_table
from musclesense.errors import InputError
from musclesense.imaging.frame import reference_channel
from musclesense.networks.shipped import place_of
from musclesense.networks.spec import NetworkSpec
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.version import current_version, version_of
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_file, is_folder
from musclesense.storage.records import read_json
from musclesense.studies import content, writing
from musclesense.studies.layout import StudyFolder
from musclesense.studies.writing import open_study, require_same_study
from musclesense.training import config as schema
from musclesense.training.pretrained import require_unseen
from musclesense.training.settings import Settings
from musclesense.vocabulary import Region


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a run trains on; ``spec`` now knows the image by which its slices were placed."""

    slices: cache.SliceCache
    split: folds.Split
    spec: NetworkSpec


def check(settings: Settings) -> None:
    """Refuse a cohort or a study's folder that cannot be used, before anything is written.

    Raises:
        InputError: All that is wrong, a line each.
    """
    require_own_study(settings)
    table = _scan(settings.config)
    if table is None:
        return
    used = used_rows(settings, table)
    _require_good(settings, table, used)
    known = _require_same_cohort(settings, table, used, keep=False)
    if is_file(drawn := settings.study.folds):
        folds.load_fitting(drawn, None if known else table, used, **vars(settings.config.folds))


def require_own_study(settings: Settings) -> None:
    """Refuse a study's folder that belongs to another configuration.

    Raises:
        InputError: Names what differs.
    """
    require_same_study(settings.study, settings.config.plain, schema.defaults())


def folders(settings: Settings) -> tuple[tuple[Path, ...], ...]:
    """Give the folders of a run's inputs and of its results, which it makes; each from the outermost."""
    config, data, study, run = settings.config, Path(settings.config.data), settings.study.path, settings.run
    made = (data / "cache", *([_phantom_folder(config)] if config.cohort.path is None else []))
    own = (data, *(folder for folder in made if not is_folder(folder)))
    return own, (study.parent, study, run.path, run.checkpoints.path)


def prepare(settings: Settings) -> Inputs:
    """Find or make the cohort, the study's folder, its folds and its slices; safe among processes.

    Raises:
        InputError: The cohort cannot be used, or the study's folder belongs to another one.
    """
    table, spec = find_table(settings), settings.spec
    used = used_rows(settings, table)
    study = settings.study
    open_study(study, settings.config.plain, schema.defaults())
    nested = folds.load_or_draw(study.folds, table, used, known=is_file(study.cohort), **vars(settings.config.folds))
    with locked(study.cohort):
        if not is_file(study.cohort):
            content.write_content(study, used, _images(settings, used, keep=True))
    slices = cache.open_or_build(_cache_folder(settings, used, keep=True), used, **_how(settings))
    split = nested.split(**settings.fold)
    if (model := settings.config.pretrained) is not None:
        require_unseen(place_of(model), content.read_content(study) or [], {*split.validation, *split.test})
    return Inputs(slices, split, replace(spec, placed_by=slices.placed_by))


def find_table(settings: Settings) -> CohortTable:
    """Read the cohort's table; a phantom is made first where it is missing, once among processes.

    Raises:
        InputError: All that is wrong with it, it is not that with which the study began, or another version made the
            phantom.
    """
    path = settings.config.cohort.path
    table = read_table(Path(path)) if path is not None else _find_phantom(settings.config)
    used = used_rows(settings, table)
    if path is None:  # one's own was checked before
        _require_good(settings, table, used)
    _require_same_cohort(settings, table, used, keep=True)
    return table


def studies_alike(settings: Settings, table: CohortTable) -> list[StudyFolder]:
    """Find other studies of this configuration and cohort, where the run's own study has not begun."""
    if is_file(settings.study.settings):
        return []
    own = settings.config.cohort.path is not None
    cohort = content.Cohort.of(table, used_rows(settings, table)) if own else None
    return writing.studies_alike(settings.study, settings.config.plain, schema.defaults(), cohort)


def _find_phantom(config: schema.Config) -> CohortTable:
    folder = _phantom_folder(config)
    if not is_folder(folder):
        with locked(folder):
            if not is_folder(folder):
                _make_phantom(folder, config.cohort.phantom)
    _require_this_version(folder, config.cohort.phantom.preset)
    return read_table(folder / "cohort.csv")


def _scan(config: schema.Config) -> CohortTable | None:
    """Read one's own table with its problems, none of which is raised; of a phantom, see only whether it can be had."""
    phantom, folder = config.cohort.phantom, _phantom_folder(config)
    if config.cohort.path is not None:
        return scan_table(Path(config.cohort.path))
    find_preset(phantom.preset)
    if is_folder(folder):
        _require_this_version(folder, phantom.preset)
    else:
        from musclesense.phantom.cohorts.generate import require_known_slices

        require_known_slices(phantom.slices)
    return None


def _phantom_folder(config: schema.Config) -> Path:
    phantom = config.cohort.phantom
    part = "" if phantom.slices == "all" else f"-{phantom.slices}"
    return Path(config.data) / f"phantom-{phantom.preset}-{phantom.seed}{part}"


def _make_phantom(folder: Path, phantom: schema.PhantomConfig) -> None:
    from musclesense.phantom.cohorts.generate import generate  # a run that finds its phantom starts sooner without

    slices: Literal["all", "mid"] = phantom.slices  # type: ignore[assignment]  # it refuses others
    generate(folder, preset=phantom.preset, seed=phantom.seed, workers=os.cpu_count() or 1, slices=slices)


def _require_this_version(phantom: Path, preset: str) -> None:
    """Refuse a phantom of another version: the same arguments would give other scans now."""
    try:
        record = read_json(phantom / "phantom.json", remedy="remove the folder")
    except InputError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        record = None
    made_by = version_of(record) if isinstance(record, dict) else None
    if made_by != (now := current_version(preset)):
        versions = f"made by version {made_by or 'unknown'} of the phantom, and this is version {now}"
        raise InputError(f"{phantom}: {versions}; remove the folder")


def used_rows(settings: Settings, table: CohortTable) -> list[Acquisition]:
    """Give the rows of the table that a run works on."""
    return [acquisition for acquisition in table.acquisitions if acquisition.region in settings.spec.regions]


def _require_same_cohort(settings: Settings, table: CohortTable, used: Sequence[Acquisition], *, keep: bool) -> bool:
    """Refuse rows and images that are not those with which the study began; tell whether that is known."""
    images = _images(settings, used, keep=keep)
    return content.require_same_content(settings.study, table.path, used, images)


def _images(settings: Settings, used: Sequence[Acquisition], *, keep: bool) -> list[content.Images]:
    """Give the files of each row that a run learns from or is scored by, with their digests."""
    digests = _digests(settings, used, keep=keep)
    channels = {*settings.spec.channels, reference_channel(cache.common_channels(used))}
    files = [cache.image_files(row, settings.config.labels.column, sorted(channels)) for row in used]
    return [{name: (file, digests[file]) for name, file in own.items()} for own in files]


def _digests(settings: Settings, used: Sequence[Acquisition], *, keep: bool) -> dict[Path, str]:
    root, column = Path(settings.config.data) / "cache", settings.config.labels.column
    return cache.digests_of_images(root, used, column=column, channels=settings.spec.channels, keep=keep)


def _cache_folder(settings: Settings, used: Sequence[Acquisition], *, keep: bool) -> Path:
    digests = _digests(settings, used, keep=keep)
    return cache.cache_folder(Path(settings.config.data) / "cache", used, digests, **_how(settings))


def _how(settings: Settings) -> dict[str, Any]:
    """Give what a cache is made by."""
    spec = settings.spec
    own = {"grid": spec.grid, "labels": spec.labels, "normalisation": spec.normalisation}
    return {**own, "column": settings.config.labels.column}


def _require_good(settings: Settings, table: CohortTable, used: Sequence[Acquisition]) -> None:
    """Check the cohort, unless these very files were checked before: then their slices are in the cache."""
    channels = settings.spec.channels
    lacking = [name for name in channels if any(name not in row.channels for row in used)]
    with suppress(InputError):  # of files that cannot be read, which are told of below
        if used and not lacking and not table.problems and _cache_folder(settings, used, keep=False).is_dir():
            return
    checks.check(
        table,
        channels=tuple(dict.fromkeys([*channels, *(cache.common_channels(used) if used else ())])),
        regions=frozenset(map(Region, settings.spec.regions)),
        folds=settings.config.folds.outer,
        inner_folds=settings.config.folds.inner,
        label_column=settings.config.labels.column,
        labels=settings.spec.labels,
    )
