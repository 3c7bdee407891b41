"""What each verb does: a few lines over public functions, which are imported when the verb is asked for.

A verb's options are its function's arguments, and the docstring is its help.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.vocabulary import Echo, Region

if TYPE_CHECKING:
    from musclesense.cohort.folds import NestedFolds
    from musclesense.cohort.table import Acquisition, CohortTable


def check(cohort: Path) -> None:
    """Check a cohort table and every file that it names."""
    from musclesense.cohort import checks
    from musclesense.cohort.table import scan_table

    table = scan_table(cohort).tell()
    checks.check(table)
    print(checks.summary(table))


def folds(cohort: Path, region: str | None, **asked: int) -> None:
    """Show the nested folds of a cohort: who is where, how balanced."""
    from musclesense.cohort.folds import describe
    from musclesense.cohort.table import read_table

    table = read_table(cohort).tell()
    used = _rows_of(table, region)
    print(describe(_draw(table, used, **asked), used))


def export_nnunet(cohort: Path, out: Path, *, region: str | None, folds: Path | None, seed: int, **asked: Any) -> None:
    """Write labelled slices and folds as a raw data set of nnU-Net."""
    from musclesense.cohort.folds import load_fitting
    from musclesense.cohort.images import read_labels
    from musclesense.cohort.table import read_table
    from musclesense.nnunet.export import export

    table = read_table(cohort).tell()
    used = _rows_of(table, region)
    asked["labels"], asked["column"] = read_labels(asked["labels"], asked["column"])
    asked["regions"] = {Region(region)} if region else {*Region}
    asked["folds"] = load_fitting(folds, table, used) if folds else _draw(table, used, seed=seed)
    export(table, out, **asked)
    print(out)


def import_nnunet(
    dataset: Path, out: Path, *, predictions: Path | None, fold: int, cohort: Path | None, **asked: Any
) -> None:
    """Read a raw data set of nnU-Net, or score its masks."""
    from musclesense.nnunet.load import load
    from musclesense.nnunet.predictions import import_predictions

    if predictions is None:
        if cohort is not None:
            raise InputError("--cohort: goes with --predictions alone; leave it out")
        asked["region"] = asked["region"] and Region(asked["region"])
        print(load(dataset, out, **asked))
        return
    for name, value in asked.items():
        if value is not None:
            raise InputError(f"--{name}: does not go with --predictions, whose cases are known; leave it out")
    print(import_predictions(dataset, predictions, out, inner=fold, table=cohort))


def import_dicom(folder: Path, out: Path, series: list[int] | None) -> None:
    """Make images of a scanner's DICOM folder."""
    from musclesense.dicom.load import import_dicom

    command = import_dicom(folder, out, series or ())
    print(out)
    log.info(f"next: {command}")


def find_scans(folder: Path, out: Path, region: str | None) -> None:
    """Make a cohort table of the scans in a tree of folders, and show it."""
    from musclesense.intake import tree

    print(tree.as_text(tree.find_scans(folder, out, Region(region) if region else None)), end="")
    log.info(f"next: look at {out}, then musclesense segment --cohort {shlex.quote(str(out))} --out DIR")


def phantom(out: Path, **asked: Any) -> None:
    """Make a phantom cohort: images by MR physics, masks and a cohort table."""
    from musclesense.phantom.cohorts.generate import generate

    print(generate(out, **asked))


def separate(out: Path, *, fat_shift: Sequence[float], **asked: Any) -> None:
    """Separate fat and water by three-point Dixon."""
    from musclesense.dixon.echoes import STORED
    from musclesense.dixon.fat import FatModel
    from musclesense.dixon.scan import require_free_images, separate_scan

    require_free_images(out)
    echoes = {str(echo): _image(asked.pop(echo)) for echo in Echo}
    stored = {name: asked.pop(name) for name in STORED}
    model = FatModel.described(fat_shift=(fat_shift[0], fat_shift[1]), **asked)
    parts = separate_scan(echoes, model=model, **stored)
    parts.save(out)
    log.info(f"phases: {parts.phase_unit}")


