"""Probabilities by PyTorch, on any device, of any network."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from musclesense.errors import ArgumentError
from musclesense.networks.predictor import AUTO, STRIDE, Array, Predictor
from musclesense.networks.spec import NetworkSpec
from musclesense.networks.unet import pad_to_multiple

Function = Callable[[Tensor], Tensor]


class TorchPredictor(Predictor):
    """A network of PyTorch, in 32 bit.

    Args:
        network: With its weights; it is moved to the device.
        device: ``auto`` (a GPU where there is one), or a device of PyTorch such as ``cpu`` or ``cuda:1``.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, network: nn.Module, spec: NetworkSpec, device: str = AUTO) -> None:
        self._device = find_device(device)
        self.network = network.to(self._device).eval()
        self.spec = spec
        self.runtime = {"torch": torch.__version__}

    @torch.inference_mode()
    def looks(self, images: Array) -> Iterator[Array]:
        """Give what is found at each size, in the images and their mirror images."""
        mirror = self.spec.labels.mirror if self.spec.flip else None
        given = torch.from_numpy(images).to(self._device)
        for found in looks(self._logits, given, scales=self.spec.scales, mirror=mirror):
            yield found.cpu().numpy()

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits


def find_device(name: str) -> torch.device:
    """Give the device of a name.

    Raises:
        InputError: There is none of that name here.
    """
    if name == AUTO:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError("{device}: there is no such device here; give auto or cpu", device=str(name)) from error
    return device


def foreground(
    network: Function, images: Tensor, *, scales: Sequence[float] = (1.0,), mirror: Sequence[int] | None = None
) -> Tensor:
    """Give the probability of each foreground class: (batch, classes, rows, columns) float32, the mean of `looks`."""
    return torch.stack([*looks(network, images, scales=scales, mirror=mirror)]).mean(dim=0)


def looks(
    network: Function, images: Tensor, *, scales: Sequence[float] = (1.0,), mirror: Sequence[int] | None = None
) -> Iterator[Tensor]:
    """Give the probability of each foreground class by each look.

    Args:
        network: Maps images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns).
        images: What it is given.
        scales: Sizes of the image relative to its own.
        mirror: Class index of each class after a left-right flip, from `LabelSet.mirror`: the mirror image is looked
            at, too, at each size. None: no flip.

    Returns:
        (batch, classes, rows, columns) float32.
    """

    def straight(given: Tensor) -> Tensor:
        return network(given).float().softmax(dim=1)[:, 1:]

    def mirrored(given: Tensor) -> Tensor:
        return network(given.flip(-1)).float().softmax(dim=1)[:, list((mirror or ())[1:])].flip(-1)

    for scale in scales:
        for way in (straight,) if mirror is None else (straight, mirrored):
            yield at_scale(way, images, scale)


def at_scale(segment: Function, images: Tensor, scale: float) -> Tensor:
    """Segment images (batch, channels, rows, columns) at ``scale`` times their size; the result has their own size."""
    if scale == 1:
        return segment(images)
    own, scaled = list(images.shape[-2:]), [round(scale * side) for side in images.shape[-2:]]
    resized = _resized(images, scaled)
    found = segment(pad_to_multiple(resized, STRIDE))
    return _resized(found[..., : scaled[0], : scaled[1]], own)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
