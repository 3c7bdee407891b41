"""The module: checkpoints that load safely, and what it logs."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from musclesense.errors import InputError
from musclesense.training import inputs
from musclesense.training.datamodule import Batch
from musclesense.training.module import SegmentationModule
from musclesense.training.session import make_module

from ..shared.networks import BEFORE


@pytest.fixture
def module(composed) -> SegmentationModule:
    return make_module(composed("channels=[fat,water]"))


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_load_with_weights_only(finished, name):
    path = finished / "checkpoints" / f"{name}.ckpt"
    content = torch.load(path, weights_only=True)
    module = SegmentationModule.load(path)
    assert not module.training
    spec = module.spec
    assert spec.channels == ("fat", "water", "te345", "te575") and spec.placed_by == "fat"
    assert spec.labels.names == ("muscle",) and spec.threshold == 0.5
    assert (spec.grid.rows, spec.grid.columns, spec.grid.spacing_mm) == (32, 64, 6.4)
    assert spec.regions == ("calf", "thigh")
    assert content["format"] == 2
    state = module.state_dict()
    assert state.keys() == content["state_dict"].keys()
    assert all(torch.equal(state[key], value) for key, value in content["state_dict"].items())


def test_hyperparameters_are_plain(finished):
    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return {type(value)}.union(*(kinds(part) for part in value.values()))
        if isinstance(value, list):
            return {list}.union(*(kinds(part) for part in value))
        return {type(value)}

    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    assert kinds(dict(content["hyper_parameters"])) <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.width=0", r"^model\.width=0 is no size of a network"),
        ("+model.colour=red", r"^model: unet cannot be made .*colour"),
        ("model._target_=torch.nn.Nothing", r"^model: torch\.nn\.Nothing cannot be made"),
    ],
)
def test_networks_that_cannot_be_made_are_refused(composed, override, reason):
    with pytest.raises(InputError, match=reason):
        make_module(composed(override))


def test_network_gets_channels_beside_each_other_in_memory(module):
    seen: list[torch.Tensor] = []
    module.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(torch.randn(2, 2, 16, 16))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    weight = module.network.encoder[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_probabilities_are_of_the_foreground(module):
    module.eval()
    images = torch.randn(2, 2, 16, 16)
    with torch.inference_mode():
        expected = module(images).softmax(dim=1)[:, 1:]
        given = module.probabilities(images)
    assert given.shape == (2, 1, 16, 16)
    torch.testing.assert_close(given, expected)


def test_validation_scores_at_the_threshold(composed, monkeypatch):
    """Foreground probability is 0.3 everywhere: muscle from a threshold of 0.3 down, none above."""
    logged: dict[str, float] = {}
    truth = torch.zeros(2, 4, 4, dtype=torch.long)
    truth[:, :2] = 1
    batch = Batch(
        torch.zeros(2, 4, 4, 4), truth, torch.zeros(2, 4), torch.arange(2), torch.zeros(2, 5), torch.ones(2, 1).bool()
    )
    for threshold, expected in ((0.29, 2 * 8 / (16 + 8)), (0.31, 0.0)):
        module = make_module(composed(f"inference.threshold={threshold}"))
        logits = torch.tensor([0.7, 0.3]).log()[None, :, None, None].expand(2, 2, 4, 4)
        monkeypatch.setattr(module, "forward", lambda images, logits=logits: logits)
        monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
        module.validation_step(batch)
        module.on_validation_epoch_end()
        assert logged["val_dice"] == pytest.approx(expected)
        assert module.val_dice.counted.tolist() == [0]  # ready for the next epoch


def test_schedule_spans_all_steps_of_the_training(module):
    module.trainer = SimpleNamespace(
        max_epochs=5,
        datamodule=SimpleNamespace(train_dataloader=lambda: range(7)),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        precision_plugin=SimpleNamespace(scaler=None),
    )
    made = module.configure_optimizers()
    assert made["lr_scheduler"]["scheduler"].total_steps == 35
    assert made["lr_scheduler"]["interval"] == "step"
    module._schedule = None
    assert isinstance(module.configure_optimizers(), torch.optim.AdamW)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize(
    ("device", "scaler", "own", "fused"),
    [
        ("cuda", None, {}, True),
        ("cpu", None, {}, None),
        ("cuda", "of fp16", {}, None),  # Lightning clips no gradients of a fused one
        ("cuda", None, {"foreach": True}, None),
        ("cuda", None, {"fused": False}, False),
    ],
)
def test_one_kernel_steps_all_weights_on_a_gpu(module, name, device, scaler, own, fused):
    module._schedule = None
    module._optimizer = {"name": name, "lr": 1e-3, **own}
    module.trainer = SimpleNamespace(
        max_epochs=1,
        datamodule=SimpleNamespace(train_dataloader=lambda: range(7)),
        strategy=SimpleNamespace(root_device=torch.device(device)),
        precision_plugin=SimpleNamespace(scaler=scaler),
    )
    assert {group["fused"] for group in module.configure_optimizers().param_groups} == {fused}


def test_a_loss_that_is_no_module_is_not_called(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("called"))
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    inner = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    for loss in (
        {"_target_": "os.system", "command": "true"},
        {"_target_": "torch.optim.AdamW"},
        {"_target_": "this.s"},
        {"name": "cross_entropy", "weight": inner},
    ):
        content["hyper_parameters"]["loss"] = loss
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(InputError, match=r"x\.ckpt: not a usable checkpoint \(.*loss") as raised:
            SegmentationModule.load(tmp_path / "x.ckpt")
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "made").exists()


def test_slices_are_placed_as_in_the_cache(configured):
    """By an image that all rows of a table have, be it one that the network does not take."""
    settings = configured("channels=[water]")
    assert settings.spec.placed_by == "water"
    assert make_module(settings, inputs.prepare(settings).spec).spec.placed_by == "fat"


def test_training_goes_on_from_a_checkpoint_of_format_1(composed):
    content = torch.load(BEFORE / "study" / "outer0_inner2" / "checkpoints" / "last.ckpt", weights_only=True)
    module = make_module(composed())
    module.load_state_dict(content["state_dict"])
    optimizer, schedule = module.make_optimizer(content["lr_schedulers"][0]["total_steps"])
    optimizer.load_state_dict(content["optimizer_states"][0])
    assert schedule is not None
    schedule.load_state_dict(content["lr_schedulers"][0])


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_of_format_1_is_loaded(name):
    path = BEFORE / "study" / "outer0_inner2" / "checkpoints" / f"{name}.ckpt"
    module = SegmentationModule.load(path)
    assert module.hparams["optimizer"] == {"name": "adamw", "lr": 0.02, "weight_decay": 0.0001}
    optimizer, schedule = module.make_optimizer(100)
    assert isinstance(optimizer, torch.optim.AdamW) and isinstance(schedule, torch.optim.lr_scheduler.OneCycleLR)
    assert schedule.total_steps == 100
