"""The project's own networks as ONNX models, made of their weights without PyTorch.

A model is a message as https://github.com/onnx/onnx/blob/main/onnx/onnx.proto describes it, numbered fields in the
encoding of https://protobuf.dev/programming-guides/encoding. The few that a U-Net takes are written here. So no graph
is read from a file, where it could be any program, and no other package is needed, nor PyTorch's export.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.networks.predictor import STRIDE
from musclesense.networks.spec import DEEPEST, MOST_FEATURES, MOST_FOLDED, WIDEST, NetworkSpec

IMAGES, PROBABILITIES = "images", "probabilities"
_OPSET, _IR_VERSION, _FLOAT32 = 18, 9, 1
_INT, _STRING, _INTS = 2, 3, 7
_EPSILON = 1e-5  # of torch.nn.BatchNorm2d
_LARGEST = {"width": WIDEST, "depth": DEEPEST, "fold": MOST_FOLDED, "detail": WIDEST}
_SIZES = {"unet": {"width", "depth"}, "folded_unet": {*_LARGEST}}

Array = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


class UnsuitedError(Exception):
    """The network is none that is written here, or the weights are not its own: PyTorch tells what is wrong."""


def multiple_of(network: Mapping[str, Any]) -> int:
    """Give what rows and columns must be multiples of."""
    fold, depth = int(network.get("fold", 1)), int(network["depth"])
    return fold << (depth - 1)


def require_whole_frames(spec: NetworkSpec) -> None:
    """Refuse a network whose frames have to be made up: a folded one does so when they are folded, and not as others.

    Raises:
        UnsuitedError: It is such a one.
    """
    sides = (spec.grid.rows, spec.grid.columns, *([STRIDE] if {*spec.scales} != {1.0} else []))
    if "fold" in spec.network and any(side % multiple_of(spec.network) for side in sides):
        raise UnsuitedError("it makes up frames when they are folded")


def onnx_model(spec: NetworkSpec, weights: Weights, about: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Give a model that maps ``images`` to ``probabilities`` of background and foreground classes, in 32 bit.

    Both are (slices, channels or classes, rows, columns), of any number of slices, rows and columns, if these are what
    `multiple_of` says. Batch normalisation is folded into the convolutions before it.

    Args:
        spec: Whose network is ``unet`` or ``folded_unet``.
        weights: The state of the network, by PyTorch's names.
        about: What the model says of itself, by keys of its metadata.

    Raises:
        UnsuitedError: The network is another one, or its weights are not as they must be.
    """
    sizes = dict(spec.network)
    name = sizes.pop("name", None)
    own = _SIZES.get(name) if isinstance(name, str) else None
    if own is None or not sizes.keys() <= own or not all(map(_is_size, sizes, sizes.values())):
        raise UnsuitedError(f"{name} has no ONNX model")
    graph = _Graph(weights)
    channels = len(spec.channels)
    try:
        if name == "unet":
            logits = _unet(graph, IMAGES, channels, spec.classes, **sizes)
        else:
            logits = _folded_unet(graph, channels, spec.classes, **sizes)
    except (KeyError, TypeError) as error:
        raise UnsuitedError(f"{name} lacks {error}") from error
    graph.add("Softmax", logits, out=PROBABILITIES, axis=1)
    if left := [one for one in graph.left if not one.endswith(".num_batches_tracked")]:
        raise UnsuitedError(f"{left[0]} is no part of {name}")
    if spec.pixels * graph.widest > MOST_FEATURES:
        raise UnsuitedError("too large")
    shapes = ((11, IMAGES, channels), (12, PROBABILITIES, spec.classes))
    content = b"".join([*graph.parts, *(_field(number, _value(one, depth)) for number, one, depth in shapes)])
    said = b"".join(_field(14, _field(1, key) + _field(2, value)) for key, value in about.items())
    return _field(1, _IR_VERSION) + _field(7, _field(2, name) + content) + _field(8, _field(2, _OPSET)) + said


def _unet(graph: "_Graph", images: str, channels: int, out: int, *, width: int, depth: int, at: str = "") -> str:
    """Add `musclesense.networks.unet.UNet`, whose weights are named after ``at``."""
    features, skipped, given = images, list[str](), channels
    for stage in range(depth):
        if stage:
            features = graph.add("MaxPool", features, kernel_shape=(2, 2), strides=(2, 2))
        features = graph.convolutions(features, f"{at}encoder.{stage}", given, given := width * 2**stage)
        skipped.append(features)
    skipped.pop()
    for step, skip in enumerate(reversed(skipped)):
        name, given = f"{at}upsampling.{step}", given // 2
        kernel, bias = graph.take(f"{name}.weight", 2 * given, given, 2, 2), graph.take(f"{name}.bias", given)
        inputs = features, graph.tensor(kernel), graph.tensor(bias)
        upsampled = graph.add("ConvTranspose", *inputs, kernel_shape=(2, 2), strides=(2, 2))
        both = graph.add("Concat", skip, upsampled, axis=1)
        features = graph.convolutions(both, f"{at}decoder.{step}", 2 * given, given)
    return graph.convolution(
        features, graph.take(f"{at}head.weight", out, width, 1, 1), graph.take(f"{at}head.bias", out)
    )


