"""How long a plan would take here."""

import logging
from pathlib import Path

import pytest
from tests.shared.commands import PlanOf

from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.launch import main
from musclesense.training import estimate, inputs
from musclesense.vocabulary import Region


@pytest.fixture
def table() -> CohortTable:
    rows = [Acquisition(line=i + 2, subject=f"s{i}", region=region) for i in range(25) for region in Region]
    return CohortTable(Path("cohort.csv"), tuple(rows), "digest")


def test_the_estimate_counts_runs_epochs_and_cases(
    plan_of: PlanOf, table: CohortTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_seconds_a_case", lambda config: 2.0)
    overrides = ["trainer.max_epochs=10", "outer=0,1,2", "region=calf,lower_limb"]
    plan = plan_of(*overrides)
    tables = dict.fromkeys(plan.studies, table)
    # Trained on are 16 of 25 subjects, validated on 4 at a third of the price; calf alone is half the rows.
    assert main.seconds_of(plan, tables) == pytest.approx(3 * 10 * 2.0 * (25 + 50) * (0.64 + 0.16 / 3))


@pytest.mark.parametrize(("synthesis", "said"), [("none", False), ("any_scanner", True)])
def test_what_the_estimate_leaves_out_is_said(
    plan_of: PlanOf,
    table: CohortTable,
    monkeypatch: pytest.MonkeyPatch,
    synthesis: str,
    said: bool,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "_seconds_a_case", lambda config: 100.0)
    monkeypatch.setattr(inputs, "find_table", lambda settings: table)
    plan = plan_of(f"synthesis={synthesis}", "edition=simplified", multirun=False)
    with caplog.at_level(logging.INFO, "musclesense"):
        main.announce(plan)
    line = caplog.messages[-1]
    assert line.startswith("this may take about ") and ("drawing slices not included" in line) == said


def test_a_case_of_a_larger_network_takes_longer(plan_of: PlanOf) -> None:
    def seconds(*overrides: str) -> float:
        plan = plan_of("experiment=smoke", *overrides, multirun=False)
        return estimate._seconds_a_case(plan.runs[0])

    assert 0 < seconds() < seconds("model.width=64", "grid.rows=64", "grid.columns=128")