def segment(
    out: Path,
    *,
    cohort: Path | None,
    jobs: int,
    part: str | None,
    path: Path | None,
    model: str | None,
    allow_class: list[str],
    effort: str,
    region: str | None,
    limbs: str,
    device: str,
    out_of_fold: bool,
    anonymous: bool,
    dicom_seg: bool,
    erode: float | None,
    slices: str | None,
    with_cut: bool,
    **asked: Any,
) -> None:
    """Segment a scan, or all of a table: mask, measurements, a page to judge them by."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what NumPy multiplies is small; its threads would wait busily
    from musclesense.intake import dicom_seg as segmentation
    from musclesense.intake.found import read_given
    from musclesense.segmentation import segmenter
    from musclesense.segmentation.measured import MASK, SEGMENTATION, files_of, require_place
    from musclesense.segmentation.measuring import Measuring

    measuring = Measuring.asked(erode, slices, with_cut)
    if dicom_seg:
        segmentation.require_dicom_seg(anonymous)
    if cohort is not None:
        given = {"SCAN": path, "--region": region, "--limbs": limbs if limbs != "auto" else None}
        _refuse_beside_cohort(given | {f"--{name.replace('_', '-')}": value for name, value in asked.items()})
        how = {"model": model, "device": device, "allow_class": tuple(allow_class), "out_of_fold": out_of_fold}
        how["dicom_seg"] = dicom_seg
        _segment_table(
            cohort, out, **how, effort=effort, anonymous=anonymous, measuring=measuring, jobs=jobs, part=part
        )
        return
    if part is not None:
        raise InputError(f"--part {part}: goes with --cohort; leave it out")
    scan = read_given(path, **{name: _image(value) for name, value in asked.items()})
    if dicom_seg:
        segmentation.require_dicom_seg(anonymous, scan)
    require_place(out, ((SEGMENTATION,) if dicom_seg else ()) + files_of(scan))
    measuring.require_slices(scan.geometry)
    networks = None if model is None else segmenter.Segmenter.load(model, device, allow_class, effort)
    made = segmenter.segment(
        scan,
        model=networks,
        region=region,
        limbs=limbs,
        device=device,
        effort=effort,
        out_of_fold=out_of_fold,
        measuring=measuring,
        beside=segmentation.dicom_seg if dicom_seg else None,
    )
    saved = made.save(out, anonymous=anonymous) / MASK
    if scan.phase_unit is not None:
        log.info(f"phases: {scan.phase_unit}")
    print(saved)


def _refuse_beside_cohort(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value not in (None, False, "auto"):
            raise InputError(f"{name}: does not go with --cohort, whose table says it of each scan; leave it out")


def _segment_table(cohort: Path, out: Path, **how: Any) -> None:
    """Segment all scans of a table; exit code 1 where one has no result."""
    from musclesense.intake.batch import TABLE, How, part_of, segment_table

    part = part_of(how.pop("part"))
    problems = segment_table(cohort, out, How(**how, part=part))
    for problem in problems:
        log.error(f"{cohort}, {problem}")
    if part is None:
        print(out / TABLE)
    else:
        log.info(f"{out}: part {part[0]} of {part[1]}; after all parts, the same command without --part writes tables")
    if problems:
        log.error(f"scans without a result: {len(problems)}; the same command does these alone")
        sys.exit(1)


def measure(
    out: Path,
    *,
    mask: Path,
    labels: Path | None,
    limbs: str,
    automatic: Path | None,
    anonymous: bool,
    erode: float | None,
    slices: str | None,
    with_cut: bool,
    **asked: Any,
) -> None:
    """Measure a mask that was corrected by hand, and say what was changed."""
    from musclesense.cohort.images import read_labels
    from musclesense.intake.found import read_given
    from musclesense.segmentation import corrected
    from musclesense.segmentation.measured import CHANGES, TABLE, files_of, require_place
    from musclesense.segmentation.measuring import Measuring

    measuring = Measuring.asked(erode, slices, with_cut)
    known = None if labels is None else read_labels(labels)[0]
    scan = read_given(asked.pop("path"), **asked)
    require_place(out, (CHANGES, *files_of(scan)), corrected=True)
    made = corrected.measure(mask, scan, labels=known, limbs=limbs, automatic=automatic, measuring=measuring)
    print(made.save(out, anonymous=anonymous) / TABLE)


def score(
    cohort: Path,
    out: Path,
    *,
    model: str | None,
    labels: Path | None,
    column: str | None,
    ignore: list[int],
    pictures: bool,
    anonymous: bool,
    allow_class: list[str],
    device: str,
    out_of_fold: bool,
    worst_first: bool,
) -> None:
    """Score networks on scans with masks of one's own: tables and pictures."""
    from musclesense.cohort.images import read_labels
    from musclesense.evaluation.ensembles import Ensembles
    from musclesense.evaluation.scoring import Reference, as_markdown, default_of, score_cohort, summarise
    from musclesense.segmentation.segmenter import Segmenter
    from musclesense.studies.reading import read_study

    for name, value in {"--labels": labels, "--column": column, "--ignore": ignore}.items():
        if out_of_fold and value:
            raise InputError(f"{name}: does not go with --out-of-fold, whose masks are the study's; leave it out")
    known, of_labels = read_labels(labels, column)
    reference = Reference(labels=known if labels else None, column=of_labels, ignored=tuple(ignore))
    networks = Segmenter.load(default_of(cohort) if model is None else model, device, allow_class)
    if worst_first and not pictures:
        raise InputError("--worst-first: is of pictures, and --no-pictures asks for none; leave one out")
    study = Path(model or "") if out_of_fold else None
    how = {"pictures": pictures, "anonymous": anonymous, "worst_first": worst_first}
    cases = score_cohort(cohort, out, networks, reference, study=study, **how)
    if study is None:
        print(as_markdown(summarise(cases)), end="")
        return
    beside = Ensembles.of(read_study(study), cases)
    beside.save(out)
    print(beside.table.text)


