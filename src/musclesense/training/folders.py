"""Study and run folders: their names are a function of the configuration, never of the clock."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from musclesense.errors import InputError
from musclesense.storage.locks import locked
from musclesense.storage.records import read_yaml, write_json, write_text
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.training.config import Config, active_channels

_FOLDS = ("outer", "inner")
# File systems take 255, and drafts and locks beside the folder have longer names.
_LONGEST_NAME = 200
# Where and on what a study runs, and what it keeps, does not change its scores.
_ELSEWHERE = ("study", "runs", "data", "logger")
_ELSEWHERE_BELOW = {
    "trainer": ("accelerator", "devices", "strategy", "compile"),
    "loader": ("workers",),
    "synthesis": ("workers", "shard"),
    "callbacks": ("keep_every",),
}


def to_plain(config: Config) -> dict[str, Any]:
    """Give the configuration as plain dictionaries and lists, interpolations resolved."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(plain, dict)
    if config.cohort.path is not None:
        plain["cohort"]["path"] = str(Path(config.cohort.path).absolute())
    return {str(key): value for key, value in plain.items()}


def study_folder(config: Config) -> Path:
    """Name the folder of the study: ``study``, or a name made from cohort, region, channels and everything else."""
    name = config.study or _study_name(config)
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith(".") or len(os.fsencode(name)) > _LONGEST_NAME:
        raise InputError(
            f"study={name} is no folder name; use letters, digits, '-', '_', '+' and '.', {_LONGEST_NAME} bytes at most"
        )
    return Path(config.runs) / name


def run_name(config: Config) -> str:
    """Name the run after its folds."""
    return _run(config).name


def run_folder(config: Config) -> Path:
    """Name the folder of the run below that of its study."""
    return _run(config).path


def is_finished(run: Path) -> bool:
    """Tell whether nothing is left to do for a run."""
    return RunFolder(run).is_finished


def _run(config: Config) -> RunFolder:
    return StudyFolder(study_folder(config)).run(config.outer, config.inner)


def record_failure(config: Config, reason: str, *, details: str) -> None:
    """Write down why a run has no result: ``error.txt`` with all details, and ``failed.json``, last, with one line."""
    run = _run(config)
    write_text(run.error, details)
    write_json(run.failed, {"outer": config.outer, "inner": config.inner, "error": reason})


def forget_failure(config: Config) -> None:
    """Take away what `record_failure` wrote, since the run is tried again."""
    for path in (_run(config).failed, _run(config).error):
        path.unlink(missing_ok=True)


def require_same_study(config: Config) -> None:
    """Refuse a study folder that belongs to another configuration.

    Raises:
        InputError: Names what differs.
    """
    path = StudyFolder(study_folder(config)).settings
    if not path.is_file():
        return
    written = read_yaml(path, remedy="remove the study folder or give study=ANOTHER")
    there, here = _flat(_identity(written if isinstance(written, dict) else {})), _flat(_identity(to_plain(config)))
    different = sorted(key for key in {*there, *here} if there.get(key) != here.get(key))
    if different:
        shown = ", ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in different[:8])
        raise InputError(f"{path}: another configuration ({shown}); give study=ANOTHER_NAME or the same configuration")


def open_study(config: Config) -> Path:
    """Make the study's folder and write ``study.yaml``, once among processes.

    Raises:
        InputError: The folder belongs to another configuration.
    """
    folder = study_folder(config)
    path = StudyFolder(folder).settings
    with locked(path):
        require_same_study(config)
        if not path.is_file():
            content = {key: value for key, value in to_plain(config).items() if key not in _FOLDS}
            write_text(path, yaml.safe_dump(content, sort_keys=False))
    return folder


def _identity(plain: dict[str, Any]) -> dict[str, Any]:
    """Leave out what cannot change a score."""
    identity = {key: value for key, value in plain.items() if key not in (*_FOLDS, *_ELSEWHERE)}
    for group, left_out in _ELSEWHERE_BELOW.items():
        if group in identity:
            identity[group] = {key: value for key, value in identity[group].items() if key not in left_out}
    synthesis, cohort = identity.get("synthesis", {}), identity.get("cohort", {})
    if synthesis.get("name") == "none":
        identity["synthesis"] = {"name": "none"}
    elif "without" in synthesis:
        synthesis["without"] = sorted(synthesis["without"])
    if cohort.get("path") is not None:
        identity["cohort"] = {"path": cohort["path"]}
    return identity


def _study_name(config: Config) -> str:
    digest = hashlib.sha256(json.dumps(_identity(to_plain(config)), sort_keys=True).encode()).hexdigest()[:8]
    if config.cohort.path is None:
        cohort = f"phantom-{config.cohort.phantom.preset}"
    else:
        table = Path(config.cohort.path)
        cohort = table.resolve().parent.name if table.stem == "cohort" else table.stem
    parts = (cohort, config.region.name, "+".join(active_channels(config)), digest)
    return "-".join(re.sub(r"[^\w.+-]", "_", part) for part in parts)


def _flat(nested: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(nested, dict) or not nested:
        return {prefix: nested}
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
