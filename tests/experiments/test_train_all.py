"""All networks in one call: smoke-size, the script's own options, and what is kept."""

import subprocess
import sys
import zipfile
from pathlib import Path

from musclesense.networks.bundle import read_trained

SCRIPT = Path(__file__).parents[2] / "experiments" / "train_all.py"
SMALL = (
    *("cohort.phantom.preset=smoke", "grid.spacing_mm=6.4", "grid.rows=32", "grid.columns=64", "model.width=2"),
    *("synthesis.slices=2", "synthesis.initial=2", "synthesis.per_epoch=2", "synthesis.shard=2", "synthesis.workers=0"),
    *("trainer=cpu", "trainer.max_epochs=1", "inference.scales=[1.0]"),
)


def train_all(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def test_a_network_is_trained_and_kept_with_its_records(tmp_path: Path, data: Path) -> None:
    done = train_all(tmp_path, "out", "--only", "any_dixon", *SMALL, f"data={data}")
    log = (tmp_path / "out" / "any_dixon.log").read_text()
    assert done.returncode == 0, log
    assert "any_dixon: trained" in done.stdout
    kept = read_trained(tmp_path / "out" / "any_dixon.ckpt")
    assert kept.spec.channels == ("fat", "water", "te345", "te575")
    with zipfile.ZipFile(tmp_path / "out" / "records.zip") as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert {"config.yaml", "metrics.csv", "cases.csv", "done.json"} <= names


def test_a_training_that_fails_is_named_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    done = train_all(tmp_path, "out", "--only", "any_dixon", "trainer.max_epochs=0")
    assert done.returncode == 1
    assert "any_dixon: failed" in done.stdout
    assert "trainer.max_epochs=0: give 1 or more" in (tmp_path / "out" / "any_dixon.log").read_text()
    assert not (tmp_path / "out" / "any_dixon.ckpt").exists()
