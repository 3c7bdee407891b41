"""The bundles that come with the package: their names, and which of them takes a scan where nobody names a model."""

import os
from collections.abc import Collection
from pathlib import Path

from musclesense.errors import ArgumentError, InputError
from musclesense.messages import log
from musclesense.networks.card import WEIGHTS, is_bundle, read_card
from musclesense.networks.spec import NetworkSpec
from musclesense.vocabulary import Channel

FOLDER = Path(__file__).parents[1] / "weights"
"""Each bundle is a folder of it, and its name is the folder's: to add one, write it there."""
_FEW = 4


def shipped() -> dict[str, Path]:
    """Give the folder of each bundle by its name."""
    return {folder.name: folder for folder in sorted(FOLDER.glob("*")) if is_bundle(folder)}


def place_of(model: str | os.PathLike[str]) -> Path:
    """Give the folder of a bundle by its name, or the path that a user means.

    A text that is the name of a bundle is that bundle, wherever the command runs. Every other text is a path, such as
    ``./NAME``, and so is a `Path`.
    """
    if isinstance(model, str) and model in (known := shipped()):
        if Path(model).exists():
            log.warning(f"{model}: the network that comes with the package; {Path(model).absolute()} is another one")
        return known[model]
    return Path(model)


def listed() -> str:
    """Say of each bundle what it is, takes and gives."""
    return "".join(f"{name}: {_summary(folder)}" for name, folder in shipped().items())


def card_of(model: str) -> str:
    """Give all that the card of a bundle says, as YAML.

    Raises:
        InputError: There is no such bundle.
    """
    folder = place_of(model)
    if not is_bundle(folder):
        raise InputError(f"{model}: no bundle; give {' or '.join((*shipped(), 'a bundle'))}")
    return read_card(folder).as_text()


def default_model(images: Collection[str], regions: Collection[str]) -> str:
    """Choose among the bundles by what they take, and say which one it is.

    It must have been trained on the regions, and its images must be given. Of those it is the one that takes the most
    images; then one that takes each by its name, before one of any contrast that is given another image; then the one
    with the fewest labels; then the first by name.

    Args:
        images: The channels that are given.
        regions: What they show.

    Raises:
        InputError: There is no such bundle.
    """
    specs = {name: read_card(folder).spec for name, folder in shipped().items()}
    specs = {name: spec for name, spec in specs.items() if {*regions} <= {*spec.regions}}
    if not specs:
        shown = " and ".join(regions)
        raise ArgumentError(f"no network of this package was trained on {shown}; give {{model}}", model="NAME|PATH")
    fitting = {name: spec for name, spec in specs.items() if {*spec.images} <= {*images, Channel.IMAGE.value}}
    if not fitting:
        takes = "; ".join(f"{name} takes {', '.join(spec.images)}" for name, spec in specs.items())
        given = ", ".join(images) or "no image"
        raise ArgumentError(
            f"no network of this package takes {given} alone ({takes}); give these images, or give {{model}}",
            model="NAME|PATH",
        )
    chosen = min(fitting, key=lambda name: _rank(name, fitting[name], images))
    log.info(f"model: {chosen}, which takes {', '.join(fitting[chosen].images)}; --model names another")
    return chosen


def _summary(folder: Path) -> str:
    card = read_card(folder)
    spec, size = card.spec, (folder / WEIGHTS).stat().st_size / 2**20
    labels = ", ".join(spec.labels.names) if spec.labels.n_classes <= _FEW else f"{spec.labels.n_classes} labels"
    networks = "1 network" if card.networks in (None, 1) else f"{card.networks} networks"
    facts = f"takes {', '.join(spec.images)}; gives {labels}; {', '.join(spec.regions)}; {networks}, {size:.1f} MiB"
    return f"{card.about.get('title', '')}\n  {facts}\n"


def _rank(name: str, spec: NetworkSpec, images: Collection[str]) -> tuple[int, bool, int, str]:
    return (-len(spec.images), not {*spec.images} <= {*images}, spec.labels.n_classes, name)
