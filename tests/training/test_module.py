"""The module: checkpoints that load safely, and what it logs."""

import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from musclesense.errors import InputError
from musclesense.training.datamodule import Batch
from musclesense.training.module import SegmentationModule
from musclesense.training.run import make_module


@pytest.fixture
def module(composed) -> SegmentationModule:
    return make_module(composed("channels=[fat,water]"))


@pytest.fixture
def tampered(finished, tmp_path):
    """Write the best checkpoint of a run with another content under some keys."""

    def write(**changed: Any) -> Path:
        content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
        content["hyper_parameters"] |= changed
        torch.save(content, tmp_path / "tampered.ckpt")
        return tmp_path / "tampered.ckpt"

    return write


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_load_with_weights_only(finished, name):
    path = finished / "checkpoints" / f"{name}.ckpt"
    content = torch.load(path, weights_only=True)
    module = SegmentationModule.load(path)
    assert not module.training
    assert module.channels == ("fat", "water", "te345", "te575")
    assert module.labels.names == ("muscle",) and module.threshold == 0.5
    assert (module.grid.rows, module.grid.columns, module.grid.spacing_mm) == (32, 64, 6.4)
    assert module.regions == ("calf", "thigh")
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


@pytest.mark.parametrize("part", ["model", "loss"])
@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "no.such.thing", "torch.optim.AdamW"])
def test_a_target_that_is_no_module_is_not_called(tampered, part, target, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("called"))
    with pytest.raises(InputError, match=target) as raised:
        SegmentationModule.load(tampered(**{part: {"_target_": target, "command": "true"}}))
    assert "\n" not in str(raised.value)


def test_a_target_among_the_arguments_is_not_called(tampered, tmp_path):
    inner = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    unet = {"_target_": "musclesense.networks.unet.UNet", "width": inner, "depth": 3}
    with pytest.raises(InputError, match="model"):
        SegmentationModule.load(tampered(model=unet))
    with pytest.raises(InputError):
        SegmentationModule.load(tampered(loss={"_target_": "torch.nn.CrossEntropyLoss", "weight": inner}, grid=inner))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "foreign"])
def test_unusable_checkpoints_are_named(finished, tmp_path, damage):
    path = tmp_path / "some.ckpt"
    if damage == "truncated":
        path.write_bytes((finished / "checkpoints" / "best.ckpt").read_bytes()[:5000])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match=r"some\.ckpt: not a usable checkpoint") as raised:
        SegmentationModule.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.width=0", r"^model\.width=0 makes no network"),
        ("+model.colour=red", r"^model: .*UNet cannot be made .*colour"),
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


