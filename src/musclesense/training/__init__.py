"""From slices to a trained network: settings, data, augmentation, loss, the Lightning module, one run."""
