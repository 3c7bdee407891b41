"""How long a plan would take here."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.launch import estimate, main
from musclesense.launch.plan import make_plan
from musclesense.training import inputs
from musclesense.training.config import Config
from musclesense.vocabulary import Region


@pytest.fixture
def table() -> CohortTable:
    rows = [Acquisition(line=i + 2, subject=f"s{i}", region=region) for i in range(25) for region in Region]
    return CohortTable(Path("cohort.csv"), tuple(rows), "digest")


def test_the_estimate_counts_runs_epochs_and_cases(
    config_dir: Path, table: CohortTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_seconds_a_case", lambda config: 2.0)
    overrides = ["trainer.max_epochs=10", "outer=0,1,2", "region=calf,lower_limb"]
    plan = make_plan(overrides, config_dir=config_dir, multirun=True)
    tables = dict.fromkeys([folder.name for folder in plan.studies], table)
    # D3 is 16 of 25 subjects, D4 4 at a third of the price; calf alone is half the rows of the lower limb.
    assert estimate.seconds_of(plan, tables) == pytest.approx(3 * 10 * 2.0 * (25 + 50) * (0.64 + 0.16 / 3))


@pytest.mark.parametrize(("synthesis", "said"), [("none", False), ("any_scanner", True)])
def test_what_the_estimate_leaves_out_is_said(
    config_dir: Path, table: CohortTable, monkeypatch: pytest.MonkeyPatch, synthesis: str, said: bool
) -> None:
    monkeypatch.setattr(estimate, "_seconds_a_case", lambda config: 100.0)
    monkeypatch.setattr(inputs, "find_table", lambda config: table)
    plan = make_plan([f"synthesis={synthesis}", "edition=simplified"], config_dir=config_dir, multirun=False)
    console = Console(file=io.StringIO(), width=300)
    main._say_what_comes(plan, console)
    line = console.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert line.startswith("this may take about ") and ("drawing slices not included" in line) == said


def test_a_case_of_a_larger_network_takes_longer(config_dir: Path) -> None:
    def seconds(*overrides: str) -> float:
        plan = make_plan(["experiment=smoke", *overrides], config_dir=config_dir, multirun=False)
        config: Config = plan.runs[0]
        return estimate._seconds_a_case(config)

    assert 0 < seconds() < seconds("model.width=64", "grid.rows=64", "grid.columns=128")
