"""Write the weights of a checkpoint in half precision, to be kept with the project: ``publish.py BEST MODEL``.

Half the size, and what is needed to use the network stays.
"""

import argparse
from pathlib import Path

import torch

from musclesense.storage.atomic import atomic_path
from musclesense.training.module import SegmentationModule


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    SegmentationModule.load(options.checkpoint)  # one line where it is none
    whole = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    kept = {name: whole[name] for name in ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters")}
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in whole["state_dict"].items()
    }
    with atomic_path(options.out) as draft:
        torch.save({**kept, "state_dict": weights}, draft)


if __name__ == "__main__":
    main()
