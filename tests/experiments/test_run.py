"""The runner of the published studies: what is left, what is done, and one pass over smoke-size studies."""

import importlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from musclesense.endings import GO_ON
from musclesense.errors import InputError
from musclesense.phantom.cohorts.generate import generate
from musclesense.phantom.cohorts.presets import Preset
from musclesense.phantom.cohorts.subjects import Subject, list_subjects
from musclesense.studies.layout import StudyFolder
from musclesense.vocabulary import Region

from ..shared.runs import rows_of
from ..shared.waiting import LONGEST_SECONDS, end, wait_until

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STUDIES = yaml.safe_load((EXPERIMENTS / "studies.yaml").read_text())["studies"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    yield importlib.import_module("run")
    sys.modules.pop("run")


def table() -> dict[str, Any]:
    found = yaml.safe_load((EXPERIMENTS / "studies.yaml").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture
def calves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calves of five subjects of one group: two come again after two weeks, all after a year."""

    def few(preset: Preset) -> list[Subject]:
        return [
            replace(one, visits=tuple(replace(visit, regions=(Region.CALF,)) for visit in one.visits))
            for one in list_subjects(preset)
            if one.group.name == "CMT"
        ]

    monkeypatch.setattr("musclesense.phantom.cohorts.generate.list_subjects", few)
    return generate(tmp_path / "calves", preset="visits", seed=1)


def test_smoke_size_studies_are_made_once_and_then_skipped(
    calves: Path, run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = [f"--{name}={tmp_path / name}" for name in ("out", "runs", "data")]
    few = [f"cohort.path={calves}", "region=calf", "trainer.max_epochs=2"]
    command = ["test_retest", "responsiveness", "--size", "smoke", *few, *places]
    code, said = run.main(command), capfd.readouterr()
    assert code == 0, said.err
    assert "test_retest: 2 of 2 runs, about " in said.out and "responsiveness: 0 of 2 runs, and tables" in said.out
    retest, change = (tmp_path / "out" / name / "results" / "smoke" for name in ("test_retest", "responsiveness"))
    assert {row["subjects"] for row in rows_of(retest / "retest.csv") if row["way"] == "true mask"} == {"2"}
    assert {row["subjects"] for row in rows_of(change / "change.csv") if row["way"] == "true mask"} == {"5"}
    printed = (retest / "printed.txt").read_text()
    assert (
        printed.startswith("$ musclesense retest {0} --out {out}\n")
        and printed.split("\n\n", 1)[1].rstrip() in said.out
    )
    record = json.loads((retest / "record.json").read_text())
    assert record["commands"]["then"] == ["musclesense retest {0} --out {out}"]
    assert not [place for place in places if place.partition("=")[2] in str(record)], "wherever it was made"
    (study,) = (path for path in (tmp_path / "runs").iterdir() if not path.name.startswith("."))
    assert len([*StudyFolder(study).finished_runs()]) == 2
    script = [sys.executable, str(EXPERIMENTS / "run.py"), *command]
    again = subprocess.run(script, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and again.stdout.splitlines() == [
        "test_retest: done",
        "responsiveness: done",
        "no run is left",
    ]


def test_each_run_counts_once_and_cases_are_those_of_the_cohort(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []

    def seconds_of(settings: Any, table: Any) -> float:
        rows.append(len(table.acquisitions))
        return 60.0

    monkeypatch.setattr(run, "seconds_of", seconds_of)
    assert run.main(["--list", f"--out={tmp_path}", f"--runs={tmp_path / 'runs'}", f"--data={tmp_path / 'data'}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "nested_cv: 50 of 50 runs, about 50 min",
        "test_retest: 0 of 25 runs, and tables",
        "responsiveness: 0 of 25 runs, and tables",
        "secondary_cohort: 0 of 25 runs, and tables",
        "channels: 25 of 25 runs, about 25 min",
        "augmentation: 15 of 20 runs, about 15 min",
        "single_muscles: 5 of 5 runs, about 5 min",
        "left in all: about 1.6 h",
    ]
    assert {*rows} == {571} and not [*tmp_path.iterdir()], "nothing is made"


@pytest.mark.parametrize("more", [[], ["seed=2"], ["optimizer.lr=1e-3", "region=calf"]])
def test_results_of_other_commands_are_not_done(more: list[str], run: ModuleType, tmp_path: Path) -> None:
    task, other = (run.tasks_of(table(), "small", ["channels", *words], tmp_path)[0] for words in (more, ["seed=3"]))
    assert not task.is_done
    task.results.mkdir(parents=True)
    for content in ("", "[]", "{}", json.dumps({"commands": other.commands})):
        (task.results / "record.json").write_text(content)
        assert not task.is_done, content
    (task.results / "record.json").write_text(json.dumps({"commands": task.commands}))
    assert task.is_done and not other.is_done


def test_a_study_that_fails_is_named_and_leaves_nothing_behind(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last command of the first study fails; the second goes on."""

    def fails(words: list[str], **how: Any) -> str:
        if "retest" in words:
            raise subprocess.CalledProcessError(2, words)
        return "change\n" * ("change" in words)

    monkeypatch.setattr(run, "run", fails)
    monkeypatch.setattr(run, "find_table", lambda settings: run.CohortTable(tmp_path / "cohort.csv", (), ""))
    monkeypatch.setattr(run, "say_left", lambda tasks, places: None)
    command = ["test_retest", "responsiveness", "--size=smoke", f"--out={tmp_path}", f"--runs={tmp_path / 'runs'}"]
    assert run.main(command) == 1
    assert capsys.readouterr().out.endswith("not made: test_retest; the same command tries again\n")
    assert not [*tmp_path.glob("test_retest/results/*")]
    assert (tmp_path / "responsiveness" / "results" / "smoke" / "record.json").is_file()


@pytest.mark.parametrize(("code", "left"), [(-15, 143), (130, 130)])
def test_a_signal_ends_all_studies(
    code: int, left: int, run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def stopped(words: list[str], **how: Any) -> None:
        begun.append(words)
        raise subprocess.CalledProcessError(code, words)

    monkeypatch.setattr(run, "run", stopped)
    monkeypatch.setattr(run, "say_left", lambda tasks, places: None)
    with pytest.raises(SystemExit) as ended:
        run.main(["--size=smoke", f"--out={tmp_path}"])
    assert ended.value.code == left and len(begun) == 1


STANDS_IN = """
import os, signal, sys
from musclesense.endings import told
with told():
    print("trains", os.getpid(), flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("script", ["run.py", "train_all.py"])
def test_what_trains_ends_with_the_script(script: str, number: int, tmp_path: Path) -> None:
    """``train.py`` stands for a command that waits to be told to end; only the script is told."""
    for name in (script, "studies.yaml"):
        (tmp_path / "experiments" / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(EXPERIMENTS / name, tmp_path / "experiments" / name)
    (tmp_path / "train.py").write_text(STANDS_IN)
    words = {"run.py": ["test_retest", "--size=smoke"], "train_all.py": ["out"]}[script]
    command, pipe = [sys.executable, str(tmp_path / "experiments" / script), *words], subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        trainings = begun(process) if script == "run.py" else logged(tmp_path / "out", process)
        process.send_signal(number)
        _, said = process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode == 128 + number and said.splitlines()[-1].endswith(GO_ON), said
        assert not [one for one in trainings if Path(f"/proc/{one}").exists()], "waited for, and gone"
    finally:
        end(process)


def begun(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    return [int(next(line for line in process.stdout if line.startswith("trains")).split()[1])]


def logged(folder: Path, process: "subprocess.Popen[str]") -> list[int]:
    def said() -> list[str]:
        return [line for log in folder.glob("*.log") for line in log.read_text().splitlines(keepends=True)]

    wait_until(lambda: sum(line.endswith("\n") for line in said()) == 3, process)
    return [int(line.split()[1]) for line in said()]


def test_what_is_kept_of_what_was_printed_names_no_place_of_the_machine(run: ModuleType, tmp_path: Path) -> None:
    places = run.Places(tmp_path / "of mine", tmp_path / "data")
    printed = f"report: {tmp_path / 'of mine' / 'a-study'}/report/index.html\nof mine too\n"
    assert run.without_places(printed, places) == "report: runs/a-study/report/index.html\nof mine too\n"


def test_folders_go_into_commands_as_one_word_each(run: ModuleType) -> None:
    studies = [StudyFolder(Path("runs/my study")), StudyFolder(Path("runs/b"))]
    assert run.filled("compare {studies} --out {out}", studies, out="a b") == [
        "compare",
        "runs/my study",
        "runs/b",
        "--out",
        "a b",
    ]
    assert run.filled("score {cohort} {out}/score --model {1}", studies, out="o", cohort="c") == [
        *("score", "c", "o/score", "--model", "runs/b")
    ]


@pytest.mark.parametrize(
    "command", ["channels --list seed=2", "--list channels seed=2", "seed=2 --size=small --list channels"]
)
def test_names_overrides_and_options_come_in_any_order(
    command: str, run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(run, "say_left", lambda tasks, places: asked.extend(tasks))
    assert run.main(command.split()) == 0
    (task,) = asked
    assert task.name == "channels" and task.common[-1] == "seed=2"


def test_an_unknown_study_is_refused(run: ModuleType) -> None:
    with pytest.raises(InputError, match=r"^nested: no study; give some of nested_cv, "):
        run.tasks_of(table(), "paper", ["nested"])


@pytest.mark.parametrize("name", STUDIES)
def test_each_study_has_a_page_that_says_what_it_is(name: str) -> None:
    page = (EXPERIMENTS / name / "README.md").read_text(encoding="utf-8")
    assert f"python experiments/run.py {name}" in page
    for part in ("**Question.**", "**Command**", "**Reading.**", "**Phantom**", "**Patients.**"):
        assert part in page, part
