"""Statistics of acquisitions against an independent reading of ``cases.csv``."""

import csv
import statistics as plain
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musclesense.evaluation.statistics import acquisitions, agreements, statistics
from musclesense.metrics.case import COLUMNS, Case
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study
from musclesense.studies.writing import write_cases, write_done

StudyWriter = Callable[..., Path]
CaseMaker = Callable[..., Case]
Rows = list[dict[str, Any]]


def described(folder: Path) -> tuple[Rows, Rows]:
    found = acquisitions(read_study(folder))
    return statistics(found), agreements(found)


def only(rows: Rows, **wanted: str) -> dict[str, Any]:
    (row,) = (row for row in rows if wanted.items() <= row.items())
    return row


def rewrite(folder: Path, cases: list[Case], outer: int = 0, inner: int = 0) -> None:
    """Let a run have these cases."""
    run = StudyFolder(folder).run(outer, inner)
    write_cases(run, cases)
    write_done(run, outer=outer, inner=inner, scores={})


def from_files(folder: Path, region: str) -> dict[str, dict[str, float]]:
    """Each line's numbers, from the files of the runs alone: means over networks of sums or means over slices."""
    networks = defaultdict[tuple[str, str], list[dict[str, str]]](list)
    for file in folder.glob("outer*/cases.csv"):
        with file.open(newline="") as text:
            for row in csv.DictReader(text):
                if row["region"] == region:
                    networks[row["line"], file.parent.name].append(row)
    by_line = defaultdict[str, list[dict[str, float]]](list)
    for (line, _), rows in networks.items():
        one = {name: plain.fmean(float(row[name]) for row in rows) for name in ("dice", "hd95_penalised_mm")}
        for mask, voxels in (("true", "fn"), ("predicted", "fp")):
            weights = [int(row["tp"]) + int(row[voxels]) for row in rows]
            fractions = [float(row[f"fat_fraction_{mask}_mask"]) for row in rows]
            one[f"fat_{mask}"] = plain.fmean(fractions, weights)
            one[f"volume_{mask}"] = sum(float(row[f"volume_{mask}_ml"]) for row in rows)
        by_line[line].append(one)
    return {line: {name: plain.fmean(one[name] for one in own) for name in own[0]} for line, own in by_line.items()}


@pytest.mark.parametrize("finished", [[(0, 0)], [(0, 1), (0, 3), (2, 2)], [(o, i) for o in range(5) for i in range(5)]])
def test_numbers_are_those_of_the_cases_files_alone(write_study: StudyWriter, finished: list[tuple[int, int]]) -> None:
    folder = write_study(finished=finished)
    rows, pairs = described(folder)
    for region in ("calf", "thigh"):
        lines = [*from_files(folder, region).values()]
        dice = [line["dice"] for line in lines]
        row = only(rows, region=region, by="all", measure="dice")
        assert (row["acquisitions"], row["values"], row["missed"]) == (len(lines), len(lines), 0)
        expected = [plain.fmean(dice), plain.stdev(dice), plain.median(dice), float(np.percentile(dice, 10))]
        assert [row[name] for name in ("mean", "sd", "median", "worst_decile")] == pytest.approx(expected, abs=1e-9)
        fat = [line["fat_predicted"] - line["fat_true"] for line in lines]
        row = only(rows, region=region, by="all", measure="fat_fraction_error")
        expected = [plain.fmean(fat), plain.stdev(fat), float(np.percentile(np.abs(fat), 90))]
        assert [row[name] for name in ("mean", "sd", "worst_decile")] == pytest.approx(expected, abs=1e-9)
        volume = [100 * (line["volume_predicted"] / line["volume_true"] - 1) for line in lines]
        row = only(rows, region=region, by="all", measure="volume_error_percent")
        assert row["mean"] == pytest.approx(plain.fmean(volume), abs=1e-9)
        row = only(rows, region=region, by="all", measure="hd95_mm")
        assert row["mean"] == pytest.approx(plain.fmean(line["hd95_penalised_mm"] for line in lines), abs=1e-9)
        row = only(pairs, region=region, by="all", measure="fat_fraction")
        assert (row["bias"], row["sd"]) == pytest.approx((plain.fmean(fat), plain.stdev(fat)), abs=1e-9)
        row = only(pairs, region=region, by="all", measure="volume")
        apart = [line["volume_predicted"] - line["volume_true"] for line in lines]
        assert row["upper"] == pytest.approx(plain.fmean(apart) + 1.96 * plain.stdev(apart), abs=1e-9)


def test_each_network_counts_the_same_and_slices_by_their_voxels(write_study, make_case: CaseMaker) -> None:
    folder = write_study(finished=[(0, 0), (0, 1)])
    slices = [{"slice": 1, "tp": 10, "fp": 0, "fn": 0}, {"slice": 2, "tp": 30, "fp": 0, "fn": 0}]
    for inner, fractions in enumerate([(10.0, 20.0), (30.0, 30.0)]):
        cases = [
            make_case(**own, inner=inner, dice=0.5 + inner / 4, fat_fraction_predicted_mask=fraction)
            for own, fraction in zip(slices, fractions, strict=True)
        ]
        rewrite(folder, cases, inner=inner)
    found = acquisitions(read_study(folder)).iloc[0]
    assert (found.networks, found.slices, found.dice) == (2, 2, 0.625)
    assert found.fat_fraction_predicted == (17.5 + 30) / 2
    assert (found.volume_true_ml, found.volume_predicted_ml, found.volume_error_ml) == (200, 202, 2)


