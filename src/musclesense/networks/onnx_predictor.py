"""Probabilities by ONNX Runtime, on the processor, of the project's own networks; PyTorch is not imported."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

from musclesense.errors import InputError
from musclesense.networks.card import read_card, read_weights
from musclesense.networks.onnx import (
    IMAGES,
    PROBABILITIES,
    UnsuitedError,
    Weights,
    multiple_of,
    onnx_model,
    require_whole_frames,
)
from musclesense.networks.predictor import STRIDE, Array, Predictor
from musclesense.networks.spec import Effort, NetworkSpec


class OnnxPredictor(Predictor):
    """A network of ONNX Runtime, in 32 bit.

    Args:
        spec: Whose network is one of the project's own.
        weights: Its state, by PyTorch's names.

    Raises:
        UnsuitedError: It is none of the project's own, its weights are others, or no frame of it can be made up to fit.
    """

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        model = onnx_model(spec, weights)
        self._multiple = multiple_of(spec.network)
        require_whole_frames(spec)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting would take a core
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.spec = spec
        self.runtime = {"onnxruntime": onnxruntime.__version__}

    def looks(self, images: Array) -> Iterator[Array]:
        """Give what is found at each size, in the images and their mirror images."""
        # One slice at a time: several are no faster, and take as many times the memory.
        for parts in zip(*map(self._of_slice, np.split(images, len(images))), strict=True):
            yield np.concatenate(parts)

    def _of_slice(self, image: Array) -> Iterator[Array]:
        own = image.shape[-2:]
        for scale in self.spec.scales:
            if scale == 1:
                yield from self._both_ways(image)
                continue
            scaled = round(scale * own[0]), round(scale * own[1])
            for found in self._both_ways(_padded(_resized(image, scaled), STRIDE)):
                yield _resized(found[..., : scaled[0], : scaled[1]], own)

    def _both_ways(self, image: Array) -> Iterator[Array]:
        yield self._run(image)[:, 1:]
        if self.spec.flip:
            yield self._run(image[..., ::-1])[:, list(self.spec.labels.mirror[1:])][..., ::-1]

    def _run(self, image: Array) -> Array:
        given = np.ascontiguousarray(_padded(image, self._multiple))
        found: Array = self._session.run([PROBABILITIES], {IMAGES: given})[0]
        return found[..., : image.shape[-2], : image.shape[-1]]


def read_onnx(folder: Path, effort: Effort = Effort.DEFAULT) -> list[OnnxPredictor] | None:
    """Read all networks of a bundle; None where PyTorch must, and says what is wrong if something is."""
    from safetensors.numpy import load

    card = read_card(folder)
    spec = card.spec.at(effort)
    try:
        return [OnnxPredictor(spec, weights) for weights in read_weights(folder, card, load)]
    except (UnsuitedError, InputError, KeyError, ValueError):
        return None


def _threads() -> int:
    """Take as many threads as OMP_NUM_THREADS says, as PyTorch does, or else one for each core that is ours."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _padded(image: Array, multiple: int) -> Array:
    """Repeat the last row and column until both numbers are multiples."""
    rows, columns = image.shape[-2:]
    missing = -rows % multiple, -columns % multiple
    return np.pad(image, [(0, 0), (0, 0), (0, missing[0]), (0, missing[1])], mode="edge") if any(missing) else image


def _resized(image: Array, size: Sequence[int]) -> Array:
    rows, columns = _weights_of(image.shape[-2], size[0]), _weights_of(image.shape[-1], size[1])
    return np.asarray(rows @ image @ columns.T, dtype=np.float32)


@lru_cache(maxsize=16)
def _weights_of(now: int, then: int) -> Array:
    """Give the weights (then, now) of a bilinear resizing that takes the mean of what it brings together.

    As ``torch.nn.functional.interpolate`` does with ``antialias=True``: a triangle over one pixel to each side, of the
    new size where that is the smaller one.
    """
    step = now / then
    away = (np.arange(then)[:, None] + 0.5) * step - np.arange(now) - 0.5
    weights = np.clip(1 - np.abs(away) / max(step, 1), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
