"""What makes a reader doubt the means of a study: missing cases, and scores that contradict their own record."""

from collections.abc import Iterator
from math import isclose
from statistics import fmean

from musclesense.metrics.case import Case
from musclesense.metrics.overlap import Overlap
from musclesense.studies.reading import read_done
from musclesense.studies.study import Run, RunStatus, Study

_ROUNDING = 1e-6


def doubts(study: Study) -> list[str]:
    """Say what is wrong with the cases over which means are taken, a line for each run and kind."""
    return [f"{run.name}: {said}" for run in study.with_status(RunStatus.FINISHED) for said in _of_run(study, run)]


def _of_run(study: Study, run: Run) -> Iterator[str]:
    alike = {_which(case) for other in study.runs if other.outer == run.outer for case in other.cases}
    if lacking := len(alike.difference(map(_which, run.cases))):
        yield f"{lacking} of {len(alike)} cases of its outer fold are missing"
    if unlike := sum(not _consistent(case) for case in run.cases):
        yield f"{unlike} of {len(run.cases)} cases have a Dice that is not that of their tp, fp and fn"
    dice = [case.dice for case in run.cases if case.dice is not None]
    scores = read_done(run.folder).get("scores")
    written = scores.get("dice") if isinstance(scores, dict) else None
    if isinstance(written, float) and not (dice and isclose(fmean(dice), written, abs_tol=_ROUNDING)):
        found = f"{fmean(dice):.6f}" if dice else "unknown"
        yield f"mean Dice of its cases is {found}, and the run wrote {written:.6f}"


def _which(case: Case) -> tuple[int, int, str]:
    return case.line, case.slice, case.label


def _consistent(case: Case) -> bool:
    expected = Overlap(tp=case.tp, fp=case.fp, fn=case.fn).dice
    if case.dice is None or expected is None:
        return case.dice is expected
    return isclose(case.dice, expected, abs_tol=_ROUNDING)
