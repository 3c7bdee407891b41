"""The command line of a training before Hydra reads it, and what it asks for in plain words when it is wrong."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musclesense.errors import InputError

_FOLD_RANGE = re.compile(r"(?P<key>[^=]+)=(?P<first>\d+)\.\.(?P<last>\d+)")


def expand_ranges(arguments: Sequence[str]) -> list[str]:
    """Turn ``outer=0..4`` into Hydra's ``outer=range(0,5)``, which Hydra alone reads as the text "0..4".

    Raises:
        InputError: A range that runs backwards.
    """
    expanded = []
    for argument in arguments:
        found = _FOLD_RANGE.fullmatch(argument)
        if found is None:
            expanded.append(argument)
            continue
        first, last = int(found["first"]), int(found["last"])
        if last < first:
            raise InputError(f"{argument}: runs backwards; give {found['key']}={last}..{first}")
        expanded.append(f"{found['key']}=range({first},{last + 1})")
    return expanded


def parse(arguments: Sequence[str]) -> list[Override]:
    """Parse overrides by Hydra's grammar.

    Raises:
        InputError: Names the override that cannot be read.
    """
    parser = OverridesParser.create()
    overrides = []
    for argument in arguments:
        try:
            overrides.append(parser.parse_override(argument))
        except (OverrideParseException, HydraException) as error:
            raise InputError(f"{argument}: not an override ({first_line(error)}); give KEY=VALUE") from error
    return overrides


def explain(error: Exception, overrides: Sequence[str], *, config_dir: Path, base: DictConfig | None) -> InputError:
    """Say in one line what is wrong with a composition that Hydra refused.

    Args:
        error: What Hydra or OmegaConf raised.
        overrides: The overrides that were composed.
        config_dir: Where the groups are.
        base: The composition without overrides, to find the key that was meant.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(file.stem for file in (config_dir / group).glob("*.yaml"))
        known = f"give {', '.join(options)}" if group and options else "correct the name"
        asked = next((o for o in overrides if o.partition("=")[0] == group), f"{group}={option}")
        return InputError(f"{asked}: no option {option!r}; {known}")
    text = str(error)
    missing = re.match(r"(?:Could not override|Key) '([^']+)'", text)
    if missing is None and error.__cause__ is not None:
        missing = re.match(r"Key '([^']+)' (?:is )?not in", str(error.__cause__))
    if missing:
        key = next((o.split("=")[0] for o in overrides if o.split("=")[0].endswith(missing[1])), missing[1])
        near = difflib.get_close_matches(key.lstrip("+~"), _keys(base), n=1, cutoff=0.6) if base is not None else []
        return InputError(f"{key}: no such key; " + (f"did you mean {near[0]}?" if near else "see conf/ for all keys"))
    merging = re.match(r"Error merging override (.+)", text)
    if merging:
        return InputError(f"{merging[1]!s}: {first_line(error.__cause__ or error)}; correct the value")
    ambiguous = next((o for o in overrides if text.startswith("Ambiguous") and o.split("=")[0] in text), None)
    return InputError(f"{ambiguous or 'configuration'}: {first_line(error)}; correct the override")


COMPOSITION_ERRORS = (ConfigCompositionException, HydraException, OmegaConfBaseException)


def _keys(config: DictConfig) -> list[str]:
    flat: list[str] = []

    def walk(node: DictConfig, prefix: str) -> None:
        for key in node:
            name = f"{prefix}{key!s}"
            flat.append(name)
            child = OmegaConf.select(config, name, throw_on_missing=False)
            if isinstance(child, DictConfig):
                walk(child, f"{name}.")

    walk(config, "")
    return flat


def first_line(error: BaseException) -> str:
    """Give the first line of an error that says something, or the error's name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
