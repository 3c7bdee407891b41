"""Networks of other packages whose arguments are not those that a configuration gives."""

import re
from typing import Any

from torch import Tensor, nn

from musclesense.errors import InputError
from musclesense.networks.unet import pad_to_multiple


class SegmentationModelsUnet(nn.Module):
    """The U-Net of segmentation-models-pytorch, from random weights, on frames of any size.

    Args:
        encoder: Name that the package gives it, such as ``resnet18``.
        arguments: Further arguments of ``segmentation_models_pytorch.Unet``.

    Raises:
        InputError: The name is an address.
    """

    _MULTIPLE = 32

    def __init__(self, *, in_channels: int, out_channels: int, encoder: str, **arguments: Any) -> None:
        super().__init__()
        if not re.fullmatch(r"[\w.-]+", str(encoder)):  # others are fetched from a hub, or read from a folder
            raise InputError(f"model.encoder={encoder} is no name of an encoder; give one such as resnet18")
        import segmentation_models_pytorch  # optional, and slow to import

        self.network = segmentation_models_pytorch.Unet(
            encoder, encoder_weights=None, in_channels=in_channels, classes=out_channels, **arguments
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        rows, columns = images.shape[-2:]
        logits: Tensor = self.network(pad_to_multiple(images, self._MULTIPLE))
        return logits[..., :rows, :columns]
