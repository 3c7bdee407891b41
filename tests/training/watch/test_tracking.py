"""What wandb is given, read back from the files of its offline runs."""

import builtins
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from musclesense.evaluation.report.page import write_report
from musclesense.imaging.labels import LabelSet
from musclesense.metrics.case import COLUMNS
from musclesense.studies.writing import write_epochs
from musclesense.training.record import History
from musclesense.training.run import train
from musclesense.training.watch import tracking

from ...shared.runs import rows_of


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
    found = SimpleNamespace(
        folder=file.parent, run=None, config={}, history=[], summary={}, exit_code=None, artifacts=[]
    )
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
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
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
        write_report(configs[0].study.path)
        for _ in range(2):  # as where a sweep goes on
            tracking.summarise(configs[0])
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
        assert [step["epoch"] for step in found.history if "epoch" in step] == [0, 1]
        rates = [step["learning_rate"] for step in found.history if "learning_rate" in step]
        assert len(rates) == 2 and all(0 < rate <= 2e-2 for rate in rates)
    one, other = (read_back(settings.run.path).summary["test/dice_calf"] for settings in logged[:2])
    assert one != other


def test_configuration_is_complete(logged):
    for settings in logged:
        found = read_back(settings.run.path).config
        plain = settings.config.plain
        for config in (found, plain):  # wandb keeps what holds nothing in some of its records alone
            assert config["trainer"].pop("lightning", {}) == {}
        assert {key: found[key] for key in plain} == plain | {"study": settings.study.path.name}


def test_runs_can_be_told_apart_by_all_that_one_filters_by(logged):
    for settings in logged:
        found = read_back(settings.run.path)
        config = found.config
        assert {*found.run.tags} == {
            *("professional", "lower_limb", "fat+water+te345+te575", "outer1", f"inner{settings.config.inner}")
        }
        assert (config["edition"]["name"], config["region"]["name"]) == ("professional", "lower_limb")
        assert (config["outer"], config["inner"]) == (1, settings.config.inner)
        assert config["channels"] == ["fat", "water", "te345", "te575"]
        assert config["study"] == found.run.run_group == settings.study.path.name


def test_long_channels_make_a_tag_that_wandb_takes(composed, tmp_path, monkeypatch, home):
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    settings = composed(f"runs={tmp_path}", "study=s", "logger=wandb", "logger.mode=offline")
    settings = replace(settings, config=replace(settings.config, channels=[f"te{n}00" for n in range(20)]))
    dashboard = tracking.start(settings)
    assert dashboard is not None
    dashboard.finish(failed=False)
    wandb.teardown()
    assert max(map(len, read_back(settings.run.path).run.tags)) == 64


def test_each_case_is_a_row_of_a_table_with_its_scores_and_the_first_with_their_pictures(logged):
    found = read_back(logged[0].run.path)
    (path,) = {step["test/cases/path"] for step in found.history if "test/cases/path" in step}
    table = json.loads((found.folder / "files" / path).read_text())
    assert table["columns"] == ["overlay", *COLUMNS]
    cases = rows_of(logged[0].run.cases)
    for name, kind in (("subject", str), ("dice", float)):
        at = table["columns"].index(name)
        assert [row[at] for row in table["data"]] == [kind(case[name]) for case in cases]
    assert [row[0] for row in table["data"]] == ["Image"] * 2 + [None] * (len(cases) - 2)
    (kept,) = (one for one in found.artifacts if one.type == "run_table")
    pictures = [entry.path for entry in kept.manifest.contents if entry.path.endswith(".png")]
    assert len([path for path in pictures if "/mask/" in path]) == 4 and len(pictures) == 6, "which the table shows"


def test_a_sweep_ends_with_one_run_that_has_tables_figures_and_the_report(logged):
    study = logged[0].study
    found = read_back(study.path)
    assert (found.run.run_group, found.run.job_type, found.run.display_name) == (study.path.name, "summary", "summary")
    there = {key for step in found.history for key in step}
    shown = {*(f"tables/{file.stem}/path" for file in study.report.path.glob("*.csv"))}
    shown |= {f"figures/{file.stem}/path" for file in (study.report.path / "figures").glob("*.png")}
    assert len(shown) > 8 and shown <= there
    for row in rows_of(study.report.summary):
        if row["group"] == "all":
            dice = found.summary[f"study/dice_{row['region']}_{row['label']}"]
            assert dice == pytest.approx(float(row["dice_mean"]), abs=1e-6)
    (kept,) = (one for one in found.artifacts if one.type == "report")
    files = {entry.path for entry in kept.manifest.contents}
    assert {"summary.csv", "statistics.tex", "figures/dice.png"} <= files
    assert "index.html" not in files, "which has a picture of every scan"


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

    run = composed(f"runs={tmp_path}").run
    run.path.mkdir(parents=True)
    write_epochs(run, [epoch(0)])
    dashboard = tracking.Dashboard(Broken(), run)
    dashboard.show_epochs()
    dashboard.show_epochs()
    dashboard.log_test({"dice": 0.5}, [], labels=LabelSet.from_config({"muscle": []}), overlays=0)
    dashboard.finish(failed=False)
    assert capsys.readouterr().err.splitlines() == [
        "wandb: no such directory; the run goes on without it, with all its figures in the run folder"
    ]


