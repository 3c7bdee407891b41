"""Write the network of a checkpoint as a bundle to be kept with the project: ``publish.py BEST BUNDLE``.

Weights are in half precision, half the size. What is needed to use the network stays.
"""

import argparse
from pathlib import Path

from musclesense.networks.bundle import read_checkpoint, write_bundle

ABOUT = {
    "training_data": "phantoms of thigh and calf with pretend contrasts, experiment=any_scanner_fat; no real scan",
    "intended_use": "research: whole muscle in fat images of 3-point Dixon; look at every outline",
}


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    trained = read_checkpoint(options.checkpoint)
    weights = trained.network.state_dict().items()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights}
    write_bundle(options.out, trained.spec, half, ABOUT)


if __name__ == "__main__":
    main()
