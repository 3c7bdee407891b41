"""What wandb is given, read back from the files of its offline runs."""

import builtins
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from musclesense.imaging.labels import LabelSet
from musclesense.training.record import History
from musclesense.training.run import train
from musclesense.training.watch import tracking


def records_of(file: Path) -> Iterator[bytes]:
    """Read a ``.wandb`` file: a log of LevelDB's format, where records are cut at blocks of 32 KiB, after 7 bytes."""
    content, at, parts = file.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_back(folder: Path) -> SimpleNamespace:
    """Read the one offline run below a run's folder."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found = SimpleNamespace(folder=file.parent, run=None, config={}, history=[], summary={}, exit_code=None)
    for data in records_of(file):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            found.config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            found.history.append(flat(record.history.item))
        elif kind == "summary":
            found.summary |= flat(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def flat(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


@pytest.fixture(scope="session")
def logged(composed, data, tmp_path_factory) -> Iterator[list[Any]]:
    """Three runs in one process, the last of which fails: their configurations, in a home without an account."""
    home = tmp_path_factory.mktemp("home")
    overrides = (f"data={data}", f"runs={home / 'runs'}", "logger=wandb", "logger.overlays=2", "trainer.max_epochs=2")
    configs = [composed(*overrides, "outer=1", f"inner={inner}") for inner in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(home / "netrc"))
        patch.setenv("WANDB_CONFIG_DIR", str(home / "config"))
        patch.setenv("WANDB_CACHE_DIR", str(home / "cache"))
        patch.setenv("WANDB_DATA_DIR", str(home / "data"))
        patch.setattr(builtins, "input", lambda *_: pytest.fail("asked something"))
        for config in configs[:2]:
            train(config)
        with pytest.MonkeyPatch.context() as failing, pytest.raises(ZeroDivisionError):
            failing.setattr(History, "on_train_epoch_end", lambda *_: 1 / 0)
            train(configs[2])
        wandb.teardown()  # its process writes the records, and has written all of them when it has ended
        yield configs


def test_each_run_of_a_process_is_its_own(logged):
    for settings in logged:
        run = read_back(settings.run.path).run
        assert run.run_group == settings.study.path.name
        assert run.job_type == "outer1"
        assert run.display_name == f"outer1-inner{settings.config.inner}"
        assert run.project == "musclesense"
        assert run.run_id == (settings.run.path / "wandb_id").read_text()
    assert len({read_back(settings.run.path).run.run_id for settings in logged}) == 3


def test_figures_are_those_of_the_run_folder(logged):
    for settings in logged[:2]:
        found, folder = read_back(settings.run.path), settings.run.path
        done = json.loads((folder / "done.json").read_text())
        rows = (folder / "metrics.csv").read_text().splitlines()[1:]
        for position, name in ((1, "train_loss"), (2, "val_loss"), (3, "val_dice")):
            curve = [step[name] for step in found.history if name in step]
            assert curve == pytest.approx([float(row.split(",")[position]) for row in rows]), name
        assert {f"test/{name}": value for name, value in done["scores"].items()}.items() <= found.summary.items()
        rates = [step["lr-AdamW"] for step in found.history if "lr-AdamW" in step]
        assert len(rates) == 2 and all(0 < rate <= 2e-2 for rate in rates)
    one, other = (read_back(settings.run.path).summary["test/dice_calf"] for settings in logged[:2])
    assert one != other


def test_configuration_is_complete(logged):
    for settings in logged:
        found = read_back(settings.run.path).config
        plain = settings.config.plain
        assert {key: found[key] for key in plain} == plain


def test_overlays_have_masks(logged):
    found = read_back(logged[0].run.path)
    (overlays,) = [step for step in found.history if "test/overlays/count" in step]
    assert overlays["test/overlays/count"] == 2
    assert [set(masks) for masks in overlays["test/overlays/all_masks"]] == [{"truth", "prediction"}] * 2
    assert all("sub-" in caption and "slice 0" in caption for caption in overlays["test/overlays/captions"])
    masks = [mask["path"] for own in overlays["test/overlays/all_masks"] for mask in own.values()]
    for name in [*overlays["test/overlays/filenames"], *masks]:
        assert (found.folder / "files" / name).is_file()


def test_a_failed_run_says_so(logged):
    assert [read_back(settings.run.path).exit_code for settings in logged] == [0, 0, 1]
    assert wandb.run is None


@pytest.mark.parametrize(
    ("asked", "environment", "account", "mode"),
    [
        ("auto", None, False, "offline"),
        ("auto", None, True, "online"),
        ("auto", "disabled", True, "disabled"),
        ("auto", "online", False, "online"),
        ("offline", "online", True, "offline"),
    ],
)
def test_mode_is_online_only_where_logged_in(monkeypatch, asked, environment, account, mode):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    said = []
    monkeypatch.setattr(wandb, "login", lambda **named: (said.append(named), account)[1])
    assert tracking._mode(asked) == mode
    assert all(named["prompt"] is False for named in said)


def test_wandb_that_cannot_start_is_told_and_does_without(composed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb, "setup", lambda **_: 1 / 0)
    assert tracking.start(composed(f"runs={tmp_path}", "logger=wandb")) is None
    assert capsys.readouterr().err.splitlines() == [
        "wandb: division by zero; the run goes on without it, with all its figures in the run folder"
    ]


def test_wandb_that_fails_in_a_run_is_told_once_and_ends_nothing(composed, tmp_path, monkeypatch, capsys):
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise OSError("no such directory")

    monkeypatch.setattr(tracking.Logger, "experiment", Broken())
    monkeypatch.setattr(wandb, "finish", lambda **_: Broken().x)
    logger = tracking.Logger(save_dir=tmp_path, offline=True)
    logger.log_metrics({"val_dice": 0.5}, step=1)
    logger.finalize("success")
    logger.log_test({"dice": 0.5}, [], labels=LabelSet.from_config({"muscle": []}), overlays=0)
    logger.finish(failed=False)
    assert capsys.readouterr().err.splitlines() == [
        "wandb: no such directory; the run goes on without it, with all its figures in the run folder"
    ]
