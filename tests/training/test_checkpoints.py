"""Checkpoints on a full disk, and damaged ones."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from musclesense.errors import DiskError, InputError
from musclesense.storage.digests import digest_of_bytes
from musclesense.studies.layout import CheckpointFolder
from musclesense.training.checkpoints import (
    KeptWeights,
    Pace,
    WholeCheckpoints,
    is_whole,
    require_best,
    to_go_on_from,
)
from musclesense.training.record import MONITOR


def write(folder: Path, name: str, epoch: int) -> Path:
    path = folder / f"{name}.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": epoch, "state_dict": {"x": torch.arange(1000)}}, path)
    return path


def epoch_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["epoch"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change a byte of a tensor, which torch reads without a word."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000).numpy().tobytes()) + 80] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The checkpoints of a run of three epochs."""
    for epoch in range(3):
        write(tmp_path, "best", epoch)
        write(tmp_path, "last", epoch)
    return tmp_path


def test_the_one_before_the_last_is_kept(kept: Path) -> None:
    assert {path.name: epoch_of(path) for path in kept.iterdir()} == {
        "best.ckpt": 2,
        "last.ckpt": 2,
        "previous.ckpt": 1,
    }
    assert to_go_on_from(CheckpointFolder(kept)) == kept / "last.ckpt"


def test_a_full_disk_leaves_the_earlier_checkpoints(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.write_bytes

    def full(self: Path, content: memoryview) -> int:
        original(self, bytes(content[:100]))
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in kept.iterdir()}
    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("best", "last"):
        with pytest.raises(DiskError, match=rf"{name}\.ckpt: cannot be written \(No space left.*make room"):
            write(kept, name, 3)
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b""), Path.unlink])
def test_damage_is_seen(kept: Path, damage) -> None:
    assert is_whole(kept / "best.ckpt")
    damage(kept / "best.ckpt")
    assert not is_whole(kept / "best.ckpt")
    with pytest.raises(InputError, match=r"best\.ckpt: missing or damaged; give the same command again"):
        require_best(kept / "best.ckpt", 2)


def test_the_best_one_of_another_run_is_refused(kept: Path) -> None:
    best = kept / "best.ckpt"
    for digest in (None, digest_of_bytes(best)):
        require_best(best, 2, digest)
    WholeCheckpoints().save_checkpoint({"epoch": 2, "state_dict": {"x": torch.arange(1000) + 1}}, best)
    require_best(best, 2, None)
    with pytest.raises(InputError, match=r"best\.ckpt: is not the file that this run wrote; put that back, or remove"):
        require_best(best, 2, digest)


@pytest.mark.parametrize(
    ("damaged", "left", "said"),
    [
        ([], "last", []),
        (["previous"], "last", []),
        (["last"], "previous", ["last.ckpt: damaged; the run goes on from previous.ckpt"]),
        (
            ["last", "previous"],
            None,
            [
                "last.ckpt: damaged; the run goes on from previous.ckpt",
                "previous.ckpt: damaged; the run is trained from the beginning",
            ],
        ),
        (["best"], None, ["best.ckpt: missing or damaged; the run is trained from the beginning"]),
    ],
)
def test_a_run_goes_on_from_the_last_whole_one(kept: Path, capsys, damaged, left, said) -> None:
    for name in damaged:
        cut(kept / f"{name}.ckpt")
    found = to_go_on_from(CheckpointFolder(kept))
    assert found == (None if left is None else kept / f"{left}.ckpt")
    assert capsys.readouterr().err.splitlines() == [f"{kept}/{line}" for line in said]
    assert to_go_on_from(CheckpointFolder(kept)) == found, "asked again, as further devices do"
    assert capsys.readouterr().err == ""


def test_killed_between_two_names_the_one_before_is_gone_on_from(kept: Path, capsys) -> None:
    (kept / "last.ckpt").unlink()
    assert to_go_on_from(CheckpointFolder(kept)) == kept / "previous.ckpt"
    assert capsys.readouterr().err == ""
    write(kept, "last", 2)
    assert epoch_of(kept / "previous.ckpt") == 1


def test_nothing_to_go_on_from(tmp_path: Path, capsys) -> None:
    assert to_go_on_from(CheckpointFolder(tmp_path)) is None
    write(tmp_path, "best", 0)  # killed before the first last.ckpt
    assert to_go_on_from(CheckpointFolder(tmp_path)) is None
    assert capsys.readouterr().err == ""
    assert is_whole(tmp_path / "best.ckpt")


def test_another_epoch_than_the_best_is_not_tested(kept: Path) -> None:
    require_best(kept / "best.ckpt", 2)
    with pytest.raises(InputError, match="of epoch 2, and the best one is 1; remove"):
        require_best(kept / "best.ckpt", 1)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("is_due", [True, False])
@pytest.mark.parametrize(("score", "is_better"), [(0.9, True), (0.5, False)])
def test_no_device_of_a_resumed_run_holds_on_to_the_digest_of_an_earlier_best(
    tmp_path: Path, is_first: bool, is_due: bool, score: float, is_better: bool
) -> None:
    history: Any = SimpleNamespace(rows=[{MONITOR: 0.7}, {MONITOR: score}])
    pace = Pace(0.0)
    pace.is_due = is_due
    kept = KeptWeights(CheckpointFolder(tmp_path), history, pace, every=None, averaging=None)
    kept.load_state_dict({"best": "of the run so far"})
    module: Any = nn.Linear(1, 1)
    module.hparams, module.CHECKPOINT_HYPER_PARAMS_KEY, module.on_save_checkpoint = {}, "hyper_parameters", len
    trainer: Any = SimpleNamespace(is_global_zero=is_first, current_epoch=1, global_step=2)
    kept.on_train_epoch_end(trainer, module)
    file = CheckpointFolder(tmp_path).best
    assert file.exists() == (is_first and is_due and is_better)
    expected = None if is_better else "of the run so far"
    assert kept.state_dict()["best"] == (digest_of_bytes(file) if file.exists() else expected)
