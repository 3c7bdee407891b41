"""What each verb does that is of cohorts and studies, likewise: a few lines over public functions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclesense.errors import InputError
from musclesense.vocabulary import Region

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


def phantom(out: Path, **asked: Any) -> None:
    """Make a phantom cohort: images by MR physics, masks and a cohort table."""
    from musclesense.phantom.cohorts.generate import generate

    print(generate(out, **asked))


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
    from musclesense.storage.paths import require_free
    from musclesense.studies.reading import read_study

    require_free(out, or_empty=True)
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
    from musclesense.storage.niivue import Viewer

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
