"""What a trained network is stored as: a bundle to give away, and the checkpoints of training.

A bundle is a folder, or one file, of ``card.json`` (what the networks are, and what they were trained on) and
``weights.safetensors``: the weights of one network, or of several of one study, each name after the network's number.
Checkpoints are PyTorch's archives: format 2 or 3 as `SegmentationModule` writes it, format 1 as earlier versions did.
Neither runs anything that a file holds or names, and what is read is proved to be a network that can be used. What it
takes of memory is known before it is taken: the file's size, and a few times as much.
"""

import hashlib
import platform
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from musclesense.errors import InputError
from musclesense.networks.build import build_network, require_fit
from musclesense.networks.card import (
    CARD,
    SUFFIX,
    WEIGHTS,
    is_bundle,
    read_card,
    read_weights,
    usable,
    weights_file,
    write_packed,
)
from musclesense.networks.registry import LOSS, NETWORK, OPTIMIZER, SCHEDULE, Kind, named, of_file
from musclesense.networks.spec import NetworkSpec
from musclesense.storage.atomic import atomic_folder, atomic_path
from musclesense.storage.paths import require_file
from musclesense.storage.records import require_format, require_modest, write_json
from musclesense.version import __version__

CHECKPOINT_FORMAT = 3
_OF_NETWORK, _OF_LOSS = "network.", "loss."
# Until format 2, which image placed the slices was not written down. Scans were placed by their fat image, which every
# scan that could be given had, and so was training wherever its table had one: masks stay as they were.
_PLACED_BY_BEFORE = "fat"


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its weights, ready to predict, of a checkpoint or a bundle."""

    path: Path
    spec: NetworkSpec
    network: nn.Module
    training: Mapping[str, Any]  # of a checkpoint: ``loss``, ``optimizer`` and ``schedule``, as they were configured
    card: Mapping[str, Any]  # of a bundle: all that its card says

    @property
    def weights_file(self) -> Path:
        """The file of the weights."""
        return weights_file(self.path)


def read_networks(path: Path, classes: Collection[str] = ()) -> tuple[TrainedNetwork, ...]:
    """Read a checkpoint or all networks of a bundle, on the CPU.

    Args:
        path: The file or the folder.
        classes: Dotted names of networks of one's own that it may name.

    Raises:
        InputError: It is missing, damaged, of a newer format, or describes no network that can be used.
    """
    return read_bundle(path, classes) if is_bundle(path) else (read_checkpoint(path, classes),)


def read_trained(path: Path, classes: Collection[str] = ()) -> TrainedNetwork:
    """Read a checkpoint or a bundle of one network, as `read_networks` does.

    Raises:
        InputError: Likewise, or there are several networks.
    """
    first, *others = read_networks(path, classes)
    if others:
        raise InputError(f"{path}: holds {1 + len(others)} networks; give a checkpoint or a bundle of one")
    return first


def read_checkpoint(path: Path, classes: Collection[str] = ()) -> TrainedNetwork:
    """Read a checkpoint of training, as `read_networks` does."""
    with usable(path, "checkpoint", "give the best checkpoint of a run"):
        content = _read_archive(path)
        spec, training = _described(path, content)
        return _trained(path, spec, _of_network(content["state_dict"]), classes, training=training)


def read_bundle(folder: Path, classes: Collection[str] = ()) -> tuple[TrainedNetwork, ...]:
    """Read a bundle, as `read_networks` does; its weights must be those that the card tells of."""
    from safetensors.torch import load

    card = read_card(folder)
    with usable(folder, "bundle", "fetch it again"):
        of_networks = read_weights(folder, card, load)
        return tuple(_trained(folder, card.spec, own, classes, card=card.content) for own in of_networks)


def write_bundle(
    out: Path, spec: NetworkSpec, networks: Sequence[Mapping[str, Tensor]], about: Mapping[str, Any]
) -> None:
    """Write a bundle, whole or not at all.

    Args:
        out: Folder to be made; where its name ends with `SUFFIX`, a file.
        spec: What the networks were trained as.
        networks: The state of each, by the names of the network.
        about: For the card: plain values such as ``title`` and ``use``.

    Raises:
        InputError: There is no writing there.
    """
    from safetensors.torch import save

    # Layers under two names share memory, which the format does not allow for.
    weights = {
        f"{number}.{name}": tensor.detach().cpu().contiguous().clone()
        for number, own in enumerate(networks)
        for name, tensor in own.items()
    }
    content = save(weights)
    card = {
        "format": spec.format,
        "about": dict(about),
        "spec": spec.to_config(),
        "networks": len(networks),
        "versions": {"musclesense": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    if out.suffix == SUFFIX:
        with atomic_path(out) as draft:
            write_packed(draft, card, content)
        return
    with atomic_folder(out) as draft:
        (draft / WEIGHTS).write_bytes(content)
        write_json(draft / CARD, card)


def _read_archive(path: Path) -> dict[str, Any]:
    """Read a checkpoint as Lightning writes it: an archive of uncompressed entries, whose size is therefore known."""
    require_file(path)
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise InputError("its entries are compressed")
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict) or not {"hyper_parameters", "state_dict"} <= content.keys():
        raise InputError("no weights or no description of the network")
    require_modest([content["hyper_parameters"], content.get("format")], "description")
    return content


def _described(path: Path, content: dict[str, Any]) -> tuple[NetworkSpec, dict[str, Any]]:
    """Give the specification in a checkpoint, and how it was trained."""
    hyper = dict(content["hyper_parameters"])
    if require_format(path, content, newest=CHECKPOINT_FORMAT) > 1:
        return NetworkSpec.from_config(hyper.pop("spec")), hyper
    renamed = {"labels": hyper["classes"], "network": _named(NETWORK, hyper["model"]), "threshold": hyper["threshold"]}
    flip, optimizer = hyper.get("mirrored", False), hyper["optimizer"]
    spec = NetworkSpec.from_config(hyper | renamed | {"placed_by": _PLACED_BY_BEFORE, "flip": flip})
    return spec, {
        "loss": _named(LOSS, hyper["loss"]),
        "optimizer": _named(OPTIMIZER, optimizer["factory"]),
        "schedule": _named(SCHEDULE, optimizer["schedule"]),
    }


def _named(kind: Kind[Any], config: Any) -> Any:
    """Name what a checkpoint of format 1 names by its place in the sources."""
    return named(kind, config) if isinstance(config, Mapping) else config


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of the network itself, out of those of all that trained it."""
    strange = [name for name in state if not str(name).startswith((_OF_NETWORK, _OF_LOSS))]
    if strange:
        raise InputError(f"{strange[0]} is no part of a network")
    return {name.removeprefix(_OF_NETWORK): tensor for name, tensor in state.items() if name.startswith(_OF_NETWORK)}


