"""Where the configuration lies, and how one is composed outside of a command."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose as compose_by_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from omegaconf import DictConfig, OmegaConf

from musclesense.errors import InputError
from musclesense.launch.overrides import explain, with_own_classes
from musclesense.training.config import register
from musclesense.training.settings import Settings, build

NAME = "train"
"""Of the root, ``train.yaml``."""


def config_folder() -> Path:
    """Find the groups of the configuration: in an installed package, or at the top of the repository."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def compose(*overrides: str) -> Settings:
    """Give the run that the command line asks for by these overrides; nothing of it need exist.

    Raises:
        InputError: What is wrong, a line each.

    >>> compose("experiment=smoke", "outer=2").run.name
    'outer2_inner0'
    """
    try:
        config = compose_config(*with_own_classes(overrides))
    except Exception as error:  # Hydra raises many kinds, AssertionError and ValueError among them
        raise explain_composition(error, overrides) from error
    return build(config)


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


def explain_composition(error: Exception, overrides: Sequence[str]) -> InputError:
    """Say in one line what is wrong with overrides that Hydra refused with an error."""
    return explain(error, overrides, lambda: list(_keys(compose_config())))


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key!s}"
        child = OmegaConf.select(config, str(key), throw_on_missing=False)
        if isinstance(child, DictConfig):
            yield from _keys(child, f"{prefix}{key!s}.")
