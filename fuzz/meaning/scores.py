"""Scores of a study of known means: failures, missing runs, columns of later releases, cases that are not true."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds
from musclesense.studies.layout import ReportFolder, StudyFolder

TWISTS = ("none", "none", "none", "old", "twice", "gone", "stranger", "no dice", "another dice")
_REFUSED = ("twice", "stranger")
_NEW = (
    *("hd95_penalised_mm", "measured_fat_fraction_true_mask", "measured_fat_fraction_predicted_mask"),
    *("asd_mm", "asd_penalised_mm"),
)
_RUNS = ((0, 0), (0, 1), (1, 0), (1, 1))
_LABELS = (("muscle",), ("left", "right"), ("a_right", "a_left", "b"))
_FRACTIONS = [f"{kind}fat_fraction_{mask}_mask" for kind in ("", "measured_") for mask in ("true", "predicted")]


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Write a study of scores drawn at random, and report on it."""
    study, twist = StudyFolder(Path("study")), draw.one_of(TWISTS)
    finished = [_RUNS[i] for i in sorted(draw.random.permutation(4)[: 1 + draw.below(4)])]
    files = {path.name: seeds.study[path.name] for path in (study.settings, study.folds, study.command)}
    tested = [fold["test"] for fold in json.loads(files[study.folds.name])["outer"]]
    slices = [_slices(draw, names, first) for names, first in zip(tested, (2, 200), strict=True)]
    scores = {run: _scores(draw, slices[run[0]], *run) for run in finished}
    spoilt = draw.one_of(finished)
    written = {run: float(table["dice"].mean()) for run, table in scores.items()}
    scores[spoilt] = _twisted(draw, twist, scores[spoilt], tested[1 - spoilt[0]][0])
    for run, table in scores.items():
        place = study.run(*run)
        files[place.cases.relative_to(study.path).as_posix()] = table.to_csv(index=False).encode()
        dice = {} if math.isnan(written[run]) else {"dice": written[run]}
        done = {"format": 2, "outer": run[0], "inner": run[1], "scores": dice, "best_epoch": 2, "epochs": 3}
        files[place.done.relative_to(study.path).as_posix()] = json.dumps(done).encode()
    for name, content in files.items():
        path = folder / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    cases = pd.concat([scores[run] for run in finished], ignore_index=True)

    def right(folder: Path, said: str) -> str | None:
        return _wrong(StudyFolder(folder / study.path).report, " ".join(said.split()), cases, finished, twist)

    verdict = Verdict.REFUSE if twist in _REFUSED else Verdict.ACCEPT
    return Case(arguments=("report", "study"), changes=f"{twist}, runs {finished}", verdict=verdict, right=right)


def _slices(draw: Draw, subjects: list[str], line: int) -> list[dict[str, Any]]:
    """Draw the labelled slices of an outer fold, which all its runs test."""
    labels, slices = draw.one_of(_LABELS), []
    for subject in subjects:
        group = ("", "ALS", "control")[draw.below(3)]
        for region in ("calf", "thigh")[: 1 + draw.below(2)]:
            line += 1
            for number in range(1 + draw.below(2)):
                who = {"line": line, "subject": subject, "session": "1", "group": group, "region": region}
                slices += [{**who, "slice": number, "label": label} for label in labels]
    return slices


def _scores(draw: Draw, slices: list[dict[str, Any]], outer: int, inner: int) -> DataFrame:
    return DataFrame([{"outer": outer, "inner": inner, **one, **_measures(draw)} for one in slices])


