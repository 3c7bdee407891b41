"""The card of a bundle: what its networks are, take and give. It is read without PyTorch.

A bundle is a folder, or one file that holds the same two files as they are: an archive that is not compressed.
"""

import hashlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from musclesense.errors import InputError
from musclesense.networks.spec import NetworkSpec
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file, is_folder, require_file
from musclesense.storage.records import LARGEST_RECORD_BYTES, read_json, require_format, require_modest

FORMAT = 3
CARD, WEIGHTS = "card.json", "weights.safetensors"
SUFFIX = ".musclesense"
"""Of a bundle that is one file."""

_Tensor = TypeVar("_Tensor")


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
    """Tell whether a folder is a bundle, or a file: one of another name is looked into."""
    if not is_file(path):
        return is_folder(path) and (path / CARD).is_file()
    if path.suffix == SUFFIX:
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return CARD in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def weights_file(bundle: Path) -> Path:
    """Give the file that holds the weights."""
    return bundle / WEIGHTS if is_folder(bundle) else bundle


def digest_of_weights(file: Path) -> str:
    """Give the SHA-256 of the weights in a file: of those in a bundle of one file, or of all its bytes."""
    return hashlib.sha256(_packed(file, WEIGHTS)).hexdigest() if is_bundle(file) else digest_of_bytes(file)


def write_packed(file: Path, card: Mapping[str, Any], weights: bytes) -> None:
    """Write a bundle of one file; the same content gives the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in ((CARD, json.dumps(card, indent=2).encode()), (WEIGHTS, weights)):
            archive.writestr(zipfile.ZipInfo(name), content)


def _packed(file: Path, name: str) -> bytes:
    """Read a part of a bundle of one file. It is no larger than the file, since nothing is compressed."""
    with zipfile.ZipFile(file) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
        if len(archive.infolist()) != 2 or {*sizes} != {CARD, WEIGHTS} or sizes[CARD] > LARGEST_RECORD_BYTES:
            raise InputError(f"holds something else than a {CARD} and its {WEIGHTS}")
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise InputError("its parts are compressed")
        return archive.read(name)


def read_card(folder: Path) -> Card:
    """Read the card of a bundle.

    Raises:
        InputError: It is damaged, of a newer format, or describes no network.
    """
    with usable(folder, "bundle", "fetch it again"):
        if is_file(folder):
            content = json.loads(_packed(folder, CARD))
            require_modest(content, CARD, most=LARGEST_RECORD_BYTES)
        else:
            content = read_json(folder / CARD, remedy="fetch the bundle again")
        number = require_format(folder / CARD, content, newest=FORMAT)
        networks = None if number == 1 else content["networks"]
        return Card(NetworkSpec.from_config(content["spec"]), networks, content["weights_sha256"], content)


def read_weights(folder: Path, card: Card, load: Callable[[bytes], dict[str, _Tensor]]) -> list[dict[str, _Tensor]]:
    """Read the weights of each network of a bundle, which must be those that the card tells of.

    Args:
        folder: The bundle.
        card: Its card.
        load: Of safetensors, for arrays of the library that computes.

    Raises:
        InputError: They are missing, or are not those.
    """
    require_file(weights_file(folder))
    content = _packed(folder, WEIGHTS) if is_file(folder) else (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != card.weights_sha256:
        raise InputError(f"{WEIGHTS} is not the file of which {CARD} tells")
    weights = load(content)
    return [weights] if card.networks is None else _apart(weights, card.networks)


def _apart(weights: Mapping[str, _Tensor], networks: int) -> list[dict[str, _Tensor]]:
    """Give the weights of each network of a bundle, which are named after its number."""
    apart = defaultdict[str, dict[str, _Tensor]](dict)
    for name, tensor in weights.items():
        number, _, own = name.partition(".")
        apart[number][own] = tensor
    if {*apart} != {str(number) for number in range(len(apart))} or len(apart) != networks or not apart:
        raise InputError(f"{WEIGHTS} holds the networks {', '.join(sorted(apart))}, and {CARD} tells of {networks}")
    return [apart[str(number)] for number in range(networks)]


@contextmanager
def usable(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a line that names the file: torch raises many kinds of errors."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).removeprefix(f"{path}: ").split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a usable {what} ({reason}); {remedy}") from error
