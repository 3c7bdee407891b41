"""``musclesense VERB``: what each verb takes. What it does is in `scans` and `studies`."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, NoReturn

from musclesense import endings
from musclesense.cli import scans, studies
from musclesense.errors import InputError, report_input_errors
from musclesense.messages import to_console
from musclesense.phantom.cohorts.presets import PRESETS
from musclesense.storage.paths import is_file, require_writable
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Echo, Limbs, Region

_DEBUG = "--debug"
_CORES = os.cpu_count() or 1
_LIMBS = ("auto", *(limbs.value for limbs in Limbs))
_REGIONS = tuple(region.value for region in Region)
PHASE_UNITS = ("auto", "radians", "milliradians", "degrees", "tenth-degrees", "12bit", "signed-12bit")
"""The values of `PhaseUnit`, named here since its module takes long to import."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; exit code 2 and a line on stderr where the input cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [argument for argument in given if argument != _DEBUG]
    with endings.told(), report_input_errors(debug=_DEBUG in given):
        to_console()
        if words[:1] == ["train"]:  # which speaks Hydra's language
            sys.argv[1:] = [*words[1:], *(word for word in given if word == _DEBUG)]
            studies.train()
            return
        asked = vars(_parser().parse_args(words))
        if isinstance(out := asked.get("out"), Path):  # before the work, which takes long
            require_writable(out.parent if is_file(out) else out)
        asked.pop("run")(**asked)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are lines like all others."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized") and "--best" in message.split():
            raise InputError("--best: gave no better masks and was taken out; leave it out")
        raise InputError(f"{message}; see {self.prog} --help")


_Argument = Callable[[Any], object]
"""Adds an argument to a parser or to a group of one."""


def _takes(*names: str, **options: Any) -> _Argument:
    return methodcaller("add_argument", *names, **options)


def _echoes(help_: str, **options: Any) -> list[_Argument]:
    unit = "how phases are stored (default: found from the data)"
    turn = "what one turn is in the stored phases, for any other unit"
    parts = "the pairs are real and imaginary images"
    return [
        *(_takes(f"--{name}", type=Path, metavar=("MAG", "PHASE"), help=help_, **options) for name in Echo),
        _takes("--phase-unit", default="auto", choices=PHASE_UNITS, help=unit),
        _takes("--phase-turn", type=float, metavar="VALUE", help=turn),
        _takes("--real-imaginary", action="store_true", help=parts),
    ]


