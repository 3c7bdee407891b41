"""The card of a bundle: what its networks are, take and give. It is read without PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from musclesense.errors import InputError
from musclesense.networks.spec import NetworkSpec
from musclesense.storage.paths import is_folder
from musclesense.storage.records import read_json, require_format

FORMAT = 2
CARD, WEIGHTS = "card.json", "weights.safetensors"


@dataclass(frozen=True)
class Card:
    """What a bundle says of itself.

    Attributes:
        spec: What its networks were trained as, all of them alike.
        networks: How many there are; None where they are of format 1, which holds one.
        weights_sha256: Digest of `WEIGHTS`.
        content: All that the card says.
    """

    spec: NetworkSpec
    networks: int | None
    weights_sha256: str
    content: Mapping[str, Any]

    @property
    def about(self) -> Mapping[str, Any]:
        """What people and commands said of it, such as ``title``."""
        about = self.content.get("about")
        return about if isinstance(about, dict) else {}

    def as_text(self) -> str:
        """Give all that it says as YAML, short lists in a line."""
        style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 110, "default_flow_style": None}
        return str(yaml.safe_dump(dict(self.content), **style))


def is_bundle(path: Path) -> bool:
    """Tell whether a folder is a bundle."""
    return is_folder(path) and (path / CARD).is_file()


def read_card(folder: Path) -> Card:
    """Read the card of a bundle.

    Raises:
        InputError: It is damaged, of a newer format, or describes no network.
    """
    with usable(folder, "bundle", "fetch it again"):
        content = read_json(folder / CARD, remedy="fetch the bundle again")
        number = require_format(folder / CARD, content, newest=FORMAT)
        networks = None if number == 1 else content["networks"]
        return Card(NetworkSpec.from_config(content["spec"]), networks, content["weights_sha256"], content)


@contextmanager
def usable(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a line that names the file: torch raises many kinds of errors."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).removeprefix(f"{path}: ").split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a usable {what} ({reason}); {remedy}") from error
