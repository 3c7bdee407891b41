"""Short names, dotted names, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from musclesense.errors import InputError
from musclesense.networks.registry import LOSS, NETWORK, OPTIMIZER, SCHEDULE, Kind, make, named

SIZES = {"in_channels": 1, "out_channels": 2}


class OwnNetwork(nn.Module):
    """A network of a user's own."""

    def __init__(self, in_channels: int, out_channels: int, colour: str) -> None:
        super().__init__()
        self.colour = colour


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(1))]


@pytest.mark.parametrize("kind", [NETWORK, LOSS, OPTIMIZER, SCHEDULE])
def test_every_name_stands_for_a_class_of_its_kind(kind: Kind[Any]) -> None:
    for name, dotted in kind.names.items():
        try:
            made = __import__("pkgutil").resolve_name(dotted)
        except ImportError:
            assert dotted.startswith("monai")
            continue
        assert issubclass(made, kind.base), name


def test_a_name_and_the_dotted_names_of_it_give_the_same() -> None:
    for config in (
        {"name": "unet"},
        {"_target_": "musclesense.networks.unet.UNet", "_partial_": True},
        {"_target_": "musclesense.training.unet.UNet", "name": "folded_unet"},
    ):
        network = make(NETWORK, {**config, "width": 2, "depth": 2}, "model", **SIZES)
        assert type(network).__module__ == "musclesense.networks.unet" and type(network).__name__ == "UNet"


def test_a_class_of_ones_own_is_made() -> None:
    own = make(NETWORK, {"_target_": f"{__name__}.OwnNetwork", "colour": "red"}, "model", **SIZES)
    assert isinstance(own, OwnNetwork) and own.colour == "red"


def test_optimizers_and_schedules() -> None:
    optimizer = make(OPTIMIZER, {"name": "sgd", "lr": 0.5, "momentum": 0.9}, "optimizer", parameters())
    assert isinstance(optimizer, torch.optim.SGD)
    for name, arguments, rates in (
        ("constant", {}, [0.5, 0.5, 0.5]),
        ("cosine", {}, [0.5, 0.25, 0.0]),
        ("cosine", {"min_lr": 0.1}, [0.5, 0.3, 0.1]),
    ):
        optimizer.param_groups[0]["lr"] = 0.5
        optimizer.param_groups[0].pop("initial_lr", None)
        schedule = make(SCHEDULE, {"name": name, **arguments}, "schedule", optimizer, total_steps=2)
        seen = []
        for _ in range(3):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert seen == pytest.approx(rates)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"name": "unett"},
            "model.name=unett: no such network, perhaps unet; give one of unet, folded_unet, smp_unet, "
            "monai_basic_unet, monai_dynunet, or model._target_ of a class of your own",
        ),
        ({"name": "?"}, "model.name=?: no such network; give one of "),
        ({"width": 3}, "model: {'width': 3} names no network; give one of unet, "),
        ([], "model: [] names no network"),
        ({"_target_": "os.system", "command": "true"}, "model._target_=os.system is no torch module; name a class "),
        ({"_target_": "torch.optim.AdamW"}, "derived from torch.nn.Module"),
        ({"_target_": "no.such.thing"}, "model: no.such.thing cannot be made"),
        ({"name": "unet", "width": 2}, "model: unet cannot be made (UNet.__init__() missing"),
        ({"name": "unet", "width": 0, "depth": 1}, "model.width=0 is no size of a network"),
        ({"name": "unet", "width": 2, "depth": 1, "_args_": [1]}, "model._args_: no argument by its name"),
        ({"name": "unet", "width": 2, "depth": 1, "_width": 1}, "model._width: no argument by its name"),
        ({"_target_": "torch.nn.Conv2d", "kernel_size": 10**5}, "parameters are too many for any machine"),
    ],
)
def test_what_names_no_network_is_refused_in_a_line(config: Any, said: str) -> None:
    with pytest.raises(InputError) as raised:
        make(NETWORK, config, "model", **SIZES)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_dotted_name_has_its_short_one() -> None:
    assert named(NETWORK, {"_target_": "musclesense.training.peers.SegmentationModelsUnet", "encoder": "a"}) == {
        "name": "smp_unet",
        "encoder": "a",
    }
    assert named(OPTIMIZER, {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1}) == {"name": "adamw", "lr": 1}
    assert named(NETWORK, {"_target_": "mine.Net", "width": 3}) == {"_target_": "mine.Net", "width": 3}
    assert named(NETWORK, {"name": "unet", "width": 3}) == {"name": "unet", "width": 3}
