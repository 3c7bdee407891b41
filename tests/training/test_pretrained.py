"""Fine-tuning: a network begins with the weights of another that fit, unless that has seen who it is tested on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.shared.runs import done_of, weights_of

from musclesense.errors import InputError
from musclesense.networks import shipped
from musclesense.networks.build import build_network
from musclesense.networks.bundle import write_bundle
from musclesense.networks.spec import NetworkSpec
from musclesense.storage.digests import digest_of_bytes
from musclesense.training.module import SegmentationModule
from musclesense.training.pretrained import begin_with
from musclesense.training.run import train


def bundle_of(folder: Path, spec: NetworkSpec) -> torch.nn.Module:
    network = build_network(spec)
    write_bundle(folder, spec, [network.state_dict()], {})
    return network


def test_all_weights_that_fit_are_taken_and_the_others_are_named(configured: Any, tmp_path: Path) -> None:
    spec = configured().spec
    given = bundle_of(tmp_path / "bundle", spec).state_dict()
    same = build_network(spec)
    begun = begin_with(same, tmp_path / "bundle")
    assert begun.new == () and begun.sha256 == digest_of_bytes(tmp_path / "bundle" / "weights.safetensors")
    assert all(torch.equal(tensor, given[name]) for name, tensor in same.state_dict().items())
    other = build_network(configured("channels=[fat,water,te345]", "labels=sides").spec)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    begun = begin_with(other, tmp_path / "bundle")
    assert begun.new
    for name, tensor in other.state_dict().items():
        fits = given[name].shape == tensor.shape
        assert fits == (name not in begun.new)
        assert torch.equal(tensor, given[name] if fits else before[name])


@pytest.mark.parametrize("override", ["model.width=6", "model.width=16"])
def test_a_network_of_another_kind_is_refused(override: str, configured: Any, tmp_path: Path) -> None:
    bundle_of(tmp_path / "bundle", configured().spec)
    with pytest.raises(InputError, match=r"pretrained=.*bundle: only \d+ % of the network's parameters"):
        begin_with(build_network(configured(override).spec), tmp_path / "bundle")


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_what_is_no_network_is_refused(content: bytes | None, configured: Any, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ckpt"):
        begin_with(build_network(configured().spec), tmp_path / "model.ckpt")


def test_a_run_begins_with_them_and_says_so(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = bundle_of(tmp_path / "bundle", configured().spec).state_dict()
    first: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(
        SegmentationModule,
        "on_train_start",
        lambda self: first.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()}),
        raising=False,
    )
    config = configured(f"pretrained={tmp_path / 'bundle'}", "trainer.max_epochs=1")
    train(config)
    assert all(torch.equal(first[0][name], tensor) for name, tensor in given.items())
    assert done_of(config.run.path)["pretrained_sha256"] == digest_of_bytes(tmp_path / "bundle" / "weights.safetensors")
    assert any(not torch.equal(weights_of(config.run.path)[f"network.{name}"], own) for name, own in given.items())


def test_a_network_of_the_package_is_taken_by_its_name(
    configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stands in the records, wherever the package lies."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    bundle_of(tmp_path / "weights" / "known", configured().spec)
    config = configured("pretrained=known", "trainer.max_epochs=1")
    train(config)
    assert config.config.plain["pretrained"] == "known"
    weights = tmp_path / "weights" / "known" / "weights.safetensors"
    assert done_of(config.run.path)["pretrained_sha256"] == digest_of_bytes(weights)
    unknown = configured("pretrained=unknown").config.plain["pretrained"]
    assert unknown == str(Path("unknown").absolute())


def test_who_was_trained_on_is_not_tested_on(configured: Any) -> None:
    """Runs of other folds have seen the run's subjects; a run of the same folds has not."""
    base = configured("study=base", "trainer.max_epochs=1")
    train(base)
    path = f"pretrained={base.run.checkpoints.best}"
    train(configured("study=same", path, "trainer.max_epochs=1"))
    for fold in ("outer=1", "inner=1"):
        with pytest.raises(InputError, match=r"was trained on subject '\S+', whom this run validates or tests by"):
            train(configured(f"study=other-{fold[0]}", path, "trainer.max_epochs=1", fold))