def test_missed_cases_are_counted_and_in_every_mean_that_they_can_be_in(write_study, make_case: CaseMaker) -> None:
    folder = write_study(finished=[(0, 0)])
    missed = {"dice": 0.0, "tp": 0, "fp": 0, "fn": 9, "hd95_mm": None, "asd_mm": None}
    missed |= {"fat_fraction_predicted_mask": None, "volume_predicted_ml": 0.0}
    rewrite(
        folder,
        [
            make_case(line=2, hd95_penalised_mm=2.0, asd_mm=1.0, asd_penalised_mm=1.0),
            make_case(line=3, session="2", hd95_penalised_mm=400.0, asd_penalised_mm=400.0, **missed),
            make_case(line=4, subject="S05", hd95_penalised_mm=4.0, asd_mm=2.0, asd_penalised_mm=2.0),
        ],
    )
    rows, pairs = described(folder)
    for measure, mean in (("dice", 0.6), ("hd95_mm", 406 / 3), ("asd_mm", 403 / 3)):
        row = only(rows, by="all", measure=measure)
        assert (row["values"], row["missed"], row["mean"]) == (3, 1, pytest.approx(mean)), measure
    assert only(rows, by="all", measure="volume_error_percent")["mean"] == pytest.approx((1 - 100 + 1) / 3)
    fat = only(rows, by="all", measure="fat_fraction_error")
    assert (fat["values"], fat["missed"], fat["mean"]) == (2, 1, 0.5)
    assert only(pairs, by="all", measure="fat_fraction")["missed"] == 1
    (subject,) = (row for row in rows if row["name"] == "S00" and row["measure"] == "dice")
    assert (subject["missed"], subject["mean"], subject["mean_low"]) == (1, 0.45, None)


def test_a_slice_without_muscle_in_both_masks_has_no_dice_and_is_not_missed(write_study, make_case) -> None:
    folder = write_study(finished=[(0, 0)])
    nothing = {"dice": None, "tp": 0, "fp": 0, "fn": 0, "hd95_mm": None, "volume_true_ml": 0.0}
    nothing |= {"fat_fraction_true_mask": None, "fat_fraction_predicted_mask": None, "volume_predicted_ml": 0.0}
    rewrite(folder, [make_case(), make_case(line=3, **nothing)])
    row = only(described(folder)[0], by="all", measure="dice")
    assert (row["acquisitions"], row["values"], row["missed"], row["mean"]) == (2, 1, 0, 0.9)


def test_parts_are_groups_labels_sides_muscles_and_subjects(write_study, make_case: CaseMaker) -> None:
    folder = write_study(finished=[(0, 0)])
    labels = {"soleus_left": 0.9, "soleus_right": 0.8, "vasti_left": 0.7, "vasti_right": 0.6}
    rewrite(
        folder,
        [
            make_case(line=line, subject=subject, label=label, group=group, dice=dice)
            for line, subject, group in ((2, "S00", "ALS"), (3, "S05", ""))
            for label, dice in labels.items()
        ],
    )
    rows = [row for row in described(folder)[0] if row["measure"] == "dice"]
    parts = {(row["by"], row["name"]): round(row["mean"], 6) for row in rows}
    assert parts == {
        ("all", "all"): 0.75,
        ("group", ""): 0.75,
        ("group", "ALS"): 0.75,
        **{("label", name): dice for name, dice in labels.items()},
        ("side", "left"): 0.8,
        ("side", "right"): 0.7,
        ("muscle", "soleus"): 0.85,
        ("muscle", "vasti"): 0.65,
        ("subject", "S00"): 0.75,
        ("subject", "S05"): 0.75,
    }
    whole = only(rows, by="all")
    assert (whole["subjects"], whole["acquisitions"], whole["values"]) == (2, 2, 8)


@pytest.mark.parametrize("labels", [("muscle",), ("left", "right")])
def test_a_part_that_is_everything_is_given_once(write_study, make_case: CaseMaker, labels) -> None:
    folder = write_study(finished=[(0, 0)])
    rewrite(folder, [make_case(label=label) for label in labels])
    by = [(row["by"], row["name"]) for row in described(folder)[0] if row["measure"] == "dice"]
    sides = [(by, name) for by in ("label", "side") for name in labels] if len(labels) > 1 else []
    assert by == [("all", "all"), *sides, ("subject", "S00")]


def test_measures_that_older_runs_lack_are_unknown(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    file = StudyFolder(folder).run(0, 0).cases
    with file.open(newline="") as text:
        rows = [*csv.DictReader(text)]
    old = [name for name in COLUMNS if not name.startswith(("asd", "measured", "hd95_pen"))]
    file.write_text("\n".join([",".join(old), *(",".join(row[name] for name in old) for row in rows)]) + "\n")
    found, pairs = described(folder)
    for measure in ("hd95_mm", "asd_mm"):
        row = only(found, region="calf", by="all", measure=measure)
        assert (row["values"], row["mean"], row["mean_low"], row["worst_decile"]) == (0, None, None, None)
    assert only(found, region="calf", by="all", measure="dice")["mean"] is not None
    assert {row["measure"] for row in pairs} == {"fat_fraction", "volume"}
