"""Networks together beside the same networks one by one: their probabilities are known, and so are all scores."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cli.main import main
from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import Acquisition, read_table
from musclesense.evaluation.ensembles import EACH, TOGETHER, Ensembles
from musclesense.evaluation.scoring import Reference, score_cohort
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.case import Case
from musclesense.segmentation.segmenter import Segmenter
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study
from musclesense.studies.writing import write_cases, write_epochs

from ..segmentation.conftest import cohort as cohort
from ..segmentation.conftest import study as study
from ..segmentation.conftest import write_run

WIDE = {"spacing_mm": 9.0, "rows": 64, "columns": 96, "fit": "centre"}
"""More than a whole scan."""
Biases = dict[tuple[int, int], float]
"""Of the only channel of each network, which finds muscle everywhere above 0 and nowhere below."""


def trained(study: StudyFolder, cohort: Path, biases: Biases) -> None:
    """Let the runs of a study have such networks, and the scores that these reach one by one."""
    for (outer, inner), bias in biases.items():
        run = study.run(outer, inner)
        write_run(run.path, channels=["fat"], weight=0, bias=bias, grid=WIDE)
        tested = NestedFolds.load(study.folds).outer[outer]
        write_epochs(run, [])
        rows = [row for row in read_table(cohort).acquisitions if row.subject in tested]
        write_cases(run, [case for row in rows for case in scored(row, bias > 0, outer, inner)])


def muscle_of(row: Acquisition) -> NDArray[np.bool_]:
    assert row.mask is not None
    return np.asarray(read_volume(row.mask).data[..., 0] > 0)


def dice(row: Acquisition, everywhere: bool) -> float:
    muscle = muscle_of(row)
    return float(2 * muscle.sum() / (muscle.sum() + muscle.size)) if everywhere else 0.0


def scored(row: Acquisition, everywhere: bool, outer: int, inner: int) -> list[Case]:
    """Score a mask that is everywhere or nowhere; both slices of a scan are alike."""
    muscle = muscle_of(row)
    found = np.full(muscle.shape, everywhere)
    tp, fp, fn = (int(part.sum()) for part in (muscle & found, ~muscle & found, muscle & ~found))
    values: dict[str, Any] = {"outer": outer, "inner": inner, "line": row.line, "subject": row.subject}
    values |= {"session": row.session, "group": row.group, "region": str(row.region), "label": "muscle"}
    values |= {"tp": tp, "fp": fp, "fn": fn, "dice": dice(row, everywhere)}
    values |= {"volume_true_ml": (tp + fn) * 0.81, "volume_predicted_ml": (tp + fp) * 0.81}
    return [Case(slice=number, **values) for number in (0, 1)]


def rows_of(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "ensemble.csv").open(newline="", encoding="utf-8") as file:
        return {(row["way"], row["measure"]): row for row in csv.DictReader(file) if row["by"] == "all"}


@pytest.mark.parametrize(
    ("biases", "everywhere"),
    [
        # Probabilities of 0.27 and 0.88: their mean is above one half. 0.27 and 0.62: below. In fold 1 both agree.
        ({(0, 0): -1.0, (0, 1): 2.0, (1, 0): 3.0, (1, 1): 1.0}, True),
        ({(0, 0): -1.0, (0, 1): 0.5, (1, 0): 3.0, (1, 1): 1.0}, False),
    ],
)
def test_an_ensemble_scores_by_its_mean_probability(
    biases: Biases, everywhere: bool, study: StudyFolder, cohort: Path, tmp_path: Path, capsys
) -> None:
    trained(study, cohort, biases)
    out = tmp_path / "out"
    main(["score", str(cohort), str(out), "--model", str(study.path), "--out-of-fold", "--no-pictures"])
    tested = NestedFolds.load(study.folds).outer[0]
    each, together = [], []
    for row in read_table(cohort).acquisitions:
        full = dice(row, True)
        each.append(full / 2 if row.subject in tested else full)
        together.append(full if row.subject not in tested or everywhere else 0.0)
    found = rows_of(out)
    assert float(found[EACH, "dice"]["mean"]) == pytest.approx(np.mean(each), abs=1e-6)
    assert float(found[TOGETHER, "dice"]["mean"]) == pytest.approx(np.mean(together), abs=1e-6)
    assert found[EACH, "dice"]["acquisitions"] == found[TOGETHER, "dice"]["acquisitions"] == str(len(each))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("thigh")]
    assert [EACH in lines[0], TOGETHER in lines[1]] == [True, True]
    assert f"{np.mean(each):.3f}" in lines[0] and f"{np.mean(together):.3f}" in lines[1]
    assert (out / "ensemble.tex").is_file() and (out / "slices.csv").is_file()


def test_of_one_network_both_are_the_same(study: StudyFolder, cohort: Path, tmp_path: Path) -> None:
    trained(study, cohort, {(0, 0): -2.0, (1, 0): 2.0})
    for outer in (0, 1):
        (study.run(outer, 1).done).unlink()
    cases = score_cohort(
        cohort, tmp_path / "out", Segmenter.load(study.path), Reference(), pictures=False, study=study.path
    )
    found = Ensembles.of(read_study(study.path), cases)
    each, together = ([row for row in found.rows if row["way"] == way] for way in (EACH, TOGETHER))
    for one, other in zip(each, together, strict=True):
        if one["measure"] in ("dice", "volume_error_percent"):
            assert one["mean"] == pytest.approx(other["mean"]) and one["sd"] == pytest.approx(other["sd"]), one
            assert one["missed"] == other["missed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--column", "mask"], "error: --column: does not go with --out-of-fold"),
        (["--ignore", "3"], "error: --ignore: does not go with --out-of-fold"),
        (["--labels", "own.yaml"], "error: --labels: does not go with --out-of-fold"),
    ],
)
def test_masks_are_the_studys(words: list[str], said: str, study, cohort: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", str(cohort), str(tmp_path / "out"), "--model", str(study.path), "--out-of-fold", *words])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["run", "shipped"])
def test_out_of_fold_takes_a_whole_study(model: str, study: StudyFolder, cohort: Path, tmp_path: Path, capsys) -> None:
    given = ["--model", str(study.run(0, 0).path)] if model == "run" else []
    with pytest.raises(SystemExit) as ended:
        main(["score", str(cohort), str(tmp_path / "out"), "--out-of-fold", *given])
    assert ended.value.code == 2 and "--out-of-fold: takes a study below runs/" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
