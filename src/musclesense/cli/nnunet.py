"""``musclesense export-nnunet`` and ``import-nnunet``: cohorts and masks exchanged with nnU-Net."""

import argparse

from musclesense.cli.folds import draw
from musclesense.cohort import folds
from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.nnunet.export import export, read_labels
from musclesense.nnunet.load import load
from musclesense.nnunet.predictions import import_predictions
from musclesense.vocabulary import Region


def run_export(options: argparse.Namespace) -> None:
    """Write labelled slices and folds as a raw data set of nnU-Net."""
    table = read_table(options.cohort)
    regions = {Region(options.region)} if options.region else {*Region}
    used = [row for row in table.acquisitions if row.region in regions]
    labels, column = read_labels(options.labels, options.column)
    if options.folds is not None:
        nested = folds.load_fitting(options.folds, table, used)
    else:
        nested = draw(table, used, seed=options.seed)
    export(
        table,
        options.out,
        channels=options.channels,
        labels=labels,
        column=column,
        regions=regions,
        folds=nested,
        outer=options.outer,
    )
    print(options.out)


def run_import(options: argparse.Namespace) -> None:
    """Read a raw data set of nnU-Net as a cohort, or score its masks."""
    if options.predictions is None:
        region = Region(options.region) if options.region else None
        print(load(options.dataset, options.out, region=region, channels=options.channels, subject=options.subject))
        return
    for name in ("region", "channels", "subject"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name}: does not go with --predictions, whose cases are known; leave it out")
    print(import_predictions(options.dataset, options.predictions, options.out, inner=options.fold))
