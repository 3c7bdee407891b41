"""Synthetic slices for training: a pool of them on disk, and which of them each epoch trains on."""