_COHORT = _takes("cohort", type=Path, metavar="COHORT")
_ROWS = _takes("--region", choices=_REGIONS, help="rows of this region only")
_SEED = _takes("--seed", type=int, default=0, help="of the draw (default 0)")
_FOLDS = _takes("--folds", type=Path, metavar="FILE", help="folds of a study (default: drawn, 5 x 5)")
_OUT = _takes("--out", type=Path, required=True, metavar="DIR")
_WHERE = "where networks compute: auto (a GPU where there is one), cpu, cuda:1"
_TABLES = _takes("--out", type=Path, metavar="DIR", help="write tables (CSV and LaTeX) and pictures there")
_READ = _takes("studies", type=Path, nargs="+", metavar="STUDY", help="below runs/, or results of segment --cohort")
_TIMES = "table of subject, session and weeks or date (default: that of a phantom)"
_VISITS = _takes("--visits", type=Path, metavar="FILE", help=_TIMES)
_DEVICE = _takes("--device", default="auto", help=_WHERE)
_ALLOWED = "a network of your own that the model may name: its code is run (may be given several times)"
_CLASSES = _takes("--allow-class", action="append", default=[], metavar="my.Net", help=_ALLOWED)
_MODEL_HELP = "a network that comes with the package, by its name (default: the one that takes the images; see models)"
_MODEL = _takes("--model", metavar="NAME|PATH", help=f"{_MODEL_HELP}; or a study, a run, a checkpoint, a bundle")
_FAST_HELP = "look at each slice once: the least time"
_COLUMN = _takes("--column", choices=("mask", "compartments"), help="of the labels (default: the file's, or mask)")
_ANONYMOUS = _takes("--anonymous", action="store_true", help="leave the names of files out of run.json")
_MEASURING = (
    _takes("--erode", type=float, metavar="MM", help="measure once more without so much of each region's border"),
    _takes("--slices", metavar="FIRST:LAST", help="slices that totals count, from 0 (default: all)"),
    _takes("--with-cut", action="store_true", help="let totals count what the edge of the image cuts"),
)
_IMAGES = (
    _takes("--fat", type=Path, metavar="IMAGE", help="fat image"),
    *(
        _takes(f"--{channel}", type=Path, metavar="IMAGE", help=f"{channel} image, beside --fat")
        for channel in Channel
        if channel not in (Channel.FAT, Channel.IMAGE) and not channel.is_echo
    ),
)
_SERIES = _takes("--series", type=int, nargs="+", metavar="N", help="of DICOM, series to take (default: all)")
_SCAN = (
    _takes("path", type=Path, nargs="?", metavar="SCAN", help="an image, a folder of one scan's images, or DICOM"),
    _takes("--echo-times", type=float, nargs="+", metavar="MS", help="of the echoes of SCAN, where no file tells"),
    _SERIES,
)
_SITE_MODEL = "a network of the package, or a bundle, that takes one image (default: those of the package; repeatable)"
_SITE_RUNTIME = "npm's package onnxruntime-web, packed or unpacked (default: fetched)"
_VIEWER = "npm's package @niivue/niivue, packed or unpacked (default: this package's, or fetched)"
_REGISTRY = _takes("--registry", default="https://registry.npmjs.org", metavar="URL", help="to fetch it from")
_NAME = "under which others reach the page, by a proxy (may be given several times)"
_PAGE = (
    _takes("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine alone)"),
    _takes("--port", type=int, default=8000, help="(default 8000; 0: any that is free)"),
    _takes("--name", dest="names", action="append", default=[], metavar="NAME", help=_NAME),
    _takes("--token-file", type=Path, metavar="FILE", help="what visitors have to know; needed where others come"),
)
_FAT_PEAKS = "peaks of the fat spectrum (default 1, as the paper)"
_FAT_SHIFT = "chemical shift of fat in voxels along the axes of a slice, 434 Hz over the bandwidth; fat is moved back"


def _folds_or_seed(parser: argparse.ArgumentParser) -> None:
    drawn = parser.add_mutually_exclusive_group()
    _FOLDS(drawn)
    _SEED(drawn)


