"""The command line of a training before Hydra reads it, and what it asks for in plain words when it is wrong."""

import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from musclesense.errors import InputError

MOST_VALUES = 2500
"""Of one override, and runs of one command: every subject left out in turn among fifty."""
_LONGEST, _DEEPEST = 2000, 8
_FOLD_RANGE = re.compile(r"(?P<key>[^=]+)=(?P<first>\d{1,18})\.\.(?P<last>\d{1,18})")
# Where runs lie and in which order they go is this project's to say; who launches them is the user's.
_OF_HYDRA = re.compile(r"hydra(/launcher|\.launcher(\.\w+)+)?")


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
        InputError: Names the override that cannot be read, or the key that is given twice.
    """
    parser = OverridesParser.create()
    overrides: list[Override] = []
    for argument in arguments:
        # The parser recurses into brackets, and its time grows with more than the length.
        if len(argument) > _LONGEST or _depth(argument) > _DEEPEST:
            raise InputError(
                f"{argument}: too long or too deep; give {_LONGEST} characters and {_DEEPEST} brackets in one another "
                "at most"
            )
        try:
            override = parser.parse_override(argument)
        except Exception as error:  # beside Hydra's own errors those of its parser and of Python's numbers
            raise InputError(f"{argument}: not an override ({first_line(error)}); give KEY=VALUE") from error
        if problem := _of_hydra(override):
            raise InputError(f"{argument}: {problem}")
        if any(_same_key(earlier, override) for earlier in overrides):
            raise InputError(f"{argument}: {override.key_or_group} is given twice; give it once")
        overrides.append(override)
    return overrides


def _same_key(earlier: Override, override: Override) -> bool:
    """Tell whether both set one key, of which Hydra takes the one here and the other there; to replace one is sound."""
    same = (earlier.key_or_group, earlier.package) == (override.key_or_group, override.package)
    return same and not (earlier.is_delete() and override.is_add())


def values(override: Override) -> list[str]:
    """Give each value of a sweep as an override of its own.

    Raises:
        InputError: There are none, too many, or it is a sweep that cannot be enumerated.
    """
    line, sweep = str(override.input_line), override.value()
    if not isinstance(sweep, ChoiceSweep | RangeSweep):
        raise InputError(f"{line}: cannot be swept; list the values")
    count = _length(sweep) if isinstance(sweep, RangeSweep) else len(sweep.list)
    if not 0 < count <= MOST_VALUES:
        raise InputError(f"{line}: {count:.0f} values; give 1 to {MOST_VALUES}")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _length(sweep: RangeSweep) -> float:
    """Count the values of a range without making them; 0 where it has none or never ends."""
    assert sweep.start is not None and sweep.stop is not None
    start, stop, step = (float(number) for number in (sweep.start, sweep.stop, sweep.step))
    if not all(map(math.isfinite, (start, stop, step))) or step == 0:
        return 0
    return max(0.0, float(math.ceil((stop - start) / step)))


def _depth(argument: str) -> int:
    """Count the brackets that are open at most."""
    depth = deepest = 0
    for character in argument:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _of_hydra(override: Override) -> str | None:
    """Say why an override of Hydra's own settings is not taken, or None where it is, or is none of them."""
    key = override.key_or_group
    if re.split("[./]", key)[0] != "hydra":
        return None
    if not _OF_HYDRA.fullmatch(key) or key == "hydra" or key.endswith("_") or override.is_delete():
        return "is set by this project; of Hydra give hydra/launcher or hydra.launcher.KEY"
    if "$" in str(override.input_line):
        return "is needed before interpolations are known; give a plain value"
    return None


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
    text = str(error) or type(error).__name__
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
    return InputError(f"{_suspect(overrides, text)}: {first_line(error)}; correct the override")


def unresolved(error: Exception, overrides: Sequence[str]) -> InputError:
    """Say in one line that an interpolation leads nowhere."""
    asked = [override for override in overrides if "$" in override]
    return InputError(f"{' '.join(asked) or 'configuration'}: cannot be resolved ({first_line(error)}); give a value")


def _suspect(overrides: Sequence[str], text: str) -> str:
    """Name the override that an error speaks of: the only one, or the one whose key it names."""
    named = [override for override in overrides if override.lstrip("+~").split("=")[0] in text]
    return (named or list(overrides) or ["configuration"])[0] if len(overrides) == 1 or named else " ".join(overrides)


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
