"""Networks, losses, optimizers and schedules by short names, and by dotted names for classes of one's own.

A configuration may name any class. A file of unknown origin may not, see `of_file`: to find out what a dotted name
stands for, Python runs the module that holds it.
"""

import difflib
import inspect
import pkgutil
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musclesense.errors import InputError, reason_of
from musclesense.storage.records import require_modest

MOST_PARAMETERS = 2**28
"""A network of more is refused before memory is taken: 1 GiB, and four times as much in training."""
_OPTIONAL = ("monai", "segmentation_models_pytorch", "timm", "torchvision")
"""Packages of the extra ``baselines`` that networks come from, and what these need."""
_FORMER_NAMES = {
    "musclesense.training.unet.UNet": "musclesense.networks.unet.UNet",
    "musclesense.training.unet.FoldedUNet": "musclesense.networks.unet.FoldedUNet",
    "musclesense.training.peers.SegmentationModelsUnet": "musclesense.networks.baselines.SegmentationModelsUnet",
}
"""Dotted names in checkpoints and studies of earlier releases."""

_NO_ARGUMENTS = ("name", "_target_", "_partial_", "_convert_", "_recursive_")
"""Keys beside arguments: ours, and those by which Hydra would make the same."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Kind(Generic[_Made]):
    """One kind of what a configuration names."""

    word: str  # what it is called in messages
    base: type[_Made]  # the class that all of the kind derive from
    base_name: str  # its public dotted name
    names: Mapping[str, str]  # short name to dotted name; a class is imported when it is asked for


NETWORK = Kind(
    "network",
    nn.Module,
    "torch.nn.Module",
    {
        "unet": "musclesense.networks.unet.UNet",
        "folded_unet": "musclesense.networks.unet.FoldedUNet",
        "smp_unet": "musclesense.networks.baselines.SegmentationModelsUnet",
        "monai_basic_unet": "monai.networks.nets.BasicUNet",
        "monai_dynunet": "monai.networks.nets.DynUNet",
    },
)
LOSS = Kind(
    "loss",
    nn.Module,
    "torch.nn.Module",
    {"dice_cross_entropy": "musclesense.training.loss.DiceCrossEntropy", "cross_entropy": "torch.nn.CrossEntropyLoss"},
)
OPTIMIZER = Kind(
    "optimizer",
    Optimizer,
    "torch.optim.Optimizer",
    {"adamw": "torch.optim.AdamW", "adam": "torch.optim.Adam", "sgd": "torch.optim.SGD"},
)
SCHEDULE = Kind(
    "schedule",
    LRScheduler,
    "torch.optim.lr_scheduler.LRScheduler",
    {
        "one_cycle": "torch.optim.lr_scheduler.OneCycleLR",
        "cosine": "musclesense.training.schedules.Cosine",
        "constant": "musclesense.training.schedules.Constant",
    },
)


def make(
    kind: Kind[_Made],
    config: Mapping[str, Any],
    option: str,
    *given: Any,
    most_parameters: int = MOST_PARAMETERS,
    **arguments: Any,
) -> _Made:
    """Build what a configuration names.

    Nothing but a class of the kind is called, whatever is named at any depth.

    Args:
        kind: What it is to be.
        config: ``name``, or ``_target_`` (the dotted name of a class), and arguments; ``_partial_`` and the like,
            which speak to Hydra, are passed over.
        option: What the configuration calls it, for messages.
        given: Positional arguments that are not configured.
        most_parameters: A network of more is not made.
        arguments: Further ones, by name.

    Raises:
        InputError: There is no such class, it is of another kind, or it cannot be made with these arguments.

    >>> network = make(NETWORK, {"name": "unet", "width": 4, "depth": 2}, "model", in_channels=1, out_channels=2)
    >>> type(network).__name__
    'UNet'
    """
    require_modest(config, option)
    target = _target(kind, config, option)
    own = {key: value for key, value in config.items() if key not in _NO_ARGUMENTS}
    if hidden := next((key for key in own if str(key).startswith("_")), None):
        raise InputError(f"{option}.{hidden}: no argument by its name; leave it out, or give arguments by theirs")
    try:
        made = _class_of(kind, target, option)
        if issubclass(made, nn.Module) and (size := _parameters(made, own | arguments)) > most_parameters:
            many = "are too many for any machine" if size > MOST_PARAMETERS else f"and weights for {most_parameters}"
            raise InputError(f"{option}: {size} parameters {many}; correct {option}=...")
        return made(*given, **own | arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a script that is named may end the program
        shown = config.get("name", target) if "_target_" not in config else target
        if package := _absent(error):
            raise InputError(
                f"{option}: {shown} needs {package}; pip install 'musclesense[baselines]', or choose another {option}"
            ) from error
        remedy = _meant(error, target, option) or f"correct {option}=... or its arguments"
        raise InputError(f"{option}: {shown} cannot be made ({reason_of(error)}); {remedy}") from error


def _meant(error: BaseException, target: str, option: str) -> str | None:
    """Ask for an argument that is like the one that a class does not take."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[1], inspect.signature(pkgutil.resolve_name(target)).parameters, n=1)
    return f"did you mean {option}.{near[0]}?" if near else None


