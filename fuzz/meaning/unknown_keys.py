"""Names that are misspelt or not known: columns, keys of a command line, keys in a study's records."""

from pathlib import Path

import yaml

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds, table_text, write_cohort
from musclesense.studies.layout import StudyFolder

_OPTIONAL = ("session", "group", "limbs", "mask", "slice")
_KEYS = (
    *("trainer.max_epochs", "trainer.precision", "loader.batch_size", "loader.workers", "early_stopping.patience"),
    *("averaging.decay", "inference.threshold", "folds.outer", "grid.spacing_mm", "cohort.phantom.preset"),
    *("synthesis.per_epoch", "checkpoints.keep_every", "logger.project", "optimizer.weight_decay"),
)
_OWN = ("Notes", "scanner name", "age_years", "BMI", "коммент", "備考", "x1", "consent?")
_BLANKS = (" ", "\u00a0", "\u200b", "_", "-")


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Misspell a name, or give one that nobody knows."""
    return draw.one_of((_column, _column, _key, _key, _record))(draw, folder, seeds)


def _misspelt(draw: Draw, name: str) -> str:
    """Lose, double, change or exchange letters amid a name."""
    at = 1 + draw.below(len(name) - 2)
    match draw.one_of(("lost", "doubled", "changed", "exchanged")):
        case "lost":
            wrong = name[:at] + name[at + 1 :]
        case "doubled":
            wrong = name[:at] + name[at] + name[at:]
        case "changed":
            wrong = f"{name[:at]}q{name[at + 1 :]}"
        case _:
            wrong = name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :]
    return wrong if wrong != name else f"{name}q"


def _column(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Write a column's name by another case, with blanks, with a wrong letter, or call it as nothing is called."""
    rows = write_cohort(folder, seeds)
    column = draw.one_of((*_OPTIONAL, "subject", "region"))
    verdict, names, told = Verdict.ACCEPT, "", ""
    match draw.one_of(("case", "blank", "letter", "own", "both")):
        case "case":
            given = draw.one_of((column.upper(), column.title()))
            told = f"column {given!r} is read as {column!r}"
        case "blank":
            at = 1 + draw.below(len(column) - 1)
            given = column[:at] + draw.one_of(_BLANKS) + column[at:]
            told = f"is read as {column!r}"
        case "letter":
            given = _misspelt(draw, column)
            told = f"column {given!r} is not read; is it {column!r}?"
            if column not in _OPTIONAL:
                verdict, names = Verdict.REFUSE, f"no column {column!r}"
        case "own":
            given = draw.one_of(_OWN)
            rows = [{**row, given: "="} for row in rows]
        case _:
            given = column.upper()
            told = f"column {given!r} is not read, since there is {column!r}"
            rows = [{**row, given: "x"} for row in rows]
    if given not in rows[0]:
        rows = [{given if name == column else name: cell for name, cell in row.items()} for row in rows]
    (folder / "cohort.csv").write_text(table_text(rows), encoding="utf-8")
    said = f"column {given!a} for {column}"
    arguments = ("check", "cohort.csv")
    if verdict is Verdict.REFUSE:
        return Case(arguments=arguments, changes=said, verdict=verdict, names=names)
    return Case(arguments=arguments, changes=said, verdict=verdict, told=told)


def _key(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Misspell a key of the command line, give a table where its path belongs, or a key that nobody knows."""
    match draw.one_of(("misspelt", "misspelt", "table", "alone", "unknown")):
        case "misspelt":
            key = draw.one_of(_KEYS)
            before, _, last = key.rpartition(".")
            word, names = f"{draw.one_of(('', '+', '++'))}{before}.{_misspelt(draw, last)}=1", key
        case "table":
            table = draw.one_of(("my.csv", "scans/my.csv", "Müller.csv", "cohort.tsv"))
            word, names = f"cohort={table}", f"cohort.path={table}"
        case "alone":
            key = draw.one_of(_KEYS)
            added = not key.startswith("optimizer.") and draw.chance(0.5)  # what an optimizer takes is its own
            word, names = f"{'+' * added}{key.rpartition('.')[2]}=1", key
        case _:
            names = draw.one_of(("zzz", "trainer.zzz", "qqq"))
            word = f"{draw.one_of(('', '+'))}{names}=1"
    arguments = ("-m", "experiment=smoke", word)
    return Case(arguments=arguments, changes=word, verdict=Verdict.REFUSE, names=names, train=True)


def _record(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Put a key that this release does not know into a study's configuration: ignored, as those of another release."""
    for name, content in seeds.study.items():
        path = folder / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    settings = StudyFolder(folder / "study").settings
    config = yaml.safe_load(settings.read_text())
    place = draw.one_of(("", "folds", "trainer", "labels"))
    key = draw.one_of(("zzz", "trainr", "max_epoch", "comment", "später"))
    (config[place] if place else config)[key] = draw.one_of((1, "text", [1, 2], {"a": 1}, None))
    settings.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    said = f"{place or 'top'}: {key}"
    return Case(arguments=("report", "study"), changes=said, verdict=Verdict.ACCEPT)
