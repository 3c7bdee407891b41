"""Where the configuration lies, how a run is composed of it, and in plain words what Hydra says of overrides."""

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose as compose_by_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from musclesense.errors import InputError, first_line
from musclesense.training.config import keys_of, no_such_key, register
from musclesense.training.settings import Settings, build

_OWN_CLASS = re.compile(r"(model|loss|optimizer|schedule)\._target_=.*", re.DOTALL)
_SWEPT = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '([^=]+)=")
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
    asked = with_own_classes(overrides)
    return build(resolved(compose_config(*asked), asked))


def with_own_classes(overrides: Iterable[str]) -> list[str]:
    """Let ``model._target_=my.Net`` add its key, which is not there where a network has a short name.

    So do ``ablation=width`` and ``search=learning``, groups of which nothing is chosen by itself.
    """
    own = [f"++{one}" if _OWN_CLASS.fullmatch(one) else one for one in overrides]
    return [f"+{one}" if one.startswith(("ablation=", "search=")) else one for one in own]


def compose_config(*overrides: str) -> DictConfig:
    """Give the same as Hydra composes it.

    Raises:
        InputError: Hydra takes no such overrides.
    """
    register()
    around = get_gh_backup()  # a command may be at work in this process
    GlobalHydra.instance().clear()
    try:
        with explained(overrides), initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            return compose_by_hydra(NAME, list(overrides))
    finally:
        restore_gh_from_backup(around)


def compose_command(overrides: list[str], mode: RunMode = RunMode.MULTIRUN) -> DictConfig:
    """Give what Hydra gives its callbacks for a command, whose configuration folder is open already."""
    composer = GlobalHydra.instance().hydra
    assert composer is not None
    return composer.compose_config(NAME, overrides, run_mode=mode)


def compose_run(sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Compose a run of a sweep as Hydra does, of the overrides that it hands to launchers.

    Raises:
        InputError: Hydra takes no such overrides.
    """
    if {*overrides} <= {*written(sweep.hydra.overrides.task)}:
        return sweep  # nothing of it is swept
    with explained(overrides):
        return GlobalHydra.instance().config_loader().load_sweep_config(sweep, list(overrides))


def written(node: Any) -> Any:
    """Give a part of a configuration as it was written: what looks like an interpolation there is none yet."""
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def resolved(config: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """Give a composed configuration without Hydra's own node, and with values in the place of interpolations.

    Raises:
        InputError: An interpolation among the overrides, or in a file, leads nowhere.
    """
    own = copy.deepcopy(config)
    with open_dict(own):
        own.pop("hydra", None)
    try:
        OmegaConf.resolve(own)
    except Exception as error:  # a resolver can raise anything, and one that names itself ends in RecursionError
        asked = " ".join(one for one in overrides if "$" in one) or "configuration"
        raise InputError(f"{asked}: cannot be resolved ({first_line(error)}); give a value") from error
    return own


@contextmanager
def explained(overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra raises in the block into an `InputError` that names what is wrong with the overrides."""
    try:
        yield
    except Exception as error:  # of many kinds, AssertionError and those of its parser among them
        raise explain(error, overrides) from error


def explain(error: Exception, overrides: Sequence[str]) -> InputError:
    """Say in one line what is wrong with overrides that Hydra or OmegaConf refused with an error."""
    text, cause = str(error) or type(error).__name__, error.__cause__ or error
    if isinstance(error, OverrideParseException):
        given = overrides[0] if len(overrides) == 1 else error.override
        return InputError(f"{given}: not an override ({first_line(cause)}); give KEY=VALUE")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        known = f"give {', '.join(sorted(error.options))}" if group and error.options else "correct the name"
        asked = next((one for one in overrides if one.partition("=")[0] == group), f"{group}={option}")
        return InputError(f"{asked}: no option {option!r}; {known}")
    if swept := _SWEPT.match(text):
        return InputError(f"{swept[1]}: several values ask for several runs; add -m")
    if key := _missing_key(text, cause, overrides):
        return InputError(no_such_key(key, keys_of(cast(dict[str, Any], written(compose_config())))))
    if merging := re.match(r"Error merging override (.+)", text):
        if "could not be converted to Integer" in str(cause):
            example = merging[1].partition("=")[0]
            return InputError(f"{merging[1]}: not a whole number; give one such as {example}=1")
        return InputError(f"{merging[1]}: {first_line(cause)}; correct the value")
    named = [one for one in overrides if one.lstrip("+~").partition("=")[0] in text]
    suspect = named[0] if named else " ".join(overrides) or "configuration"
    return InputError(f"{suspect}: {first_line(error)}; correct the override")


def _missing_key(text: str, cause: BaseException, overrides: Sequence[str]) -> str | None:
    said = re.match(r"(?:Could not override|Key) '([^']+)'", text)
    missing = said or re.match(r"Key '([^']+)' (?:is )?not in", str(cause))
    given = (one.partition("=")[0] for one in overrides)
    return next((key for key in given if key.endswith(missing[1])), missing[1]) if missing else None
