"""``musclesense VERB``: what each verb takes. What it does is in `verbs`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from musclesense.cli import verbs
from musclesense.errors import InputError, report_input_errors
from musclesense.messages import to_console
from musclesense.phantom.cohorts.presets import PRESETS
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Echo, Limbs, Region

_DEBUG = "--debug"
_LIMBS = tuple(limbs.value for limbs in Limbs)
_REGIONS = tuple(region.value for region in Region)
PHASE_UNITS = ("auto", "radians", "milliradians", "12bit", "signed-12bit")
"""The values of `PhaseUnit`, named here since its module takes long to import."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; exit code 2 and a line on stderr where the input cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [argument for argument in given if argument != _DEBUG]
    with report_input_errors(debug=_DEBUG in given):
        to_console()
        if words[:1] == ["train"]:  # which speaks Hydra's language
            sys.argv[1:] = [*words[1:], *(word for word in given if word == _DEBUG)]
            verbs.train()
            return
        options = _parser().parse_args(words)
        options.run(options)


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
    subparsers = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Callable[..., None], help_: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    check = verb("check", verbs.check, "Check a cohort table and every file that it names.")
    check.add_argument("cohort", type=Path, metavar="COHORT")

    folds = verb("folds", verbs.folds, "Show the nested folds of a cohort: who is where, how balanced.")
    folds.add_argument("cohort", type=Path, metavar="COHORT")
    folds.add_argument("--region", choices=_REGIONS, help="rows of this region only")
    folds.add_argument("--outer", type=int, default=5, help="outer folds (default 5)")
    folds.add_argument("--inner", type=int, default=5, help="inner folds (default 5)")
    folds.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")

    export = verb("export-nnunet", verbs.export_nnunet, "Write labelled slices and folds as a raw data set of nnU-Net.")
    export.add_argument("cohort", type=Path, metavar="COHORT")
    export.add_argument("out", type=Path, metavar="OUT", help="folder to make, such as nnUNet_raw/Dataset101_Thigh")
    export.add_argument("--channels", nargs="+", required=True, metavar="CHANNEL", help="such as fat water")
    export.add_argument("--labels", type=Path, metavar="FILE", help="as in conf/labels (default: any value is muscle)")
    export.add_argument(
        "--column", choices=("mask", "compartments"), help="of the labels (default: the file's, or mask)"
    )
    export.add_argument("--region", choices=_REGIONS, help="rows of this region only")
    export.add_argument("--outer", type=int, default=0, help="outer fold whose test cases are the test set (default 0)")
    drawn = export.add_mutually_exclusive_group()
    drawn.add_argument("--folds", type=Path, metavar="FILE", help="folds of a study (default: drawn, 5 x 5)")
    drawn.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")

    imported = verb("import-nnunet", verbs.import_nnunet, "Read a raw data set of nnU-Net, or score its masks.")
    imported.add_argument("dataset", type=Path, metavar="DATASET", help="such as nnUNet_raw/Dataset101_Thigh")
    imported.add_argument("out", type=Path, metavar="OUT", help="folder of the cohort; with --predictions of the study")
    imported.add_argument("--region", choices=_REGIONS, help="of every case, where export-nnunet did not write")
    imported.add_argument("--channels", nargs="+", metavar="CHANNEL", help="our names of its channels, in order")
    imported.add_argument("--subject", metavar="REGEX", help="its group finds the subject in a case's name")
    imported.add_argument("--predictions", type=Path, metavar="DIR", help="score nnU-Net's masks of imagesTs")
    imported.add_argument("--fold", type=int, default=0, help="nnU-Net's, which predicted them (default 0)")

    phantom = verb("phantom", verbs.phantom, "Make a phantom cohort: images by MR physics, masks and a cohort table.")
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    phantom.add_argument("--preset", default="demo", help=f"one of {', '.join(PRESETS)} (default demo)")
    phantom.add_argument("--seed", type=int, default=1, help="same seed, same bytes (default 1)")
    cores = os.cpu_count() or 1
    phantom.add_argument("--workers", type=int, default=cores, help=f"processes (default: all {cores} cores)")
    phantom.add_argument("--slices", choices=("all", "mid"), default="all", help="mid: the middle slice alone")
    phantom.add_argument("--label-all", action="store_true", help="let every slice count as labelled, not the mid one")

    separate = verb("separate", verbs.separate, "Separate fat and water by three-point Dixon.")
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
        help="chemical shift of fat in voxels along the axes of a slice, 434 Hz over the bandwidth; fat is moved back",
    )

    segment = verb("segment", verbs.segment, "Segment a scan: mask, fat fractions, a picture to judge them by.")
    _add_echoes(segment, "magnitude and phase at this echo time; beside --fat the magnitude alone", nargs="+")
    for channel in [channel for channel in Channel if not channel.is_echo]:
        where = "instead of echoes with phases" if channel is Channel.FAT else "beside --fat"
        segment.add_argument(f"--{channel}", type=Path, metavar="IMAGE", help=f"{channel} image, {where}")
    segment.add_argument("--region", choices=_REGIONS, required=True)
    segment.add_argument("--limbs", choices=_LIMBS, default="both", help="limbs in the image")
    segment.add_argument(
        "--model", type=Path, required=True, help="a study below runs/, a run, a checkpoint or a bundle"
    )
    segment.add_argument(
        "--device", default="auto", help="where networks compute: auto (a GPU where there is one), cpu, cuda:1"
    )
    segment.add_argument("--out", type=Path, required=True, metavar="DIR")

    verb("train", verbs.train, "Train and test networks: as python train.py; train --help tells of its words.")

    report = verb("report", verbs.report, "Write a study's tables and its page, and print the scores.")
    report.add_argument("study", type=Path, metavar="STUDY", help="a folder below runs/")
    return parser


def _add_echoes(parser: argparse.ArgumentParser, help_: str, **options: Any) -> None:
    for name in Echo:
        parser.add_argument(f"--{name}", type=Path, metavar=("MAG", "PHASE"), help=help_, **options)
    parser.add_argument(
        "--phase-unit", default="auto", choices=PHASE_UNITS, help="how phases are stored (default: found from the data)"
    )