def _measures(draw: Draw) -> dict[str, Any]:
    """Draw how well a mask fits: failures more often than in life."""
    tp, fp, fn = (draw.below(most) for most in (5000, 400, 400))
    match draw.one_of(("fits", "fits", "fits", "nothing found", "nothing there", "neither", "stray")):
        case "nothing found":
            tp, fp, fn = 0, 0, fn + 1
        case "nothing there":
            tp, fp, fn = 0, fp + 1, 0
        case "neither":
            tp, fp, fn = 0, 0, 0
        case "stray":
            tp, fp, fn = 0, fp + 1, 1 + draw.below(5)
    true, predicted, total = tp + fn > 0, tp + fp > 0, 2 * tp + fp + fn
    distance = float(draw.random.gamma(2, 2))
    fractions = draw.random.uniform(0, 100, 4)
    known = (true, predicted, true, predicted)
    return {
        "dice": 2 * tp / total if total else None,
        "hd95_mm": distance if true and predicted else None,
        "volume_true_ml": (tp + fn) * 0.0156,
        "volume_predicted_ml": (tp + fp) * 0.0156,
        **{name: float(x) if k else None for name, x, k in zip(_FRACTIONS, fractions, known, strict=True)},
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "hd95_penalised_mm": distance if true and predicted else 447.25 if true or predicted else None,
        "asd_mm": distance / 4 if true and predicted else None,
        "asd_penalised_mm": distance / 4 if true and predicted else 447.25 if true or predicted else None,
    }


def _twisted(draw: Draw, twist: str, table: DataFrame, stranger: str) -> DataFrame:
    row = draw.below(len(table))
    with_voxels: list[int] = np.flatnonzero(table[["tp", "fp", "fn"]].sum(axis=1)).tolist()
    match twist:
        case "old":
            return table.drop(columns=list(_NEW))
        case "twice":
            return pd.concat([table, table.iloc[[row] * (1 + draw.below(3))]])
        case "gone":
            return table.drop(index=row) if len(table) > 1 else table
        case "stranger":
            table.loc[row, "subject"] = stranger
        case "no dice" if with_voxels:
            table.loc[draw.one_of(with_voxels), "dice"] = None
        case "another dice" if with_voxels:
            at = draw.one_of(with_voxels)
            table.loc[at, "dice"] = (table.loc[at, "dice"] or 0.0) / 2 + 0.1
    return table


def _wrong(
    report: ReportFolder, said: str, cases: DataFrame, finished: list[tuple[int, int]], twist: str
) -> str | None:
    """Say what of the tables and on the terminal is not what pandas makes of the cases."""
    missing = [f"{outer}-{inner}" for outer, inner in _RUNS if (outer, inner) not in finished]
    if f"{len(finished)} of 4 runs finished" not in said:
        return "another number of runs on the terminal"
    if missing and f"not finished (outer-inner): {', '.join(missing)} " not in said:
        return "missing runs are not told"
    if twist == "none" and "in doubt" in said:
        return "a sound study is doubted"
    if twist in ("no dice", "another dice") and cases[["tp", "fp", "fn"]].any(axis=None) and "in doubt" not in said:
        return "a Dice that is not that of its voxels passes"
    nothing = int(((cases["tp"] + cases["fp"] == 0) & (cases["fn"] > 0)).sum())
    if nothing and f"{nothing} of {len(cases)} cases: nothing predicted" not in said:
        return "empty predictions are not told"
    for path, keys in (
        (report.summary, ("region", "group", "label")),
        (report.nested_cv, ("outer", "inner", "region", "label")),
    ):
        table = pd.read_csv(io.StringIO(path.read_text()), keep_default_na=False, na_values=[""])
        for _, row in table.iterrows():
            if wrong := _wrong_row(row, keys, cases):
                return f"{path.name}: {wrong}"
    if wrong := _wrong_statistics(report, cases):
        return f"{report.statistics.name}: {wrong}"
    runs = pd.read_csv(report.summary, dtype=str, keep_default_na=False)["runs_missing"]
    return None if {*runs} <= {" ".join(missing)} else "other missing runs"


def _wrong_row(row: "Series[Any]", keys: tuple[str, ...], cases: DataFrame) -> str | None:
    chosen = cases
    for key in keys:
        wanted = "" if isinstance(row[key], float) and math.isnan(row[key]) else row[key]
        if wanted != "all":
            chosen = chosen[chosen[key] == wanted]
    expected = _expected(chosen)
    for name in row.index.intersection(list(expected)):
        one, other = float(row[name]), float(expected[name])
        if not (math.isnan(one) and math.isnan(other)) and not math.isclose(one, other, abs_tol=2e-6, rel_tol=1e-9):
            return f"{name} {one} where {', '.join(str(row[key]) for key in keys)} has {other}"
    return None


