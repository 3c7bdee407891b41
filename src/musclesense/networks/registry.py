"""Short names of networks, and the names that they had in earlier releases."""

from collections.abc import Mapping

FORMER_NAMES: Mapping[str, str] = {
    "musclesense.training.unet.UNet": "musclesense.networks.unet.UNet",
    "musclesense.training.unet.FoldedUNet": "musclesense.networks.unet.FoldedUNet",
    "musclesense.training.peers.SegmentationModelsUnet": "musclesense.networks.baselines.SegmentationModelsUnet",
}
"""Dotted names in checkpoints and studies of earlier releases."""
