"""Write the network of a checkpoint as a bundle to give away: ``publish.py BEST BUNDLE --card card.yaml``.

Weights are in half precision, half the size. What is needed to use the network stays, and its card goes along.
"""

import argparse
from pathlib import Path

from musclesense.networks.bundle import read_checkpoint, write_bundle
from musclesense.storage.records import read_yaml

CARD = Path(__file__).with_name("card.yaml")
OWN = ("format", "file", "sha256", "spec", "musclesense")
"""What a bundle says of itself."""


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--card", type=Path, default=CARD)
    options = parser.parse_args()
    card = read_yaml(options.card, remedy="give the card of the network")
    trained = read_checkpoint(options.checkpoint)
    weights = trained.network.state_dict().items()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights}
    write_bundle(options.out, trained.spec, half, {name: said for name, said in card.items() if name not in OWN})


if __name__ == "__main__":
    main()
