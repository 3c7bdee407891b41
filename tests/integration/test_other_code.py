"""What a checkpoint, a bundle or a study names is not imported, wherever the module of that name lies."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import musclesense as ms
from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.networks.build import build_network
from musclesense.networks.bundle import write_bundle
from musclesense.networks.card import CARD
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_settings
from musclesense.training.module import SegmentationModule

from ..shared.commands import Launch
from ..shared.networks import checkpoint_of, spec_of
from ..shared.training import Compose

STRANGER = """
from pathlib import Path
Path(__file__).with_suffix('.run').touch()
import torch
class Net(torch.nn.Conv2d):
    def __init__(self, in_channels, out_channels, width=1):
        super().__init__(in_channels, out_channels, 1)
"""
NAMES = ("stranger.Net", "stranger:Net", "stranger", "stranger.Net.forward", "stranger.nothing")
KINDS = ("model", "loss", "optimizer", "schedule")


@pytest.fixture(params=["working folder", "on the path"])
def stranger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], bool]]:
    """A module that leaves a trace when it is imported; tells whether it has been."""
    place = tmp_path / "elsewhere" if request.param == "on the path" else tmp_path
    place.mkdir(exist_ok=True)
    (place / "stranger.py").write_text(STRANGER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(place) if request.param == "on the path" else "")
    importlib.invalidate_caches()
    yield lambda: (place / "stranger.run").exists() or "stranger" in sys.modules
    sys.modules.pop("stranger", None)


def write_stored(kind: str, target: object, **more: object) -> Path:
    """Write a stored network of format 1 or 2 or a bundle, whose network has a name; give what segments with it."""
    spec, path = spec_of(), Path("stored.ckpt")
    weights = build_network(spec).state_dict()
    if kind == "bundle":
        write_bundle(Path("stored"), spec, [weights], {})
        card = json.loads(Path("stored", CARD).read_text())
        card["spec"]["network"] = {"_target_": target, **more}
        Path("stored", CARD).write_text(json.dumps(card))
        return Path("stored")
    content = checkpoint_of(spec, weights)
    if kind == "former":
        del content["format"]
        described = content["hyper_parameters"]["spec"]
        content["hyper_parameters"] = {
            **described,
            "classes": described["labels"],
            "model": {"_target_": target, **more},
            "loss": {"_target_": "torch.nn.CrossEntropyLoss"},
            "optimizer": {"factory": {"_target_": target}, "schedule": None},
        }
    else:
        content["hyper_parameters"]["spec"]["network"] = {"_target_": target, **more}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", ["present", "former", "bundle"])
def test_a_stored_network_of_other_code_is_refused_and_not_imported(
    stranger: Callable[[], bool], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        path = write_stored(kind, name, name="unet", width=4)
        with pytest.raises(InputError, match=f"--allow-class {name} lets it run"):
            ms.load_model(path)
        with pytest.raises(InputError):
            ms.load_model(path, allow_class=["stranger.Other", "unet"])
        if path.is_dir():
            shutil.rmtree(path)
    assert not stranger() and capsys.readouterr() == ("", "")


def test_no_verb_imports_what_a_study_names(
    stranger: Callable[[], bool], write_study: Callable[..., Path], launched: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = StudyFolder(write_study())
    config = yaml.safe_load(study.settings.read_text()) | {kind: {"_target_": "stranger.Net"} for kind in KINDS}
    study.settings.write_text(yaml.safe_dump(config))
    for run in study.finished_runs():
        run.config.write_text(yaml.safe_dump(config))
    assert ms.read_study(study.path).config["model"] == {"_target_": "stranger.Net"}
    assert read_settings(study, remedy="")["loss"] == {"_target_": "stranger.Net"}
    main(["report", str(study.path)])
    assert launched(f"runs={study.path.parent}", f"study={study.path.name}", "experiment=smoke") == 2
    best = next(study.finished_runs()).checkpoints.best
    best.parent.mkdir(exist_ok=True)
    write_stored("present", "stranger.Net").rename(best)
    disc = np.hypot(*np.mgrid[-30:30, -30:30]) < 20
    write_volume(Path("fat.nii.gz"), 100 * disc[..., None], Geometry.from_affine((60, 60, 1), np.eye(4)), np.int16)
    for model in (best, best.parents[1], study.path):
        with pytest.raises(SystemExit):
            main(["segment", "--fat", "fat.nii.gz", "--region", "thigh", "--out", "out", "--model", str(model)])
        assert "--allow-class stranger.Net lets it run" in capsys.readouterr().err
        with pytest.raises(InputError, match="--allow-class"):
            ms.load_model(model)
    assert not stranger()


def test_a_run_takes_no_class_from_its_checkpoint(stranger: Callable[[], bool]) -> None:
    path = Path("best.ckpt")
    for kind in KINDS[1:]:
        content = checkpoint_of(spec_of(), build_network(spec_of()).state_dict())
        content["hyper_parameters"][kind] = {"_target_": "stranger.Net"}
        torch.save(content, path)
        with pytest.raises(InputError, match=f"{kind}: names a class of other code"):
            SegmentationModule.load(path, classes={"my.Net"})
    assert not stranger()


def test_a_class_that_the_user_names_is_taken(stranger: Callable[[], bool]) -> None:
    spec = spec_of(network={"_target_": "stranger.Net", "width": 2})
    content = checkpoint_of(spec, {"weight": torch.ones(2, 1, 1, 1), "bias": torch.zeros(2)})
    torch.save(content, "own.ckpt")
    segmenter = ms.load_model("own.ckpt", device="cpu", allow_class=["stranger.Net"])
    assert segmenter.spec.network == {"_target_": "stranger.Net", "width": 2} and stranger()
    assert type(SegmentationModule.load(Path("own.ckpt"), {"stranger.Net"}).network).__name__ == "Net"


def test_settings_allow_for_what_the_command_line_names(composed: Compose) -> None:
    assert composed().classes == frozenset()
    own = composed("model._target_=my.Net", "~model.depth", "optimizer._target_=my.Steps")
    assert own.classes == {"my.Net", "my.Steps"}


def test_a_script_that_ends_when_it_is_imported_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert launched("model._target_=script.Net", "experiment=smoke") == 2
    assert "model: script.Net cannot be made" in capsys.readouterr().err