_VERBS: Mapping[Callable[..., None], Sequence[_Argument]] = {
    studies.check: [_COHORT],
    studies.folds: [
        _COHORT,
        _ROWS,
        _takes("--outer", type=int, default=5, help="outer folds (default 5)"),
        _takes("--inner", type=int, default=5, help="inner folds (default 5)"),
        _SEED,
    ],
    studies.export_nnunet: [
        _COHORT,
        _takes("out", type=Path, metavar="OUT", help="folder to make, such as nnUNet_raw/Dataset101_Thigh"),
        _takes("--channels", nargs="+", required=True, metavar="CHANNEL", help="such as fat water"),
        _takes("--labels", type=Path, metavar="FILE", help="as in conf/labels (default: any value is muscle)"),
        _COLUMN,
        _ROWS,
        _takes("--outer", type=int, default=0, help="outer fold whose test cases are the test set (default 0)"),
        _folds_or_seed,
    ],
    studies.import_nnunet: [
        _takes("dataset", type=Path, metavar="DATASET", help="such as nnUNet_raw/Dataset101_Thigh"),
        _takes("out", type=Path, metavar="OUT", help="folder of the cohort; with --predictions of the study"),
        _takes("--region", choices=_REGIONS, help="of every case, where export-nnunet did not write"),
        _takes("--channels", nargs="+", metavar="CHANNEL", help="our names of its channels, in order"),
        _takes("--subject", metavar="REGEX", help="its group finds the subject in a case's name"),
        _takes("--predictions", type=Path, metavar="DIR", help="score nnU-Net's masks of imagesTs"),
        _takes("--fold", type=int, default=0, help="nnU-Net's, which predicted them (default 0)"),
        _takes("--cohort", type=Path, metavar="TABLE", help="with --predictions: the table, if it was moved"),
    ],
    scans.import_dicom: [
        _takes("folder", type=Path, metavar="FOLDER", help="as scanner or PACS exported it"),
        _OUT,
        _SERIES,
    ],
    scans.find_scans: [
        _takes(
            "folder", type=Path, metavar="FOLDER", help="with a folder for each subject, or images named after them"
        ),
        _takes("--region", choices=_REGIONS, help="of every scan (default: as names tell)"),
        _takes(
            "--out", type=Path, required=True, metavar="TABLE", help="the cohort table to write, such as cohort.csv"
        ),
    ],
    studies.phantom: [
        _takes("out", type=Path, metavar="OUT", help="folder to make"),
        _takes("--preset", default="demo", help=f"one of {', '.join(PRESETS)} (default demo)"),
        _takes("--seed", type=int, default=1, help="same seed, same bytes (default 1)"),
        _takes("--workers", type=int, default=_CORES, help=f"processes (default: all {_CORES} cores)"),
        _takes("--slices", choices=("all", "mid"), default="all", help="mid: the middle slice alone"),
        _takes("--label-all", action="store_true", help="let every slice count as labelled, not the mid one"),
    ],
    scans.separate: [
        *_echoes("magnitude and phase at this echo time, or one complex image", nargs="+", required=True),
        _OUT,
        _takes("--fat-peaks", type=int, choices=(1, 6), default=1, help=_FAT_PEAKS),
        _takes("--larmor-mhz", type=float, metavar="MHZ", help="the scanner's, for 6 peaks (default 127.74)"),
        _takes("--flip-angle", type=float, metavar="DEGREES", help="with --tr: take T1 weighting off fat"),
        _takes("--tr", type=float, metavar="MS", help="repetition time; goes with --flip-angle"),
        _takes("--fat-shift", type=float, nargs=2, default=(0.0, 0.0), metavar=("I", "J"), help=_FAT_SHIFT),
    ],
    scans.segment: [
        *_SCAN,
        *_echoes("magnitude and phase at this echo time; beside --fat the magnitude alone", nargs="+"),
        *_IMAGES,
        _takes("--image", type=Path, metavar="IMAGE", help="image of any contrast, for a model that takes one"),
        _takes("--cohort", type=Path, metavar="TABLE", help="segment every scan of a cohort table"),
        _takes("--jobs", type=int, default=1, metavar="N", help="with --cohort: so many scans at once (default 1)"),
        _takes("--part", metavar="I/N", help="with --cohort: the I-th of N parts of the table alone, without tables"),
        _takes("--region", choices=_REGIONS, help="what the images show (default: found in them)"),
        _takes("--limbs", choices=_LIMBS, default="auto", help="limbs in the image"),
        _MODEL,
        _takes("--fast", dest="effort", action="store_const", const="fast", default="default", help=_FAST_HELP),
        _CLASSES,
        _DEVICE,
        _takes("--out-of-fold", action="store_true", help="of a study, the networks that have not seen the subject"),
        _ANONYMOUS,
        _takes("--dicom-seg", action="store_true", help="of DICOM: write mask.dcm, too, which holds who is shown"),
        *_MEASURING,
        _OUT,
    ],
    scans.measure: [
        *_SCAN,
        _takes("--mask", type=Path, required=True, metavar="MASK", help="NIfTI or NRRD, in the voxels of the images"),
        *_IMAGES,
        _takes("--image", type=Path, metavar="IMAGE", help="image of any contrast, instead of --fat"),
        _takes("--labels", type=Path, metavar="FILE", help="as in conf/labels (default: those of the automatic mask)"),
        _takes("--limbs", choices=_LIMBS, default="auto", help="limbs in the image"),
        _takes("--automatic", type=Path, metavar="DIR", help="results of segment (default: those beside MASK)"),
        _ANONYMOUS,
        *_MEASURING,
        _OUT,
    ],
    studies.score: [
        _COHORT,
        _takes("out", type=Path, metavar="OUT", help="folder to make: tables and pictures"),
        _MODEL,
        _takes(
            "--labels", type=Path, metavar="FILE", help="what the masks hold, as in conf/labels (default: as trained)"
        ),
        _COLUMN,
        _takes("--ignore", type=int, action="append", default=[], metavar="VALUE", help="of voxels not to be judged"),
        _takes("--no-pictures", dest="pictures", action="store_false", help="write tables alone"),
        _takes("--anonymous", action="store_true", help="leave the names of files out of record.json"),
        _takes("--out-of-fold", action="store_true", help="COHORT is the study's: by networks that have not seen each"),
        _takes("--worst-first", action="store_true", help="let galleries show the worst scans"),
        _CLASSES,
        _DEVICE,
    ],
    scans.serve: [
        *_PAGE,
        _takes("--data", type=Path, metavar="DIR", help="of uploads and results (default: ~/.musclesense/serve)"),
        _MODEL,
        _DEVICE,
        _takes("--jobs", type=int, default=1, metavar="N", help="scans segmented at once (default 1)"),
        _takes("--queue", type=int, default=20, metavar="N", help="scans that may wait (default 20)"),
        _takes("--minutes", type=float, default=60, metavar="N", help="that a scan may take (default 60)"),
        _takes("--keep-hours", type=float, default=24, metavar="N", help="until all is removed (default 24)"),
        _takes("--upload-mb", type=int, default=1024, metavar="N", help="size of an upload in MiB (default 1024)"),
    ],
    scans.site: [
        _takes("--out", type=Path, required=True, metavar="DIR", help="folder to make"),
        _takes("--model", dest="models", action="append", default=[], metavar="NAME|PATH", help=_SITE_MODEL),
        _takes("--runtime", type=Path, metavar="FILE|DIR", help=_SITE_RUNTIME),
        _REGISTRY,
    ],
    scans.review: [
        _takes("folder", type=Path, metavar="FOLDER", help="results of segment, of one scan or many, or a study"),
        *_PAGE,
    ],
    scans.models: [_takes("name", nargs="?", metavar="NAME", help="show the card of this one, or of a bundle")],
    studies.export_bundle: [
        _takes("model", metavar="MODEL", help="a study below runs/, a run, a checkpoint or a bundle"),
        _takes("--out", type=Path, required=True, metavar="OUT", help="folder to make, or a file NAME.musclesense"),
        _takes("--card", type=Path, metavar="FILE", help="what people say of the networks, as YAML: title, use, ..."),
        _takes("--across-mm", type=float, metavar="MM", help="let slices this far apart count for each other"),
        _takes("--half", action="store_true", help="store weights in half precision, in half the room"),
        _CLASSES,
    ],
    studies.export_onnx: [
        _takes("model", metavar="MODEL", help="a network of the package, a run, a checkpoint or a bundle of one"),
        _takes("--out", type=Path, required=True, metavar="FILE", help="file to write, such as network.onnx"),
        _CLASSES,
    ],
    studies.train: [],
    studies.search: [
        _takes("words", nargs="+", metavar="KEY=VALUE", help="as for train; search=learning or KEY=interval(A,B)"),
        _takes("--trials", type=int, default=20, metavar="N", help="in all (default 20); the same command goes on"),
        _SEED,
    ],
    studies.report: [
        _takes("study", type=Path, metavar="STUDY", help="a folder below runs/"),
        _takes("--volumes", action="store_true", help="let the page show scans in a viewer, NiiVue"),
        _takes("--viewer", type=Path, metavar="FILE|DIR", help=_VIEWER),
        _REGISTRY,
    ],
    studies.dashboard: [_takes("study", type=Path, metavar="STUDY", help="a folder below runs/")],
    studies.compare: [
        _takes("studies", type=Path, nargs="+", metavar="STUDY", help="folders below runs/, the reference first"),
        _takes(
            "--margin", type=float, metavar="DICE", help="say whether a study is equivalent within it, such as 0.01"
        ),
        _TABLES,
    ],
    studies.retest: [
        _READ,
        _VISITS,
        _takes("--within", type=float, default=8.0, metavar="WEEKS", help="of two visits, at most (default 8)"),
        _TABLES,
    ],
    studies.change: [
        _READ,
        _VISITS,
        _takes("--apart", type=float, default=26.0, metavar="WEEKS", help="of first and last, at least (default 26)"),
        _TABLES,
    ],
}
"""What each verb takes. Its name and its help are those of its function."""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="musclesense",
        description="Segment calf and thigh muscle in 3-point Dixon MRI.",
        epilog="With --debug, anywhere on the line, an error shows its traceback.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for run, arguments in _VERBS.items():
        name, said = run.__name__.replace("_", "-"), run.__doc__
        verb = subparsers.add_parser(name, help=said, description=said, allow_abbrev=False)
        verb.set_defaults(run=run)
        for argument in arguments:
            argument(verb)
    return parser
