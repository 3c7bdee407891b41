"""Study and run folders of a configuration: their names are a function of it, never of the clock."""

import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import MISSING, OmegaConf

from musclesense.errors import InputError
from musclesense.studies import writing
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.training.config import Config

# File systems take 255, and drafts and locks beside the folder have longer names.
_LONGEST_NAME = 200


def to_plain(config: Config) -> dict[str, Any]:
    """Give the configuration as plain dictionaries and lists, interpolations resolved."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(plain, dict)
    if config.cohort.path is not None:
        plain["cohort"]["path"] = str(Path(config.cohort.path).absolute())
    return {str(key): value for key, value in plain.items()}


@cache
def defaults() -> Mapping[str, Any]:
    """Give the defaults of the configuration's keys, nested likewise."""
    return _defaults_of(Config)


def _defaults_of(schema: Any) -> dict[str, Any]:
    hints, plain = get_type_hints(schema), OmegaConf.to_container(OmegaConf.structured(schema))
    assert isinstance(plain, dict)
    own = {
        field.name: _defaults_of(hints[field.name]) if is_dataclass(hints[field.name]) else plain[field.name]
        for field in fields(schema)
    }
    return {key: value for key, value in own.items() if value != MISSING}


def study_folder(config: Config) -> Path:
    """Name the folder of the study: ``study``, or a name made from cohort, region, channels and everything else."""
    if config.study is None:
        folder = writing.named_study(Path(config.runs), to_plain(config), defaults()).path
    else:
        folder = Path(config.runs) / config.study
    name = folder.name if config.study is None else config.study
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith(".") or len(os.fsencode(name)) > _LONGEST_NAME:
        raise InputError(
            f"study={name} is no folder name; use letters, digits, '-', '_', '+' and '.', {_LONGEST_NAME} bytes at most"
        )
    return folder


def _run(config: Config) -> RunFolder:
    return StudyFolder(study_folder(config)).run(config.outer, config.inner)


def run_name(config: Config) -> str:
    """Name the run after its folds."""
    return _run(config).name


def run_folder(config: Config) -> Path:
    """Name the folder of the run below that of its study."""
    return _run(config).path


def is_finished(run: Path) -> bool:
    """Tell whether nothing is left to do for a run."""
    return RunFolder(run).is_finished


def record_failure(config: Config, reason: str, *, details: str) -> None:
    """Write down why a run has no result."""
    writing.record_failure(_run(config), reason, outer=config.outer, inner=config.inner, details=details)


def forget_failure(config: Config) -> None:
    """Take away what `record_failure` wrote, since the run is tried again."""
    writing.forget_failure(_run(config))


def require_same_study(config: Config) -> None:
    """Refuse a study folder that belongs to another configuration.

    Raises:
        InputError: Names what differs.
    """
    writing.require_same_study(StudyFolder(study_folder(config)), to_plain(config), defaults())


def open_study(config: Config) -> Path:
    """Make the study's folder and write its configuration there, once among processes.

    Raises:
        InputError: The folder belongs to another configuration.
    """
    folder = study_folder(config)
    writing.open_study(StudyFolder(folder), to_plain(config), defaults())
    return folder
