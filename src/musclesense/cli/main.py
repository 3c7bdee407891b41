"""``musclesense <verb>``: each verb a few lines over one public function.

What a verb needs is imported when it is asked for, so that ``--help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from musclesense import __version__
from musclesense.errors import InputError, report_input_errors

if TYPE_CHECKING:
    from musclesense.cohort.folds import NestedFolds
    from musclesense.cohort.table import Acquisition, CohortTable

_DEBUG = "--debug"
_ECHOES = ("te345", "te460", "te575")
PHASE_UNITS = ("auto", "radians", "milliradians", "12bit", "signed-12bit")
"""The values of `PhaseUnit`, named here since its module takes long to import."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; exit code 2 and a line on stderr where the input cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    with report_input_errors(debug=_DEBUG in given):
        options = _parser().parse_args([argument for argument in given if argument != _DEBUG])
        options.verb(options)


def _check(options: argparse.Namespace) -> None:
    from musclesense.cohort import checks
    from musclesense.cohort.table import scan_table

    table = scan_table(options.cohort)
    checks.check(table)
    print(checks.summary(table))


def _folds(options: argparse.Namespace) -> None:
    from musclesense.cohort import folds
    from musclesense.cohort.table import read_table
    from musclesense.vocabulary import Region

    table = read_table(options.cohort)
    used = [row for row in table.acquisitions if options.region is None or row.region is Region(options.region)]
    drawn = _draw(table, used, seed=options.seed, outer=options.outer, inner=options.inner)
    print(folds.describe(drawn, used))


def _draw(table: "CohortTable", used: "Sequence[Acquisition]", **asked: int) -> "NestedFolds":
    """Draw nested folds of the rows that are used, or name the table that has too few."""
    from musclesense.cohort import folds

    try:
        return folds.draw(used, table=table.digest, **asked)
    except InputError as error:
        raise InputError(*(f"{table.path}: {problem}" for problem in error.problems)) from error


def _export_nnunet(options: argparse.Namespace) -> None:
    from musclesense.cohort import folds
    from musclesense.cohort.table import read_table
    from musclesense.nnunet.export import export, read_labels
    from musclesense.vocabulary import Region

    table = read_table(options.cohort)
    regions = {Region(options.region)} if options.region else {*Region}
    used = [row for row in table.acquisitions if row.region in regions]
    labels, column = read_labels(options.labels, options.column)
    if options.folds is not None:
        nested = folds.load_fitting(options.folds, table, used)
    else:
        nested = _draw(table, used, seed=options.seed)
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


def _import_nnunet(options: argparse.Namespace) -> None:
    if options.predictions is None:
        from musclesense.nnunet.load import load
        from musclesense.vocabulary import Region

        region = Region(options.region) if options.region else None
        print(load(options.dataset, options.out, region=region, channels=options.channels, subject=options.subject))
    else:
        from musclesense.nnunet.predictions import import_predictions

        for name in ("region", "channels", "subject"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name}: does not go with --predictions, whose cases are known; leave it out")
        print(import_predictions(options.dataset, options.predictions, options.out, inner=options.fold))


def _phantom(options: argparse.Namespace) -> None:
    from musclesense.phantom.cohorts.generate import generate

    made = generate(
        options.out,
        preset=options.preset,
        seed=options.seed,
        workers=options.workers,
        slices=options.slices,
        label_all=options.label_all,
    )
    print(made)


def _separate(options: argparse.Namespace) -> None:
    from musclesense.dixon.echoes import PhaseUnit
    from musclesense.dixon.fat import FatModel
    from musclesense.dixon.separation import separate_files

    model = FatModel.described(
        peaks=options.fat_peaks,
        larmor_mhz=options.larmor_mhz,
        flip_degrees=options.flip_angle,
        tr_ms=options.tr,
        shift=tuple(options.fat_shift),
    )
    separate_files(*_echo_pairs(options), out=options.out, phase_unit=PhaseUnit(options.phase_unit), model=model)


def _segment(options: argparse.Namespace) -> None:
    from musclesense.dixon.echoes import PhaseUnit
    from musclesense.segmentation import scan
    from musclesense.segmentation.results import segment_scan
    from musclesense.vocabulary import Limbs, Region

    if options.fat is None:
        if options.water is not None:
            raise InputError("--water: goes with --fat; give --fat as well, or three echoes with their phases")
        images = scan.from_echoes(*_echo_pairs(options), phase_unit=PhaseUnit(options.phase_unit))
    else:
        given = {name: getattr(options, name) for name in _ECHOES if getattr(options, name)}
        for name, files in given.items():
            if len(files) > 1:
                raise InputError(f"--{name}: two files beside --fat; give the magnitude alone, or leave out --fat")
        files = {"fat": options.fat, "water": options.water} | {name: files[0] for name, files in given.items()}
        images = scan.from_images({name: file for name, file in files.items() if file is not None})
    segment_scan(
        images, model=options.model, region=Region(options.region), limbs=Limbs(options.limbs), out=options.out
    )
    print(options.out / "mask.nii.gz")


def _report(options: argparse.Namespace) -> None:
    from musclesense.evaluation.report.page import write_report
    from musclesense.evaluation.report.tables import study_table

    page = write_report(options.study)
    print(study_table(options.study))
    print(f"report: {page}")