def _wrong_statistics(report: ReportFolder, cases: DataFrame) -> str | None:
    """Say which mean over acquisitions is not what pandas makes of the cases, missed ones among them."""
    rows = pd.read_csv(report.statistics, keep_default_na=False, na_values={"mean": [""]})
    cases = cases.reindex(columns=[*cases.columns, *(name for name in _NEW if name not in cases)])
    missed = (cases["tp"] + cases["fp"] == 0) & (cases["fn"] > 0)
    for _, row in rows[rows["measure"].isin(["dice", "hd95_mm", "asd_mm"])].iterrows():
        chosen = cases["region"] == row["region"]
        if row["by"] in ("group", "label", "subject"):
            chosen &= cases[row["by"]].astype(str) == row["name"]
        elif row["by"] != "all":
            continue
        column = row["measure"].replace("_mm", "_penalised_mm")
        own = cases[chosen].assign(value=pd.to_numeric(cases[column]))
        networks = own.groupby(["line", "label", "outer", "inner"])["value"].mean()
        means = networks.groupby(["line", "label"]).mean()
        expected = (means.mean(), means.notna().sum(), missed[chosen].sum())
        for name, known in zip(("mean", "values", "missed"), expected, strict=True):
            if not math.isclose(row[name], known, abs_tol=2e-6) and not (math.isnan(row[name]) and math.isnan(known)):
                return f"{name} of {row['measure']} {row[name]} where {row['by']} {row['name']!r} has {known}"
    return None


def _expected(cases: DataFrame) -> dict[str, float]:
    cases = cases.reindex(columns=[*cases.columns, *(name for name in _NEW if name not in cases)])
    number = {name: pd.to_numeric(cases[name]) for name in (*_FRACTIONS, *_NEW, "dice", "hd95_mm")}
    true, predicted = cases["tp"] + cases["fn"], cases["tp"] + cases["fp"]
    bias = number["fat_fraction_predicted_mask"] - number["fat_fraction_true_mask"]
    measured = number["measured_fat_fraction_predicted_mask"] - number["fat_fraction_true_mask"]
    volume = cases["volume_predicted_ml"] - cases["volume_true_ml"]
    by_outer = number["dice"].groupby(cases["outer"]).mean()
    return {
        "cases": len(cases),
        "subjects": cases["subject"].nunique(),
        "slices": len(cases[["line", "slice"]].drop_duplicates()),
        "dice_mean": number["dice"].mean(),
        "dice_sd": number["dice"].std(),
        "dice_median": number["dice"].median(),
        "dice_sd_outer": by_outer.std(),
        "dice_undefined": number["dice"].isna().sum(),
        "hd95_mm_mean": number["hd95_mm"].mean(),
        "volume_bias_ml": volume.mean(),
        "volume_bias_ml_sd": volume.std(),
        "fat_fraction_bias": bias.mean(),
        "fat_fraction_bias_sd": bias.std(),
        "hd95_undefined": number["hd95_mm"].isna().sum(),
        "fat_fraction_undefined": bias.isna().sum(),
        "both_empty": ((true == 0) & (predicted == 0)).sum(),
        "prediction_empty": ((true > 0) & (predicted == 0)).sum(),
        "truth_empty": ((true == 0) & (predicted > 0)).sum(),
        "hd95_penalised_mm_mean": number["hd95_penalised_mm"].mean(),
        "measured_fat_fraction_bias": measured.mean(),
        "measured_fat_fraction_bias_sd": measured.std(),
        "voxels_true_min": true[true > 0].min(),
        "runs": len(cases[["outer", "inner"]].drop_duplicates()),
        "runs_planned": 4,
    }