# Kills, and machines without a network


def epoch(number: int) -> dict[str, float]:
    return {"epoch": number} | dict.fromkeys(("train_loss", "val_loss", "val_dice", "learning_rate"), number / 8)


RUN = """
import os, sys
from musclesense.messages import to_console
from musclesense.studies.writing import write_epochs
from musclesense.training.composition import compose
from musclesense.training.watch import tracking

def epoch(number):
    return {"epoch": number} | dict.fromkeys(("train_loss", "val_loss", "val_dice", "learning_rate"), number / 8)

to_console()
for inner, mode in enumerate(sys.argv[1].split(",")):
    settings = compose("runs=runs", "study=s", "logger=wandb", f"logger.mode={mode}", f"inner={inner}")
    settings.run.path.mkdir(parents=True, exist_ok=True)
    dashboard = tracking.start(settings)
    for ended in range(1, 4):
        write_epochs(settings.run, map(epoch, range(ended)))
        dashboard.show_epochs()
    if "kill" in sys.argv:
        os.kill(os.getpid(), 9)
    dashboard.finish(failed=False)
"""


@pytest.fixture
def home(tmp_path) -> dict[str, str]:
    """An environment without an account, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}


def test_a_run_that_was_killed_shows_every_epoch_once(composed, tmp_path, monkeypatch, home):
    code = [sys.executable, "-c", RUN, "offline", "kill"]
    killed = subprocess.run(code, cwd=tmp_path, env=home, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    settings = composed(f"runs={tmp_path / 'runs'}", "study=s", "logger=wandb", "logger.mode=offline")
    dashboard = tracking.start(settings)
    assert dashboard is not None
    for ended in (3, 4, 5):  # the epoch that was under way is trained again
        write_epochs(settings.run, map(epoch, range(ended)))
        dashboard.show_epochs()
    dashboard.finish(failed=False)
    wandb.teardown()
    found = read_back(settings.run.path)
    assert [step["epoch"] for step in found.history] == [0, 1, 2, 3, 4]
    assert [step["_step"] for step in found.history] == [0, 1, 2, 3, 4]
    assert [step["val_dice"] for step in found.history] == [number / 8 for number in range(5)]


def test_without_an_answer_curves_are_kept_offline_which_is_told_once(tmp_path, home):
    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        account = {"WANDB_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "WANDB_API_KEY": "a" * 40}
        code = f"import musclesense.training.watch.tracking as own; own._ANSWER_SECONDS = 1\n{RUN}"
        command = [sys.executable, "-c", code, "auto,auto"]
        done = subprocess.run(command, cwd=tmp_path, env=home | account, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert (
        line.startswith("wandb: no answer (") and "this and all later runs are kept offline; wandb sync runs/" in line
    )
    for inner in (0, 1):
        found = read_back(tmp_path / "runs" / "s" / f"outer0_inner{inner}")
        assert [step["epoch"] for step in found.history] == [0, 1, 2]


APART = """
ip link set lo up && ip route add local default dev lo || exit 77
"$@" || exit 1
cat /proc/net/snmp
"""


def sent(*command: str, folder: Path, environment: dict[str, str]) -> dict[str, int]:
    """Run a command in a network of its own, where all is sent and nothing arrives; counts what it tried to send."""
    apart = ["unshare", "--map-root-user", "--net", "sh", "-c", APART, "sh", *command]
    try:
        done = subprocess.run(apart, cwd=folder, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare on this machine")
    if done.returncode != 1 and "Tcp:" not in done.stdout:
        pytest.skip(f"a network of its own cannot be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    names, values = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Tcp:"))
    tcp = dict(zip(names, map(int, values), strict=True))
    names, values = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Udp:"))
    udp = dict(zip(names, map(int, values), strict=True))
    return {"connections": tcp["ActiveOpens"], "questions": udp["OutDatagrams"]}


@pytest.mark.parametrize(("mode", "account"), [("auto", {}), ("offline", {"WANDB_API_KEY": "a" * 40})])
def test_nothing_leaves_the_machine_unless_online(tmp_path, home, mode, account):
    asks = "import socket\ntry: socket.create_connection(('192.0.2.1', 443), 0.01)\nexcept OSError: pass"
    control = sent(sys.executable, "-c", asks, folder=tmp_path, environment=home)
    assert control == {"connections": 1, "questions": 0}, "it would be seen"
    command = (sys.executable, "-c", RUN, f"{mode},{mode}")
    assert sent(*command, folder=tmp_path, environment=home | account) == {"connections": 0, "questions": 0}
    assert list(tmp_path.glob("runs/s/*/wandb/offline-run-*/*.wandb")), "and all of it is kept"


def test_an_anonymous_run_tells_no_path(composed, tmp_path, monkeypatch, home):
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "cohort.path=/hospital/anna/cohort.csv"])
    asked = ("runs=runs", "study=s", "logger=wandb", "logger.mode=offline", "cohort.path=/hospital/anna/cohort.csv")
    settings = composed(*asked, "anonymous=true")
    dashboard = tracking.start(settings)
    assert dashboard is not None
    dashboard.finish(failed=False)
    wandb.teardown()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    assert [file for file in files if b"anna" in file.read_bytes()] == []