def of_file(kind: Kind[Any], config: Any, option: str, classes: Collection[str]) -> Any:
    """Give what a file names, by its short name where it has one; nothing is imported.

    Args:
        kind: What it is to be.
        config: As for `make`.
        option: What the configuration calls it, for messages.
        classes: Dotted names that the user's own words allow for.

    Raises:
        InputError: The file names a class that is neither of this project nor among ``classes``.
    """
    require_modest(config, option)
    known = named(kind, config) if isinstance(config, Mapping) else config
    if isinstance(known, dict) and "_target_" in known and (target := str(known["_target_"])) not in classes:
        raise InputError(f"{option}: names a class of other code, and --allow-class {target} lets it run")
    return known


def named(kind: Kind[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration with a short name in place of a dotted one where there is one.

    >>> named(NETWORK, {"_target_": "musclesense.training.unet.UNet", "width": 16})
    {'name': 'unet', 'width': 16}
    """
    plain = {str(key): value for key, value in config.items() if key != "_partial_"}
    target = str(plain.get("_target_"))
    short = {dotted: name for name, dotted in kind.names.items()}.get(_FORMER_NAMES.get(target, target))
    if short is None:
        return plain
    return {"name": short} | {key: value for key, value in plain.items() if key not in ("_target_", "name")}


def _target(kind: Kind[Any], config: Mapping[str, Any], option: str) -> str:
    """Give the dotted name of what a configuration names."""
    if not isinstance(config, Mapping) or not {"_target_", "name"} & config.keys():
        raise InputError(f"{option}: {config!r} names no {kind.word}; give one of {', '.join(kind.names)}")
    if "_target_" in config:
        target = str(config["_target_"])
        return _FORMER_NAMES.get(target, target)
    name = str(config["name"])
    if name not in kind.names:
        close = difflib.get_close_matches(name, kind.names, n=1)
        perhaps = f", perhaps {close[0]}" if close else ""
        raise InputError(
            f"{option}.name={name}: no such {kind.word}{perhaps}; "
            f"give one of {', '.join(kind.names)}, or {option}._target_ of a class of your own"
        )
    return kind.names[name]


def _class_of(kind: Kind[_Made], target: str, option: str) -> type[_Made]:
    word = "torch module" if issubclass(kind.base, nn.Module) else kind.word
    other = f"{option}._target_={target} is no {word}; name a class derived from {kind.base_name}"
    if target.partition(".")[0] in sys.stdlib_module_names:  # some do things when they are imported
        raise InputError(other)
    made = pkgutil.resolve_name(target)
    if not isinstance(made, type) or not issubclass(made, kind.base):
        raise InputError(other)
    return made


def _parameters(made: type[nn.Module], arguments: Mapping[str, Any]) -> int:
    """Count the parameters of a network without taking memory for them; 0 where that cannot be done."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in made(**arguments).parameters())
    except InputError:
        raise
    except Exception:  # it will be said by the network itself
        return 0


def _absent(error: BaseException | None) -> str | None:
    """Name the optional package whose absence is behind an error, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in _OPTIONAL:
            return error.name
        error = error.__cause__ or error.__context__
    return None