def serve(data: Path | None, **asked: Any) -> None:
    """Serve a page: upload a scan, get its mask and numbers, correct it; and the same by HTTP."""
    _require_server("serve")
    from musclesense.serve import main
    from musclesense.serve.settings import Settings

    asked["names"] = tuple(name.lower() for name in asked["names"])
    main.serve(Settings.asked(data=data or main.default_data(), **asked))


def site(out: Path, models: list[str], **asked: Any) -> None:
    """Write a page that segments in the browser, for any web server that gives out files."""
    from musclesense.site.writing import write_site

    print(write_site(out, models, **asked))


def review(folder: Path, **asked: Any) -> None:
    """Serve a page to look through masks of segment or of a study: judge, correct, take the list along."""
    _require_server("review")
    from musclesense.serve.review import main
    from musclesense.serve.settings import Settings

    asked["names"] = tuple(name.lower() for name in asked["names"])
    main.review(Settings.asked(data=folder, **asked))


def _require_server(verb: str) -> None:
    from importlib.util import find_spec

    if not all(map(find_spec, ("fastapi", "uvicorn", "python_multipart"))):
        raise InputError(f"{verb}: its packages are not installed; pip install 'musclesense[serve]'")


def models(name: str | None) -> None:
    """List the networks that come with the package, or show the card of one."""
    from musclesense.networks.shipped import card_of, listed

    print(listed() if name is None else card_of(name), end="")


def export_bundle(model: str, out: Path, **asked: Any) -> None:
    """Write the networks of a study, a run or a checkpoint as one bundle, to give away."""
    from musclesense.segmentation.export import export_bundle

    print(export_bundle(model, out, **asked))


def export_onnx(model: str, out: Path, **asked: Any) -> None:
    """Write one network as an ONNX model, for other programs."""
    from musclesense.segmentation.export import export_onnx

    print(export_onnx(model, out, **asked))


def train() -> None:
    """Train and test networks: as python train.py; train --help tells of its words."""
    import hydra

    from musclesense.launch import main
    from musclesense.training.composition import NAME, config_folder

    decorated = hydra.main(config_path=str(config_folder().resolve()), config_name=NAME, version_base="1.3")
    main.command(decorated(main.run), ("musclesense", "train"))


def search(words: list[str], trials: int, seed: int) -> None:
    """Search settings by Optuna on the validation folds of one outer fold; nothing is tested."""
    from musclesense.launch.search import search

    print(search(words, trials, seed))


def report(study: Path, volumes: bool, viewer: Path | None, registry: str) -> None:
    """Write a study's tables and its page, and print the scores."""
    from musclesense.evaluation.report.page import show_report
    from musclesense.evaluation.report.volumes import Viewer

    show_report(study, Viewer(viewer, registry) if volumes or viewer else None)


def dashboard(study: Path) -> None:
    """Write a script that saves a view of a study in wandb."""
    from musclesense.training.watch.dashboard import write_dashboard

    print(write_dashboard(study))


def compare(studies: list[Path], margin: float | None, out: Path | None) -> None:
    """Compare studies of the same folds in pairs, the first of them with each other one."""
    from musclesense.evaluation import compare as own

    found = own.compare(studies, margin=margin)
    print(found)
    if out is not None:
        found.save(out)


def retest(studies: list[Path], out: Path | None, **asked: Any) -> None:
    """Tell how much a fat fraction differs when a subject is scanned again."""
    from musclesense.evaluation import retest as own

    found = own.retest(studies, **asked)
    print(found, end="")
    if out is not None:
        found.save(out)


def change(studies: list[Path], out: Path | None, **asked: Any) -> None:
    """Tell how fast fat fraction and volume change, and how many patients a trial needs."""
    from musclesense.evaluation import change as own

    found = own.change(studies, **asked)
    print(found)
    if out is not None:
        found.save(out)


def _rows_of(table: "CohortTable", region: str | None) -> "list[Acquisition]":
    return [row for row in table.acquisitions if region in (None, row.region)]


def _draw(table: "CohortTable", used: "Sequence[Acquisition]", **asked: int) -> "NestedFolds":
    """Draw nested folds; where there are too few subjects, the table is named."""
    from musclesense.cohort.folds import draw

    try:
        return draw(used, table=table.digest, among=table.acquisitions, **asked)
    except InputError as error:
        raise InputError(*(f"{table.path}: {problem}" for problem in error.problems)) from error


def _image(given: Any) -> Any:
    """Give one image, or a magnitude with its phase."""
    if isinstance(given, list) and given and isinstance(given[0], Path):
        return given[0] if len(given) == 1 else tuple(given)
    return given
