"""File names of studies, runs and reports stand in one module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from musclesense.studies import layout
from musclesense.studies.layout import CheckpointFolder, RunFolder, StudyFolder

ROOT = Path(__file__).parents[2]
LAYOUT = Path(layout.__file__)
NAMES = (
    *("study.yaml", "folds.json", "command.txt", "config.yaml", "done.json", "failed.json", "error.txt"),
    *("metrics.csv", "cases.csv", "overlays.npz", "nested_cv.csv", "summary.csv", "index.html"),
    *("best.ckpt", "last.ckpt", "previous.ckpt", "epoch-", "wandb_id", "slurm_id", "slurm.log", "_inner"),
)
FOLDERS = ("checkpoints", "report", "figures")
"""These are words, too: they count where a path is made of them."""
SITE = "index.html"
"""The first page of any site, and so of the one that `musclesense site` writes."""


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Give the texts of a module but docstrings."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    documented |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # of attributes
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node


def folders(tree: ast.AST) -> Iterator[ast.Constant]:
    """Give the texts that stand after a slash of a path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
            yield node.right


@pytest.mark.parametrize("part", ["src", "experiments", "benchmarks", "fuzz"])
def test_no_file_name_of_a_study_stands_elsewhere(part: str) -> None:
    found = []
    for path in sorted((ROOT / part).rglob("*.py")):
        if path.resolve() == LAYOUT.resolve():
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [name for name in NAMES if path.parent.name != "site" or name != SITE]
        own = [node for node in literals(tree) if any(name in str(node.value) for name in names)]
        own += [node for node in folders(tree) if node.value in FOLDERS]
        found += [f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}" for node in own]
    assert not found


def test_names_are_those_of_the_formats_on_disk() -> None:
    study = StudyFolder(Path("s"))
    run = study.run(1, 2)
    assert run == RunFolder(Path("s/outer1_inner2")) and run.name == "outer1_inner2"
    assert [study.settings, study.folds, study.command] == [
        Path("s/study.yaml"),
        Path("s/folds.json"),
        Path("s/command.txt"),
    ]
    own = {
        *(run.config, run.done, run.failed, run.error, run.metrics, run.cases, run.overlays),
        *(run.wandb_id, run.slurm_id, run.slurm_log),
        *(run.checkpoints.best, run.checkpoints.last, run.checkpoints.previous, run.checkpoints.epoch(9)),
    }
    assert {path.relative_to(run.path).as_posix() for path in own} == {
        *("config.yaml", "done.json", "failed.json", "error.txt", "metrics.csv", "cases.csv", "overlays.npz"),
        *("wandb_id", "slurm_id", "slurm.log"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "checkpoints/previous.ckpt", "checkpoints/epoch-0009.ckpt"),
    }
    report = study.report
    assert {report.page, report.nested_cv, report.summary, report.cases, report.figure("dice")} == {
        Path("s/report") / name
        for name in ("index.html", "nested_cv.csv", "summary.csv", "cases.csv", "figures/dice.png")
    }


def test_kept_epochs_are_found_in_order(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (10000, 9, 19):
        folder.epoch(number).touch()
    (tmp_path / "epoch-x.ckpt").touch()
    folder.last.touch()
    assert folder.epochs() == {number: folder.epoch(number) for number in (9, 19, 10000)}


def test_finished_runs_are_found_by_name(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path)
    for outer, inner in ((1, 0), (0, 1), (0, 0)):
        study.run(outer, inner).path.mkdir()
    for run in (study.run(1, 0), study.run(0, 1)):
        run.done.touch()
    for name in ("outer0_inner1_backup", "copy of outer0_inner1", "outer00_inner1", "outer1_inner0.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "done.json").touch()
    assert list(study.finished_runs()) == [study.run(0, 1), study.run(1, 0)]
    assert study.run(0, 1).is_finished and not study.run(0, 0).is_finished
