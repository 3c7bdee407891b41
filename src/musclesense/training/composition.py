"""Where the configuration lies, and how a run is composed of it outside of a command."""

import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose as compose_by_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf, open_dict

from musclesense.errors import InputError, first_line
from musclesense.training.config import register
from musclesense.training.settings import Settings, build

_OWN_CLASS = re.compile(r"(model|loss|optimizer|schedule)\._target_=.*", re.DOTALL)
NAME = "train"
"""Of the root, ``train.yaml``."""


def config_folder() -> Path:
    """Find the groups of the configuration: in an installed package, or at the top of the repository."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def compose(*overrides: str) -> Settings:
    """Give the run that overrides ask for, as the command line would; nothing of it need exist.

    Raises:
        InputError: What no run could use, a line each.

    >>> compose("experiment=smoke", "outer=2").run.name
    'outer2_inner0'
    """
    return build(compose_config(*with_own_classes(overrides)))


def with_own_classes(overrides: Iterable[str]) -> list[str]:
    """Let ``model._target_=my.Net`` add its key, which is not there where a network has a short name."""
    return [f"++{one}" if _OWN_CLASS.fullmatch(one) else one for one in overrides]


def compose_config(*overrides: str) -> DictConfig:
    """Give the same as Hydra composes it."""
    register()
    around = get_gh_backup()  # a command may be at work in this process
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            return compose_by_hydra(NAME, list(overrides))
    finally:
        restore_gh_from_backup(around)


def resolved(config: DictConfig) -> DictConfig:
    """Give a composed configuration without Hydra's own node, and with values in the place of interpolations."""
    own = copy.deepcopy(config)
    with open_dict(own):
        del own["hydra"]
    try:
        OmegaConf.resolve(own)
    except Exception as error:  # a resolver can raise anything, and one that names itself ends in RecursionError
        given: Any = OmegaConf.to_container(config.hydra.overrides.task)  # as written, not resolved
        asked = " ".join(one for one in given if "$" in one) or "configuration"
        raise InputError(f"{asked}: cannot be resolved ({first_line(error)}); give a value") from error
    return own
