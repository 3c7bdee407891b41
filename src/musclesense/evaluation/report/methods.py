"""What a paper says of how a study was done, as far as its records tell it: a text, and a checklist."""

from collections.abc import Iterator, Sequence

from musclesense.cohort.folds import NestedFolds
from musclesense.evaluation.intervals import DRAWS, LEVEL
from musclesense.evaluation.pooling import pool
from musclesense.messages import in_words
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file
from musclesense.studies.content import read_content
from musclesense.studies.reading import read_done
from musclesense.studies.study import RunStatus, Study

Pairs = Sequence[tuple[str, str]]
_NOT_TOLD = "not told by the study"


def methods(
    study: Study, data: Sequence[tuple[str, str]], settings: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Write the paragraphs of a methods section, each with its heading.

    Args:
        study: What was done.
        data: What the data were, name and value.
        settings: Of training and inference, likewise.
    """
    found = [
        ("Data", _sentences(data) + _digests(study)),
        ("Partitions", _partitions(study)),
        ("Training", _sentences(settings)),
        ("Evaluation", _evaluation(study)),
        ("Software and hardware", _software(study)),
        ("Exclusions", _exclusions(study)),
    ]
    return [(name, text) for name, text in found if text]


def _sentences(pairs: Pairs) -> str:
    return " ".join(f"{name}: {value}." for name, value in pairs)


def _digests(study: Study) -> str:
    said = f" Table, SHA-256: {NestedFolds.load(study.folder.folds).table}."
    rows = read_content(study.folder)
    if rows is not None and is_file(study.folder.cohort):
        said += f" Rows used: {len(rows)}; record of their images, SHA-256: {digest_of_bytes(study.folder.cohort)}."
    return said


def _partitions(study: Study) -> str:
    folds = NestedFolds.load(study.folder.folds)
    finished = len(study.with_status(RunStatus.FINISHED))
    return (
        f"Nested cross-validation: {study.outer_folds} outer folds for testing, each with {study.inner_folds} inner "
        f"folds for validation, drawn with seed {folds.seed}, stratified by group and region. No subject stands in "
        "more than one of training, validation and test cases of a run. "
        f"{finished} of {len(study.runs)} runs are finished."
    )


def _evaluation(study: Study) -> str:
    threshold = (study.config.get("inference") or {}).get("threshold")
    fixed = "" if threshold is None else f" Pixels count from a foreground probability of {threshold} on; it is fixed."
    return (
        f"The epoch with the highest Dice of the validation cases was tested.{fixed} Masks were compared in the voxels "
        "of the scans, slice by slice: Dice, 95th percentile Hausdorff and average symmetric surface distance in the "
        "plane, volume, mean fat fraction. Each acquisition counts once, with the mean over the networks that tested "
        f"it. Intervals: {LEVEL:g} %, by {DRAWS} draws of subjects (bootstrap). Cases in which nothing is predicted "
        "stay in all means that they can be in."
    )


def _software(study: Study) -> str:
    done = [read_done(run.folder) for run in study.with_status(RunStatus.FINISHED)]
    versions = sorted({f"{name} {version}" for one in done for name, version in (one.get("versions") or {}).items()})
    machines = sorted({f"{one['accelerator']}, {one.get('precision')}" for one in done if one.get("accelerator")})
    seconds = sum(float(one.get("seconds") or 0) for one in done)
    took = f" Training and testing took {in_words(seconds)} in all." if machines else ""
    parts = [("Versions", ", ".join(versions)), ("Trained on", " and ".join(machines))]
    return _sentences([(name, value) for name, value in parts if value]) + took


def _exclusions(study: Study) -> str:
    scores, lines = pool(study.cases), list[str]()
    if waiting := len(study.subjects) - scores.subjects:
        lines.append(f"{waiting} of {len(study.subjects)} subjects are not tested yet")
    if scores.dice_undefined:
        lines.append(f"{scores.dice_undefined} of {scores.cases} cases have no Dice, since both masks are empty")
    if scores.fat_fraction_undefined:
        lines.append(f"{scores.fat_fraction_undefined} cases have no fat fraction in one of the masks")
    return "".join(f"{line}. " for line in lines).strip() or "No subject and no case of the study was left out."


def claim(study: Study, texts: Pairs) -> Iterator[tuple[int, str, str]]:
    """Fill the checklist in: number, item, and where or what the answer is.

    Source: Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020;2:e200029.

    Args:
        study: What was done.
        texts: Paragraphs of `methods`.
    """
    known = dict(texts)
    see = {name: f"Methods: {name}" for name in known}
    simulated = "simulated: the masks are the truth of the phantom" if study.phantom else ""
    answers = {
        7: "phantom, simulated scans" if study.phantom else see.get("Data", ""),
        9: see.get("Training", ""),
        10: "labelled slices of each acquisition",
        12: "no patients" if study.phantom else "",
        13: see.get("Exclusions", ""),
        14: simulated,
        16: simulated,
        18: "none: nobody draws" if study.phantom else "",
        20: see.get("Partitions", ""),
        21: "subject",
        22: see.get("Training", ""),
        23: see.get("Software and hardware", ""),
        24: "pretrained weights" if study.config.get("pretrained") else "random weights; see seed under Training",
        25: see.get("Training", ""),
        26: "highest Dice of the validation cases",
        27: "none in the scores of this page: each network counts by itself",
        28: see.get("Evaluation", ""),
        29: "95 % intervals by the bootstrap over subjects; Bland-Altman limits",
        32: "none in this study: folds of one cohort",
        33: see.get("Data", ""),
        35: "test cases: Dice by region; validation: Learning curves",
        36: "Acquisitions, with intervals",
        37: "worst cases; cases with an empty mask",
    }
    for number, item in enumerate(_CLAIM, start=1):
        yield number, item, answers.get(number) or _NOT_TOLD


_CLAIM = (
    "Title or abstract: identification as a study of AI, and category",
    "Structured summary",
    "Scientific and clinical background, intended use and role",
    "Objectives and hypotheses",
    "Prospective or retrospective",
    "Goal, such as model creation, exploratory, feasibility, non-inferiority",
    "Data sources",
    "Eligibility criteria: how, where and when participants were identified",
    "Preprocessing of data",
    "Selection of subsets of data",
    "Definitions of data elements",
    "De-identification",
    "How missing data were handled",
    "Definition of the reference standard",
    "Rationale for choosing the reference standard",
    "Source of the annotations; qualifications of annotators",
    "Annotation tools",
    "Variability between and within raters",
    "Intended sample size and how it was determined",
    "How data were assigned to partitions",
    "Level at which partitions are disjoint",
    "Description of the model: inputs, outputs, layers",
    "Software libraries, frameworks and packages",
    "Initialisation of parameters",
    "Training: augmentation, hyperparameters, number of models",
    "How the final model was selected",
    "Ensembling",
    "Metrics of performance",
    "Statistical significance and uncertainty",
    "Robustness or sensitivity analysis",
    "Explainability or interpretability",
    "Validation on external data",
    "Flow of participants or cases",
    "Demographic and clinical characteristics of each partition",
    "Performance on all partitions",
    "Estimates of accuracy and their precision",
    "Failure analysis",
    "Limitations",
    "Implications for practice",
    "Registration number and name of the registry",
    "Where the protocol can be accessed",
    "Sources of funding",
)
