"""A sweep goes on where the system kills a process of its runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tests.shared.commands import PlanOf

from musclesense.launch.workers import go_on
from musclesense.studies.writing import begin_run, record_failure
from musclesense.training.settings import Settings


@pytest.fixture
def runs(plan_of: PlanOf, tmp_path: Path) -> tuple[Settings, ...]:
    """Five runs that have not begun."""
    return plan_of("experiment=smoke", f"runs={tmp_path}", "study=s", "outer=range(0,5)").runs


class Workers:
    """Two processes; runs that take too much memory kill them all, as joblib does."""

    def __init__(self, runs: Sequence[Settings], *, greedy: Sequence[int] = (), failing: Sequence[int] = ()) -> None:
        self.runs, self.greedy, self.failing = runs, greedy, failing
        self.started: list[list[int]] = []

    def __call__(self, left: Sequence[int]) -> None:
        self.started.append(list(left))
        for pair in (left[at : at + 2] for at in range(0, len(left), 2)):
            for number in pair:
                begin_run(self.runs[number].run, {"times": len(self.started)})
            if {*pair} & {*self.greedy}:
                raise TerminatedWorkerError("exit codes: SIGKILL(-9)")
            for number in pair:
                if number in self.failing:
                    record_failure(self.runs[number].run, "diverged", details="", **self.runs[number].fold)
                else:
                    self.runs[number].run.done.write_text("{}")


def finished(runs: Sequence[Settings]) -> list[int]:
    return [number for number, run in enumerate(runs) if run.run.is_finished]


def test_nothing_is_started_twice_where_nothing_is_killed(runs: tuple[Settings, ...]) -> None:
    workers = Workers(runs, failing=[1])
    go_on(runs, workers)
    assert workers.started == [[0, 1, 2, 3, 4]]
    assert finished(runs) == [0, 2, 3, 4]


def test_a_run_that_kills_its_process_twice_is_named_and_the_others_go_on(
    runs: tuple[Settings, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    record_failure(runs[4].run, "of an earlier sweep", details="", **runs[4].fold)
    workers = Workers(runs, greedy=[2], failing=[0])
    go_on(runs, workers)
    assert workers.started[0] == [0, 1, 2, 3, 4], "an earlier failure is tried again"
    assert 2 not in finished(runs) and {1, 4} <= {*finished(runs)}
    lost = json.loads((runs[2].run.path / "failed.json").read_text())
    assert lost["error"].startswith("its process was killed twice, by the system for lack of memory")
    assert json.loads((runs[0].run.path / "failed.json").read_text())["error"] == "diverged"
    assert capsys.readouterr().err.splitlines()[0] == (
        "a process was killed, by the system for lack of memory for example; "
        "tried once more: outer2_inner0, outer3_inner0"
    )


@pytest.mark.parametrize("greedy", [[0], [4], [0, 1, 2, 3, 4], [1, 3]])
def test_it_always_ends_and_every_run_has_an_end(runs: tuple[Settings, ...], greedy: list[int]) -> None:
    go_on(runs, Workers(runs, greedy=greedy))
    failed = [number for number, run in enumerate(runs) if run.run.failed.is_file()]
    assert sorted([*finished(runs), *failed]) == [0, 1, 2, 3, 4]
    assert {*greedy} <= {*failed}


def test_processes_that_are_killed_before_a_run_begins_are_tried_twice(runs: tuple[Settings, ...]) -> None:
    tried = []

    def killed(left: Sequence[int]) -> None:
        tried.append(list(left))
        raise TerminatedWorkerError

    go_on(runs, killed)
    assert tried == [[0, 1, 2, 3, 4]] * 2
    assert all(run.run.failed.is_file() for run in runs)
