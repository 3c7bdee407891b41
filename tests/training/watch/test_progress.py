"""The bar of a run."""

import io

import pytest
from rich.console import Console

from musclesense.messages import bars
from musclesense.studies.layout import RunFolder
from musclesense.studies.writing import EPOCH_COLUMNS, write_epochs
from musclesense.training.run import train
from musclesense.training.watch.progress import RunBar


def test_bar_shows_epochs_and_score_and_goes_away(configured, monkeypatch):
    console = Console(file=io.StringIO())
    shown: list[tuple[str, float, float | None]] = []
    original = RunBar.on_train_epoch_end

    def watched(self, trainer, module):
        original(self, trainer, module)
        (task,) = display.tasks
        shown.append((task.description, task.completed, task.total))

    monkeypatch.setattr(RunBar, "on_train_epoch_end", watched)
    with bars(console) as display:
        train(configured("trainer.max_epochs=2"))
    assert [(completed, total) for _, completed, total in shown] == [(1, 2), (2, 2)]
    assert all(name.startswith("outer0_inner0  validation DSC 0.") for name, *_ in shown)
    assert not display.tasks


def test_bar_goes_away_when_a_run_fails(configured, monkeypatch):
    console = Console(file=io.StringIO())
    monkeypatch.setattr(RunBar, "on_train_epoch_end", lambda *_: 1 / 0)
    with bars(console) as display, pytest.raises(ZeroDivisionError):
        train(configured())
    assert not display.tasks


def test_a_run_of_other_processes_is_followed_by_what_it_writes(tmp_path):
    console = Console(file=io.StringIO())
    run = RunFolder(tmp_path)
    unused = dict.fromkeys(EPOCH_COLUMNS, 0.0)
    rows = [unused | {"epoch": epoch, "val_dice": 0.5 + epoch / 10} for epoch in range(4)]
    epochs = RunBar("outer0_inner0", 4)
    with bars(console) as display:
        write_epochs(run, rows[:1])  # of an earlier process
        epochs.follow(run)
        (task,) = display.tasks
        assert (task.description, task.completed, task.total) == ("outer0_inner0", 1, 4)
        for done in (2, 4):
            write_epochs(run, rows[:done])
            epochs.follow(run)
            assert (task.description, task.completed) == (f"outer0_inner0  validation DSC 0.{4 + done}00", done)
        epochs.close()
    assert not display.tasks


def test_without_a_display_nothing_is_shown(tmp_path):
    epochs = RunBar("outer0_inner0", 4)
    epochs.follow(RunFolder(tmp_path))
    epochs.show(1, 0.5)
    epochs.close()
