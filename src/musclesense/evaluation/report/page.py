"""The page of a study: tables, charts and overlays in one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import yaml

from musclesense.evaluation.doubts import doubts
from musclesense.evaluation.pooling import pool, select
from musclesense.evaluation.report import figures, tables
from musclesense.evaluation.report.acquisitions import Described
from musclesense.evaluation.report.figures import DARK, LIGHT
from musclesense.evaluation.report.methods import claim, methods
from musclesense.evaluation.report.overlays import BOTH, PREDICTION, TRUTH, Overlay, overlays
from musclesense.evaluation.report.points import Points
from musclesense.evaluation.report.tables import FAILURES, GROUPS, LABELS, REGIONS, Measure, paper_dice
from musclesense.evaluation.report.volumes import write_volumes
from musclesense.names import ALL
from musclesense.storage.atomic import atomic_path
from musclesense.storage.locks import locked
from musclesense.storage.niivue import Viewer
from musclesense.storage.pages import page_template
from musclesense.storage.paths import is_file, require_within, require_writable
from musclesense.storage.records import read_text, write_text
from musclesense.studies.identity import with_edition
from musclesense.studies.reading import read_study
from musclesense.studies.study import RunStatus, Study

_ASKED_FIRST = (
    *("edition", "channels", "region", "labels", "grid", "normalisation", "augmentation", "synthesis", "model", "loss"),
    *("optimizer", "schedule", "inference", "trainer", "seed"),
)
_NAMED = ("edition", "region", "labels", "synthesis")
"""Settings of which the name says enough."""
_TITLES = {"synthesis": "Synthetic slices", "model": "Network", "trainer": "Training"}
"""Of settings that are called otherwise on the page."""


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: PNG for a light and, where it differs, a dark page; and which overlay it shows."""

    name: str
    alt: str
    light: bytes
    dark: bytes | None = None
    overlay: Overlay | None = None


def write_report(folder: Path, viewer: Viewer | None = None) -> Path:
    """Write the report of a study, finished or not, into its folder ``report``.

    Each file is written atomically: ``nested_cv.csv``, ``summary.csv``, ``cases.csv``, ``statistics.csv`` and
    ``agreement.csv`` with a ``.tex`` beside each, ``figures/*.png`` and ``index.html``, which is given. The same study
    gives the same bytes. With a viewer, ``volumes`` holds what the page shows in it.

    Raises:
        InputError: The folder is no study, one of its files cannot be understood, or the viewer is not to be had.
    """
    study = read_study(folder)
    report = study.folder.report
    require_within(study.folder.path, report.path, report.figure("").parent, report.volumes)
    require_writable(report.path)
    of_viewer = None if viewer is None else viewer.files()
    # All of it is made before any of it is written: what cannot be read is found while nothing has changed.
    pictures, drawn, described = _pictures(study), _overlays(study), Described.of(study)
    template = page_template("musclesense.evaluation.report", "template.html")
    shown = {"pictures": pictures, "overlays": drawn, "acquisitions": described.tables, "points": Points.of(study)}
    page = template.render(**_content(study), **shown, volumes=viewer is not None)
    with locked(report.path):
        tables.write_tables(study, report)
        described.write(report)
        for picture in chain(*pictures.values(), *drawn.values()):
            with atomic_path(report.figure(picture.name)) as draft:
                draft.write_bytes(picture.light)
        if of_viewer is not None:
            write_volumes(study, report.volumes, of_viewer)
        write_text(report.page, page)
    return report.page


def show_report(folder: Path, viewer: Viewer | None = None) -> None:
    """Write the report of a study, and print its scores and where the page is."""
    page = write_report(folder, viewer)
    print(tables.study_table(folder))
    print(f"report: {page}")


def _content(study: Study) -> dict[str, Any]:
    # Of single muscles the page shows the mean, and each of them once; the tables beside it have them all.
    labels = (None,) if study.many_labels else study.labels
    command, shown = study.folder.command, with_edition(study.config)
    data, settings = _data(study), _settings(shown)
    described = methods(study, data, settings)
    return {
        "study": study,
        "phantom_notice": tables.PHANTOM_NOTICE if study.phantom else None,
        "finished": study.with_status(RunStatus.FINISHED),
        "failed": study.with_status(RunStatus.FAILED),
        "missing": study.with_status(RunStatus.MISSING),
        "failures": tables.failures(study),
        "doubts": doubts(study),
        "worst": tables.worst_cases(study),
        "fat_fractions": tables.measured_fat_fractions(study),
        "unknown": tables.unknown_columns(study),
        "columns": {table: _columns(table) for table in (REGIONS, LABELS, GROUPS, FAILURES)},
        "data": data,
        "settings": settings,
        "methods": described,
        "claim": [*claim(study, described)],
        "configuration": yaml.safe_dump(shown, sort_keys=False, allow_unicode=True),
        "regions": _score_rows(study, groups=[None], labels=labels),
        "labels": _score_rows(study, groups=[None], labels=study.labels) if study.many_labels else [],
        "groups": _score_rows(study, groups=study.groups, labels=labels),
        "several_labels": len(labels) > 1,
        "runs": [row for row in tables.nested_cv_rows(study, labels) if row["region"] != ALL],
        "colours": {"truth": TRUTH, "prediction": PREDICTION, "both": BOTH},
        "command": read_text(command, remedy="remove it").strip() if is_file(command) else None,
    }