def test_mirrored_probabilities_of_a_mirrored_image_are_mirrored_and_swap_sides(composed):
    given = {}
    for mirrored in ("true", "false"):
        torch.manual_seed(0)
        module = make_module(composed("channels=[fat,water]", "labels=sides", f"labels.mirrored={mirrored}")).eval()
        assert module.labels.names == ("left", "right")
        images = torch.randn(2, 2, 16, 32, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            given[mirrored] = [module.probabilities(one) for one in (images, images.flip(-1))]
    swapped = [[other.flip(-1)[:, [1, 0]] for other in given[mirrored]] for mirrored in ("true", "false")]
    torch.testing.assert_close(given["true"][0], swapped[0][1])
    torch.testing.assert_close(given["true"][0], (given["false"][0] + swapped[1][1]) / 2)
    assert not torch.allclose(given["false"][0], swapped[1][1], atol=1e-3)


def test_probabilities_are_the_mean_over_sizes(composed):
    given = []
    for scales in ("[1]", "[1.5]", "[1,1.5]"):
        torch.manual_seed(0)
        module = make_module(composed("channels=[fat,water]", f"labels.scales={scales}")).eval()
        images = torch.randn(2, 2, 32, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            given.append(module.probabilities(images))
    own, large, both = given
    assert not torch.allclose(own, large, atol=1e-3)
    torch.testing.assert_close(both, (own + large) / 2)


def test_a_checkpoint_from_before_views_is_taken_as_it_was(finished, tmp_path):
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    for name in ("mirrored", "scales"):
        del content["hyper_parameters"][name]
    torch.save(content, tmp_path / "older.ckpt")
    older = SegmentationModule.load(tmp_path / "older.ckpt")
    assert not older.mirrored and older.scales == (1.0,)


def test_validation_scores_at_the_threshold(composed, monkeypatch):
    """Foreground probability is 0.3 everywhere: muscle from a threshold of 0.3 down, none above."""
    logged: dict[str, float] = {}
    truth = torch.zeros(2, 4, 4, dtype=torch.long)
    truth[:, :2] = 1
    batch = Batch(
        torch.zeros(2, 4, 4, 4), truth, torch.zeros(2, 4), torch.arange(2), torch.zeros(2, 5), torch.ones(2, 1).bool()
    )
    for threshold, expected in ((0.29, 2 * 8 / (16 + 8)), (0.31, 0.0)):
        module = make_module(composed(f"labels.threshold={threshold}"))
        logits = torch.tensor([0.7, 0.3]).log()[None, :, None, None].expand(2, 2, 4, 4)
        monkeypatch.setattr(module, "forward", lambda images, logits=logits: logits)
        monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
        module.validation_step(batch)
        module.on_validation_epoch_end()
        assert logged["val_dice"] == pytest.approx(expected)
        assert module.val_dice.counted.tolist() == [0]  # ready for the next epoch


def test_schedule_spans_all_steps_of_the_training(module):
    module.trainer = SimpleNamespace(
        max_epochs=5, datamodule=SimpleNamespace(train_dataloader=lambda: range(7)), strategy=None
    )
    made = module.configure_optimizers()
    assert made["lr_scheduler"]["scheduler"].total_steps == 35
    assert made["lr_scheduler"]["interval"] == "step"
    module._optimizer = {**module._optimizer, "schedule": None}
    assert isinstance(module.configure_optimizers(), torch.optim.AdamW)


# Past failures, found by `make fuzz`


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": ["fat", "fat"]}, "channels="),
        ({"channels": []}, "channels="),
        ({"regions": ["hip"]}, "region.regions="),
        ({"threshold": float("nan")}, "labels.threshold=nan"),
        ({"grid": {"spacing_mm": 1e9, "rows": 32, "columns": 64}}, "grid.spacing_mm="),
        ({"grid": {"spacing_mm": 6.4, "rows": 10**9, "columns": 64}}, "grid.rows="),
        ({"model": {"_target_": "torch.nn.Linear", "in_features": 10**5, "out_features": 10**6}}, "model: "),
        ({"model": {"_target_": "torch.nn.Conv2d", "kernel_size": 10**5}}, "parameters are too many"),
        ({"model": {"_target_": 3}}, "model: 3 cannot be made"),
        ({"model": [[]]}, "model: "),
        ({"loss": {"_target_": "this.s"}}, "this.s is no torch module"),
    ],
)
def test_a_checkpoint_of_a_network_that_cannot_be_is_refused(tampered, changed, said, capfd):
    with pytest.raises(InputError, match=r"not a usable checkpoint \(.*" + re.escape(said)) as raised:
        SegmentationModule.load(tampered(**changed))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", 1j])
def test_weights_that_are_no_finite_numbers_are_refused(finished, tmp_path, value):
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("weight"))
    content["state_dict"][name] = value if isinstance(value, str) else content["state_dict"][name] * value
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="holds no finite real numbers"):
        SegmentationModule.load(tmp_path / "x.ckpt")


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(finished, tmp_path):
    with (
        zipfile.ZipFile(finished / "checkpoints" / "best.ckpt") as sound,
        zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in sound.namelist():
            bomb.writestr(name, sound.read(name) if "/data/" not in name else bytes(2**20))
    with pytest.raises(InputError, match="its entries are compressed"):
        SegmentationModule.load(tmp_path / "x.ckpt")


class _OneLayerUnderTwoNames(torch.nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(channels, classes, 1)
        self.again = torch.nn.Sequential(self.convolution, torch.nn.BatchNorm2d(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.again(images)
        return logits


def test_layers_under_two_names_are_one(module) -> None:
    """As MONAI's DynUNet registers its own."""
    module.network = network = _OneLayerUnderTwoNames(2, 2)
    module.require_fit()
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    module.network = _OneLayerUnderTwoNames(2, 3)
    with pytest.raises(InputError, match=r"model: gives \(1, 3, "):
        module.require_fit()