def _trained(
    path: Path,
    spec: NetworkSpec,
    weights: Mapping[str, Tensor],
    classes: Collection[str],
    training: Mapping[str, Any] = MappingProxyType({}),
    card: Mapping[str, Any] = MappingProxyType({}),
) -> TrainedNetwork:
    """Make the network of a specification, with these weights, once both have been looked at."""
    spec = replace(spec, network=of_file(NETWORK, spec.network, "model", classes))
    if strange := [name for name, tensor in weights.items() if not _is_plain(tensor)]:
        raise InputError(f"{strange[0]} holds no finite real numbers")
    network = build_network(spec, most_parameters=_numbers(weights))
    require_fit(network, spec)
    if strange := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise InputError(f"{strange[0]} holds no finite real numbers")
    network.load_state_dict(weights)
    return TrainedNetwork(path, spec, network.eval(), training, card)


def _is_plain(value: Any) -> bool:
    """Tell whether a tensor has each of its numbers in memory: some are described by a few, whatever their shape."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_nested or value.is_meta:
        return False
    kept = value.untyped_storage().nbytes()
    return not (value.is_complex() or value.is_quantized) and value.numel() * value.element_size() <= kept


def _numbers(weights: Mapping[str, Tensor]) -> int:
    """Count the numbers of all tensors in memory, which some may share."""
    kept = {tensor.untyped_storage().data_ptr(): tensor for tensor in weights.values()}
    return sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in kept.values())
