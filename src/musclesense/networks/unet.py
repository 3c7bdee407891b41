"""The 2-D multi-channel U-Net (Ronneberger, Fischer and Brox 2015, doi:10.1007/978-3-319-24574-4_28)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from musclesense.errors import InputError
from musclesense.networks.spec import DEEPEST, MOST_FOLDED, WIDEST


class UNet(nn.Module):
    """Encoder and decoder with skip connections, batch normalisation after every convolution.

    Frames of any size are taken: they are padded to a multiple of the coarsest stage and cropped again.

    Args:
        in_channels: Images given, in the order of the channel set.
        out_channels: Background and the foreground classes.
        width: Features of the finest stage; each coarser one has twice as many.
        depth: Stages, the finest among them.

    Raises:
        InputError: ``width`` or ``depth`` below 1, or beyond what any machine trains.
    """

    def __init__(self, *, in_channels: int, out_channels: int, width: int, depth: int) -> None:
        super().__init__()
        for name, value, most in (("width", width, WIDEST), ("depth", depth, DEEPEST)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"model.{name}={value} is no size of a network; give 1 or more")
            if value > most:
                raise InputError(f"model.{name}={value} makes too large a network; give {most} or less")
        features = [width * 2**stage for stage in range(depth)]
        self.encoder = nn.ModuleList(
            _convolutions(before, after) for before, after in zip([in_channels, *features], features, strict=False)
        )
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(2 * size, size, kernel_size=2, stride=2) for size in reversed(features[:-1])
        )
        self.decoder = nn.ModuleList(_convolutions(2 * size, size) for size in reversed(features[:-1]))
        self.head = nn.Conv2d(width, out_channels, kernel_size=1)
        self._multiple = 2 ** (depth - 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        rows, columns = images.shape[-2:]
        features = pad_to_multiple(images, self._multiple)
        skipped: list[Tensor] = []
        for stage, convolutions in enumerate(self.encoder):
            features = convolutions(functional.max_pool2d(features, 2) if stage else features)
            skipped.append(features)
        skipped.pop()
        for upsample, convolutions in zip(self.upsampling, self.decoder, strict=True):
            features = convolutions(torch.cat([skipped.pop(), upsample(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits[..., :rows, :columns]


class FoldedUNet(nn.Module):
    """A U-Net that works at a part of the resolution: squares of pixels are folded into channels, and unfolded again.

    No pixel is thrown away, and the finest stage, where a U-Net spends most of its time, is gone. Folding and unfolding
    are the sub-pixel convolution of Shi et al. 2016, doi:10.1109/CVPR.2016.207, and its inverse. A few features a pixel
    are what is unfolded; two convolutions at the full resolution see them beside the images and draw the borders.

    Args:
        fold: Pixels along each side of a square. Other arguments are those of the `UNet` that sees the squares.
        detail: Features at the full resolution; 0 unfolds logits instead.

    Raises:
        InputError: ``fold`` below 1 or above 8, ``detail`` below 0 or beyond what any machine trains; or as for `UNet`.
    """

    def __init__(
        self, *, in_channels: int, out_channels: int, width: int, depth: int, fold: int, detail: int = 0
    ) -> None:
        super().__init__()
        for name, value, least, most in (("fold", fold, 1, MOST_FOLDED), ("detail", detail, 0, WIDEST)):
            if not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"model.{name}={value} cannot be taken; give {least} to {most}")
        square, unfolded = fold**2, detail or out_channels
        self.unet = UNet(in_channels=square * in_channels, out_channels=square * unfolded, width=width, depth=depth)
        self.borders: nn.Module | None = None
        if detail:
            first = _convolution(detail + in_channels, detail)
            self.borders = nn.Sequential(*first, nn.Conv2d(detail, out_channels, kernel_size=3, padding=1))
        self._fold = fold

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        rows, columns = images.shape[-2:]
        padded = pad_to_multiple(images, self._fold)
        unfolded = functional.pixel_shuffle(self.unet(functional.pixel_unshuffle(padded, self._fold)), self._fold)
        logits: Tensor = unfolded if self.borders is None else self.borders(torch.cat([unfolded, padded], dim=1))
        return logits[..., :rows, :columns]


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of images (..., rows, columns) until both numbers are multiples."""
    rows, columns = images.shape[-2:]
    missing = (0, -columns % multiple, 0, -rows % multiple)
    return functional.pad(images, missing, mode="replicate") if any(missing) else images


def _convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(in_channels, out_channels), *_convolution(out_channels, out_channels))


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
