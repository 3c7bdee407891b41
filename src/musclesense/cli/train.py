"""``musclesense train``: the same as ``python train.py`` in a clone of the repository."""

import hydra

from musclesense.launch import main
from musclesense.training.composition import NAME, config_folder


def run() -> None:
    """Do what the arguments of this process say."""
    decorated = hydra.main(config_path=str(config_folder().resolve()), config_name=NAME, version_base="1.3")
    main.command(decorated(main.run), ("musclesense", "train"))
