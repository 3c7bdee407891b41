"""What each verb does: a few lines over public functions, which are imported when the verb is asked for."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclesense.errors import InputError
from musclesense.vocabulary import CHANNELS, Echo, Region

if TYPE_CHECKING:
    from musclesense.cohort.folds import NestedFolds
    from musclesense.cohort.table import Acquisition, CohortTable


def check(options: Namespace) -> None:
    """Check a cohort table and every file that it names, and say who is in it."""
    from musclesense.cohort import checks
    from musclesense.cohort.table import scan_table

    table = scan_table(options.cohort)
    checks.check(table)
    print(checks.summary(table))


def folds(options: Namespace) -> None:
    """Draw the nested folds of a cohort and show them."""
    from musclesense.cohort.folds import describe
    from musclesense.cohort.table import read_table

    table = read_table(options.cohort)
    used = _rows_of(table, options.region)
    print(describe(_draw(table, used, seed=options.seed, outer=options.outer, inner=options.inner), used))


def export_nnunet(options: Namespace) -> None:
    """Write labelled slices and folds as a raw data set of nnU-Net."""
    from musclesense.cohort.folds import load_fitting
    from musclesense.cohort.table import read_table
    from musclesense.nnunet.export import export, read_labels

    table = read_table(options.cohort)
    used = _rows_of(table, options.region)
    labels, column = read_labels(options.labels, options.column)
    export(
        table,
        options.out,
        channels=options.channels,
        labels=labels,
        column=column,
        regions={Region(options.region)} if options.region else {*Region},
        folds=load_fitting(options.folds, table, used) if options.folds else _draw(table, used, seed=options.seed),
        outer=options.outer,
    )
    print(options.out)


def import_nnunet(options: Namespace) -> None:
    """Read a raw data set of nnU-Net as a cohort, or score its masks."""
    from musclesense.nnunet.load import load
    from musclesense.nnunet.predictions import import_predictions

    if options.predictions is None:
        region = Region(options.region) if options.region else None
        print(load(options.dataset, options.out, region=region, channels=options.channels, subject=options.subject))
        return
    for name in ("region", "channels", "subject"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name}: does not go with --predictions, whose cases are known; leave it out")
    print(import_predictions(options.dataset, options.predictions, options.out, inner=options.fold))


def phantom(options: Namespace) -> None:
    """Make a phantom cohort and name its table."""
    from musclesense.phantom.cohorts.generate import generate

    names = ("preset", "seed", "workers", "slices", "label_all")
    print(generate(options.out, **{name: getattr(options, name) for name in names}))


def separate(options: Namespace) -> None:
    """Write fat, water and fat fraction of three echoes."""
    from musclesense.dixon.fat import FatModel
    from musclesense.dixon.scan import require_free_images, separate_scan

    require_free_images(options.out)
    names = ("fat_peaks", "larmor_mhz", "flip_angle", "tr")
    given = {name: getattr(options, name) for name in names}
    model = FatModel.described(**given, fat_shift=tuple(options.fat_shift))
    echoes = {str(echo): getattr(options, echo) for echo in Echo}
    separate_scan(echoes, phase_unit=options.phase_unit, model=model).save(options.out)


def segment(options: Namespace) -> None:
    """Segment a scan and name the mask."""
    from musclesense.segmentation import segmenter
    from musclesense.segmentation.result import MASK, require_place
    from musclesense.segmentation.scan import read_scan

    scan = read_scan(phase_unit=options.phase_unit, **{name: _images(getattr(options, name)) for name in CHANNELS})
    require_place(options.out)
    asked = {name: getattr(options, name) for name in ("model", "region", "limbs", "device")}
    made = segmenter.segment(scan, **asked)
    print(made.save(options.out) / MASK)


def train() -> None:
    """Do what the arguments of this process say, as ``python train.py`` in a clone of the repository."""
    import hydra

    from musclesense.launch import main
    from musclesense.training.composition import NAME, config_folder

    decorated = hydra.main(config_path=str(config_folder().resolve()), config_name=NAME, version_base="1.3")
    main.command(decorated(main.run), ("musclesense", "train"))


def report(options: Namespace) -> None:
    """Write a study's tables and its page; print the scores and where the page is."""
    from musclesense.evaluation.report.page import write_report
    from musclesense.evaluation.report.tables import study_table

    page = write_report(options.study)
    print(study_table(options.study))
    print(f"report: {page}")


def _rows_of(table: "CohortTable", region: str | None) -> "list[Acquisition]":
    return [row for row in table.acquisitions if region in (None, row.region)]


def _draw(table: "CohortTable", used: "Sequence[Acquisition]", **asked: int) -> "NestedFolds":
    """Draw nested folds; where there are too few subjects, the table is named."""
    from musclesense.cohort.folds import draw

    try:
        return draw(used, table=table.digest, **asked)
    except InputError as error:
        raise InputError(*(f"{table.path}: {problem}" for problem in error.problems)) from error


def _images(given: Path | list[Path] | None) -> Any:
    """Give one image, or a magnitude with its phase."""
    if isinstance(given, list):
        return given[0] if len(given) == 1 else tuple(given)
    return given
