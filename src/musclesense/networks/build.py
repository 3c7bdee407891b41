"""A network made as its specification says, and proved to fit it before any time is spent."""

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from musclesense.errors import InputError, reason_of
from musclesense.networks.registry import MOST_PARAMETERS, NETWORK, make
from musclesense.networks.spec import MOST_FEATURES, NetworkSpec
from musclesense.networks.unet import FoldedUNet, UNet


def build_network(spec: NetworkSpec, most_parameters: int = MOST_PARAMETERS) -> nn.Module:
    """Make a network with random weights, unless it has more parameters than it may.

    Raises:
        InputError: It cannot be made with these arguments.
    """
    sizes = {"in_channels": len(spec.channels), "out_channels": spec.classes}
    network = make(NETWORK, spec.network, "model", most_parameters=most_parameters, **sizes)
    # Channels beside each other in memory are what fast convolutions read, in mixed precision above all.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def require_fit(network: nn.Module, spec: NetworkSpec) -> None:
    """Refuse a network that does not turn images on the grid into a logit for each class.

    Only shapes are computed, which takes little time and no memory. The project's own networks fit by construction.

    Raises:
        InputError: Says what it does instead.
    """
    widest = max((len(parameter) for parameter in network.parameters() if parameter.dim()), default=1)
    if type(network) in (UNet, FoldedUNet) and spec.pixels * widest <= MOST_FEATURES:
        return  # PyTorch loads hundreds of modules for its first shapes, which takes longer than to load the network
    shape = (1, len(spec.channels), spec.grid.rows, spec.grid.columns)
    wanted = (1, spec.classes, *shape[2:])
    tensors = chain(network.parameters(), network.buffers())
    shapes = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    sizes = [0]  # of all that the layers give
    try:
        # Not torch.func.functional_call, which leaves modules that have two names without their weights.
        sketch = copy.deepcopy(network, shapes).eval()
        for layer in sketch.modules():
            layer.register_forward_hook(lambda *given: sizes.append(getattr(given[-1], "numel", int)()))
        logits = sketch(torch.empty(shape, device="meta"))
    except NotImplementedError:
        return  # shapes that depend on values are seen when there are values
    except Exception as error:
        raise InputError(f"model: takes no images of shape {shape} ({reason_of(error)}); correct model=...") from error
    if (most := max(sizes) * spec.pixels // (spec.grid.rows * spec.grid.columns)) > MOST_FEATURES:
        raise InputError(
            f"model: takes {most} numbers at once for an image of grid.rows={spec.grid.rows} and "
            f"grid.columns={spec.grid.columns}; give a smaller grid, network or inference.scales"
        )
    made = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if made != wanted:
        raise InputError(f"model: gives {made} for an image, not {wanted}; correct model=...")
