"""From slices to a trained network: augmentation, datamodule, unet, loss, module, run."""