def _folded_unet(
    graph: "_Graph", channels: int, out: int, *, width: int, depth: int, fold: int, detail: int = 0
) -> str:
    """Add `musclesense.networks.unet.FoldedUNet`."""
    square, unfolded = fold**2, detail or out
    first = "unet.encoder.0.0.weight"
    # PyTorch folds each channel apart, ONNX each pixel of a square: the first convolution takes them in this order.
    kernel = graph.take(first, width, square * channels, 3, 3).reshape(width, channels, square, 3, 3)
    graph.left[first] = kernel.transpose(0, 2, 1, 3, 4).reshape(width, square * channels, 3, 3)
    folded = graph.add("SpaceToDepth", IMAGES, blocksize=fold)
    squares = _unet(graph, folded, square * channels, square * unfolded, width=width, depth=depth, at="unet.")
    whole = graph.add("DepthToSpace", squares, blocksize=fold, mode="CRD")
    if not detail:
        return whole
    seen = graph.normalised(graph.add("Concat", whole, IMAGES, axis=1), "borders", 0, detail + channels, detail)
    return graph.convolution(seen, graph.take("borders.3.weight", out, detail, 3, 3), graph.take("borders.3.bias", out))


class _Graph:
    """Nodes and weights of a graph, as they are added."""

    def __init__(self, weights: Weights) -> None:
        self.left = dict(weights)
        self.parts = list[bytes]()
        self.widest = max((len(one) for one in weights.values() if one.ndim), default=1)

    def take(self, name: str, *shape: int) -> Array:
        """Take weights out of what is left."""
        value = self.left.pop(name)
        if value.dtype.kind != "f" or value.shape != shape:
            raise UnsuitedError(f"{name} is {value.dtype} of {value.shape}")
        if not np.isfinite(value).all():  # an infinite variance would vanish in what it divides
            raise UnsuitedError(f"{name} holds no finite numbers")
        return value.astype(np.float32)

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: int | str | tuple[int, ...]) -> str:
        """Add a node; gives the name of what it computes."""
        out = out or f"{operator}_{len(self.parts)}"
        node = [*(_field(1, one) for one in inputs), _field(2, out), _field(3, out), _field(4, operator)]
        node += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
        self.parts.append(_field(1, b"".join(node)))
        return out

    def tensor(self, value: Array) -> str:
        """Add weights; gives their name."""
        if not np.isfinite(value).all():
            raise UnsuitedError("weights that are no finite numbers")
        name = f"weights_{len(self.parts)}"
        sizes = b"".join(_field(1, size) for size in value.shape)
        content = np.ascontiguousarray(value, dtype="<f4").tobytes()
        self.parts.append(_field(5, sizes + _field(2, _FLOAT32) + _field(8, name) + _field(9, content)))
        return name

    def convolutions(self, features: str, at: str, given: int, made: int) -> str:
        """Add the two convolutions of a stage."""
        return self.normalised(self.normalised(features, at, 0, given, made), at, 3, made, made)

    def normalised(self, features: str, at: str, number: int, given: int, made: int) -> str:
        """Add a convolution, and what normalises and rectifies it."""
        kernel = self.take(f"{at}.{number}.weight", made, given, 3, 3)
        names = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, variance = (self.take(f"{at}.{number + 1}.{name}", made) for name in names)
        with np.errstate(all="ignore"):
            scale = gain / np.sqrt(variance + np.float32(_EPSILON))
            kernel, bias = kernel * scale[:, None, None, None], bias - mean * scale
        return self.add("Relu", self.convolution(features, kernel, bias))

    def convolution(self, features: str, kernel: Array, bias: Array) -> str:
        """Add a convolution that keeps rows and columns."""
        size = kernel.shape[-1]
        weights = self.tensor(kernel), self.tensor(bias)
        return self.add("Conv", features, *weights, kernel_shape=(size, size), pads=(size // 2,) * 4)


def _is_size(name: str, size: object) -> bool:
    return type(size) is int and (name != "detail") <= size <= _LARGEST[name]


def _value(name: str, channels: int) -> bytes:
    """Describe an input or an output."""
    sides = (_field(2, "slices"), _field(1, channels), _field(2, "rows"), _field(2, "columns"))
    shape = b"".join(_field(1, side) for side in sides)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT32) + _field(2, shape)))


def _attribute(name: str, value: int | str | tuple[int, ...]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, _INT)
    if isinstance(value, str):
        return _field(1, name) + _field(4, value) + _field(20, _STRING)
    return _field(1, name) + b"".join(_field(8, one) for one in value) + _field(20, _INTS)


def _field(number: int, value: int | str | bytes) -> bytes:
    """Write a field of a message: a number, or content after its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Write seven bits a byte, the lowest first; the eighth says that more follow."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
