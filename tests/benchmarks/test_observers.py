"""Two simulated observers differ as far as they are told to; the naive rule; what a study scored on the same scans."""

import csv
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks.validity import observers
from benchmarks.validity.observers import Observers, naive_rule, signed_distance, smooth_field
from hypothesis import given
from hypothesis import strategies as st

from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.vocabulary import Region

ROWS, COLUMNS = np.mgrid[:60, :90]
DISC = np.hypot(ROWS - 30, COLUMNS - 45) < 22


def dice(
    model: Observers, mask: np.ndarray = DISC, zooms: tuple[float, float] = (1.0, 1.0), seed: int = 0
) -> list[float]:
    return [one for one in model.dice(mask, zooms, np.random.default_rng(seed)).values() if one is not None]


@given(seed=st.integers(0, 2**32), length=st.floats(2, 30), zooms=st.tuples(*2 * [st.floats(0.3, 3)]))
def test_without_sd_and_bias_both_draw_the_truth(seed: int, length: float, zooms: tuple[float, float]) -> None:
    rows, columns = np.indices((12, 18))
    mask = np.hypot(rows - 6, columns - 8) < 4
    assert dice(Observers((0.0,), length, 0.0), mask, zooms, seed) == [1.0]


def test_the_larger_the_sd_the_smaller_the_dice() -> None:
    found = dice(Observers((0.0, 0.25, 0.5, 1.0, 2.0, 4.0), bias=0.0))
    assert all(one > other for one, other in pairwise(found))


def test_the_bias_parts_concentric_discs_by_twice_its_size() -> None:
    """One draws a disc of 23 mm, the other one of 21 mm."""
    rows, columns = np.mgrid[:180, :270]
    disc = np.hypot(rows - 90, columns - 135) < 66
    (found,) = dice(Observers((0.0,), bias=1.0), disc, (1 / 3, 1 / 3))
    assert found == pytest.approx(2 * 21**2 / (23**2 + 21**2), abs=0.01)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_the_size_of_voxels_does_not_matter(zoom: float) -> None:
    """Nor do they so much as the SD: two borders of SD s lie sqrt(2) s sqrt(2 / pi) apart in the mean."""
    rows, columns = np.indices((round(90 / zoom), round(90 / zoom)))
    disc = np.hypot(rows - 45 / zoom, columns - 45 / zoom) < 30 / zoom
    (mean,) = np.mean([dice(Observers((1.0,), 5.0, 0.0), disc, (zoom, zoom), seed) for seed in range(8)], axis=0)
    assert mean == pytest.approx(1 - 2 * 30 * np.sqrt(4 / np.pi) / (2 * 30**2), abs=0.008)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    model = Observers()
    assert dice(model, seed=3) == dice(model, seed=3) != dice(model, seed=4)


def test_an_empty_slice_has_no_dice() -> None:
    assert Observers((0.0, 1.0)).dice(DISC & False, (1.0, 1.0), np.random.default_rng(0)) == {0.0: None, 1.0: None}


def test_depth_in_a_mask_is_in_mm_and_its_border_runs_between_voxels() -> None:
    found = signed_distance(np.array([[0, 0, 1, 1, 1, 0]], bool), (2.0, 2.0))
    assert found.tolist() == [[-3.0, -1.0, 1.0, 3.0, 1.0, -1.0]]


def test_the_field_is_of_unit_variance_and_correlated_over_its_length() -> None:
    field = smooth_field((400, 600), (0.5, 1.0), 6.0, np.random.default_rng(1))
    assert field.std() == pytest.approx(1, abs=0.05) and abs(field.mean()) < 0.1
    for rolled in (np.roll(field, 12, 0), np.roll(field, 6, 1)):
        assert np.mean(field * rolled) == pytest.approx(np.exp(-0.5), abs=0.06)


def test_the_naive_rule_takes_water_within_the_body() -> None:
    fat, water = np.zeros((2, 40, 40))
    fat[10:30, 10:30], water[15:25, 15:25] = 100, 200
    fat[18:20, 18:20] = 300  # marrow
    water[0, 0] = 1  # noise beside the body
    expected = water > 100
    expected[18:20, 18:20] = False
    assert np.array_equal(naive_rule(fat, water), expected)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    def call(*words: object) -> list[dict[str, str]]:
        monkeypatch.setattr(sys, "argv", ["observers", str(words[0]), str(tmp_path / "out"), *map(str, words[1:])])
        observers.main()
        rows = read(tmp_path / "out.csv")
        assert len((tmp_path / "out.md").read_text().splitlines()) == 2 + len(rows)
        return rows

    return call


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_a_phantom_is_described_by_region_and_group(data: Path, called: Callable[..., list[dict[str, str]]]) -> None:
    rows = called(data / "phantom-smoke-1" / "cohort.csv", "--sd", 0, 1, "--bias", 0)
    assert {(row["region"], row["group"]) for row in rows} == {
        (region, group) for region in ("calf", "thigh") for group in ("all", "controls", "patients")
    }
    by = {(row["region"], row["group"], row["compared"]): row for row in rows}
    for region in ("calf", "thigh"):
        assert float(by[region, "all", "observers, 0 mm"]["mean"]) == 1
        whole, single = (by[region, "all", f"observers, 1 mm{what}"] for what in ("", ", single muscles"))
        assert 0.7 < float(single["mean"]) < float(whole["mean"]) < 1
        assert (whole["subjects"], whole["acquisitions"]) == ("12", "12")
        patients, controls = (float(by[region, name, "water > fat"]["mean"]) for name in ("patients", "controls"))
        assert patients < controls < 1


def test_a_study_stands_beside_them(
    data: Path, write_study: Callable[..., Path], tmp_path: Path, called: Callable[..., list[dict[str, str]]]
) -> None:
    study = write_study(finished=[(outer, 0) for outer in range(5)])
    cases = [row for file in study.glob("outer*/cases.csv") for row in read(file)]
    whose = {int(case["line"]): case for case in cases}
    first = read_table(data / "phantom-smoke-1" / "cohort.csv").acquisitions[0]
    rows = [
        Acquisition(
            line=line,
            subject=whose[line]["subject"],
            group=whose[line]["group"],
            region=Region(whose[line]["region"]),
            channels={name: first.channels[name] for name in ("fat", "water")},
            mask=first.mask,
            slice=0,
        )
        for line in sorted(whose)
    ]
    write_table(tmp_path / "cohort.csv", rows)
    (found,) = (
        row
        for row in called(tmp_path / "cohort.csv", study, "--sd", 1)
        if (row["region"], row["group"], row["compared"]) == ("thigh", "all", "professional")
    )
    scores = [float(case["dice"]) for case in cases if case["region"] == "thigh"]
    assert float(found["mean"]) == pytest.approx(np.mean(scores), abs=1e-6)
    assert float(found["worst_decile"]) == pytest.approx(np.quantile(scores, 0.1), abs=1e-6)
    write_table(tmp_path / "cohort.csv", rows[::-1])
    with pytest.raises(SystemExit):
        called(tmp_path / "cohort.csv", study)