def _echo_pairs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Give magnitude and phase of each echo."""
    pairs = {name: getattr(options, name) or [] for name in _ECHOES}
    wrong = [name for name, files in pairs.items() if len(files) != 2]
    if wrong:
        asked = " ".join(f"--{name} MAG PHASE" for name in wrong)
        raise InputError(f"magnitude and phase of three echoes are needed; give {asked}, or --fat FILE")
    return [(files[0], files[1]) for files in pairs.values()]


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are lines like all others."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="musclesense",
        description="Segment calf and thigh muscle in 3-point Dixon MRI.",
        epilog="With --debug, anywhere on the line, an error shows its traceback.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, does: Any, help_: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        added.set_defaults(verb=does)
        return added

    check = verb("check", _check, "Check a cohort table and every file that it names.")
    check.add_argument("cohort", type=Path, metavar="COHORT")

    folds = verb("folds", _folds, "Show the nested folds of a cohort: who is where, how balanced.")
    folds.add_argument("cohort", type=Path, metavar="COHORT")
    folds.add_argument("--region", choices=("calf", "thigh"), help="rows of this region only")
    folds.add_argument("--outer", type=int, default=5, help="outer folds (default 5)")
    folds.add_argument("--inner", type=int, default=5, help="inner folds (default 5)")
    folds.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")

    export = verb("export-nnunet", _export_nnunet, "Write labelled slices and folds as a raw data set of nnU-Net.")
    export.add_argument("cohort", type=Path, metavar="COHORT")
    export.add_argument("out", type=Path, metavar="OUT", help="folder to make, such as nnUNet_raw/Dataset101_Thigh")
    export.add_argument("--channels", nargs="+", required=True, metavar="CHANNEL", help="such as fat water")
    export.add_argument("--labels", type=Path, metavar="FILE", help="as in conf/labels (default: any value is muscle)")
    export.add_argument(
        "--column", choices=("mask", "compartments"), help="of the labels (default: the file's, or mask)"
    )
    export.add_argument("--region", choices=("calf", "thigh"), help="rows of this region only")
    export.add_argument("--outer", type=int, default=0, help="outer fold whose D2 is the test set (default 0)")
    drawn = export.add_mutually_exclusive_group()
    drawn.add_argument("--folds", type=Path, metavar="FILE", help="folds of a study (default: drawn, 5 x 5)")
    drawn.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")

    imported = verb("import-nnunet", _import_nnunet, "Read a raw data set of nnU-Net as a cohort, or score its masks.")
    imported.add_argument("dataset", type=Path, metavar="DATASET", help="such as nnUNet_raw/Dataset101_Thigh")
    imported.add_argument("out", type=Path, metavar="OUT", help="folder of the cohort; with --predictions of the study")
    imported.add_argument(
        "--region", choices=("calf", "thigh"), help="of every case, where export-nnunet did not write"
    )
    imported.add_argument("--channels", nargs="+", metavar="CHANNEL", help="our names of its channels, in order")
    imported.add_argument("--subject", metavar="REGEX", help="its group finds the subject in a case's name")
    imported.add_argument("--predictions", type=Path, metavar="DIR", help="score nnU-Net's masks of imagesTs")
    imported.add_argument("--fold", type=int, default=0, help="nnU-Net's, which predicted them (default 0)")

    phantom = verb("phantom", _phantom, "Make a phantom cohort: images by MR physics, masks and a cohort table.")
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    phantom.add_argument("--preset", default="demo", help="demo (default), smoke, paper, secondary or robust")
    phantom.add_argument("--seed", type=int, default=1, help="same seed, same bytes (default 1)")
    cores = os.cpu_count() or 1
    phantom.add_argument("--workers", type=int, default=cores, help=f"processes (default: all {cores} cores)")
    phantom.add_argument("--slices", choices=("all", "mid"), default="all", help="mid: the middle slice alone")
    phantom.add_argument("--label-all", action="store_true", help="let every slice count as labelled, not the mid one")

    separate = verb("separate", _separate, "Separate fat and water by three-point Dixon.")
    _add_echoes(separate, "magnitude and phase at this echo time", nargs=2, required=True)
    separate.add_argument("--out", type=Path, required=True, metavar="DIR")
    separate.add_argument(
        "--fat-peaks", type=int, choices=(1, 6), default=1, help="peaks of the fat spectrum (default 1, as the paper)"
    )
    separate.add_argument("--larmor-mhz", type=float, metavar="MHZ", help="the scanner's, for 6 peaks (default 127.74)")
    separate.add_argument("--flip-angle", type=float, metavar="DEGREES", help="with --tr: take T1 weighting off fat")
    separate.add_argument("--tr", type=float, metavar="MS", help="repetition time; goes with --flip-angle")
    separate.add_argument(
        "--fat-shift",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("I", "J"),
        help="move fat back by these voxels, by which it lies off along the axes of a slice: 434 Hz over the bandwidth",
    )

    segment = verb("segment", _segment, "Segment a scan: mask, fat fractions, a picture to judge them by.")
    _add_echoes(segment, "magnitude and phase at this echo time; beside --fat the magnitude alone", nargs="+")
    segment.add_argument("--fat", type=Path, metavar="F", help="fat image, instead of echoes with phases")
    segment.add_argument("--water", type=Path, metavar="W", help="water image, beside --fat")
    segment.add_argument("--region", choices=("calf", "thigh"), required=True)
    segment.add_argument("--limbs", choices=("both", "left", "right"), default="both", help="limbs in the image")
    segment.add_argument("--model", type=Path, required=True, help="a study below runs/, a run or a checkpoint")
    segment.add_argument("--out", type=Path, required=True, metavar="DIR")

    report = verb("report", _report, "Write a study's tables and its page, and print the scores.")
    report.add_argument("study", type=Path, metavar="STUDY", help="a folder below runs/")
    return parser


def _add_echoes(parser: argparse.ArgumentParser, help_: str, **options: Any) -> None:
    for name in _ECHOES:
        parser.add_argument(f"--{name}", type=Path, metavar=("MAG", "PHASE"), help=help_, **options)
    parser.add_argument(
        "--phase-unit", default="auto", choices=PHASE_UNITS, help="how phases are stored (default: found from the data)"
    )