def _columns(table: str) -> list[Measure]:
    """Give the columns of a table of scores on the page, counts of cases last, and in that of failures first."""
    own = [measure for measure in tables.MEASURES if table in measure.on]
    counts = ("subjects", "cases", "dice_undefined", "both_empty", "prediction_empty", "truth_empty")
    return sorted(own, key=lambda measure: (measure.name in counts) != (table == FAILURES))


def _score_rows(study: Study, *, groups: Sequence[str | None], labels: Sequence[str | None]) -> list[dict[str, object]]:
    return [
        {
            "region": region,
            "group": group or "no group",
            "label": label or ALL,
            "scores": pool(cases),
            "paper": paper_dice(study, region),
        }
        for label, region, group in product(labels, study.regions, groups)
        if (cases := select(study.cases, region=region, group=group, label=label))
    ]


def _data(study: Study) -> list[tuple[str, str]]:
    """Say in words what the data were."""
    cohort = study.config.get("cohort") or {}
    if study.table is None:
        made_from = _inline(cohort.get("phantom") or {})
        source = "phantom cohort made by Musclesense" + (f" ({made_from})" if made_from else "")
    else:
        source = f"{'phantom cohort, ' if study.phantom else ''}{study.table}"
    tested = pool(study.cases)
    subjects = str(tested.subjects)
    if tested.subjects < len(study.subjects):
        subjects = f"{len(study.subjects)}, of whom {subjects} are tested so far"
    acquisitions = {region: len({c.line for c in select(study.cases, region=region)}) for region in study.regions}
    groups = {group: pool(select(study.cases, group=group)).subjects for group in study.groups}
    return [
        ("Data", source),
        ("Subjects", subjects),
        ("Groups", ", ".join(f"{group or 'no group'} {count}" for group, count in groups.items()) or "-"),
        ("Acquisitions", ", ".join(f"{region} {count}" for region, count in acquisitions.items()) or "-"),
        ("Labelled slices", str(tested.slices)),
    ]


def _settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the settings that a reader asks for first; the whole configuration stands elsewhere on the page."""
    rows = []
    for key in _ASKED_FIRST:
        value = config.get(key)
        if key in _NAMED and isinstance(value, Mapping) and "name" in value:
            value = value["name"]
        if key == "augmentation" and isinstance(value, Mapping):  # what changes nothing is left out
            value = {name: own for name, own in value.items() if own not in (0, [1.0, 1.0])} or "none"
        if value is not None:
            rows.append((_TITLES.get(key, key.capitalize()), _inline(value)))
    return rows


def _inline(value: Any) -> str:
    """Give a setting as one short line; a class of one's own goes by its own name."""
    if isinstance(value, Mapping):
        parts = [str(value["_target_"]).rpartition(".")[2]] if "_target_" in value else []
        parts += [str(value["name"]).replace("_", " ")] if "name" in value else []
        named = {key: entry for key, entry in value.items() if entry is not None and not str(key).startswith("_")}
        named.pop("name", None)
        return ", ".join([*parts, *(f"{str(key).replace('_', ' ')} {_inline(entry)}" for key, entry in named.items())])
    if isinstance(value, list):
        return (", " if all(isinstance(entry, str) for entry in value) else " / ").join(map(_inline, value))
    return str(value)


def _pictures(study: Study) -> dict[str, list[Picture]]:
    """Draw the charts of each section."""
    return {
        section: [Picture(chart.name, chart.alt, chart.png(LIGHT), chart.png(DARK)) for chart in charts]
        for section, charts in figures.charts(study).items()
    }


def _overlays(study: Study) -> dict[str, list[Picture]]:
    """Draw the overlays of each region."""
    alt = "{} case, {}: contours of truth and prediction on the image"
    return {
        region: [
            Picture(one.name, alt.format(one.rank, region), one.png(), overlay=one) for one in overlays(study, region)
        ]
        for region in study.regions
    }
