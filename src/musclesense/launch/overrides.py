"""The command line of a training before Hydra reads it."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, RangeSweep, Sweep

from musclesense.errors import InputError, refuse
from musclesense.storage.paths import at_home, is_file, is_there
from musclesense.studies.identity import MOVED_KEYS
from musclesense.training.composition import explained, with_own_classes

MOST_VALUES = 2500
"""Of one override, and runs of one command: every subject left out in turn among fifty."""
_LONGEST, _DEEPEST = 2000, 8
_FLAGS = re.compile(
    "--multirun|--help|--hydra-help|--version|--cfg=(job|hydra|all)|--resolve|"
    r"--package=[\w.@/]+|--info(=(all|config|defaults|defaults-tree|plugins|searchpath))?"
)
_LONG = {"-m": "--multirun", "-h": "--help", "-c": "--cfg", "-p": "--package", "-i": "--info"}
_VALUED = ("--cfg", "--package", "--info")
_FOLD_RANGE = re.compile(r"([^=]+)=(\d{1,18})\.\.(\d{1,18})")
_PATHS = ("cohort.path", "runs", "data", "study")
_FORMER = {re.escape(old) + "(=.*)?": rf"{new}\1" for old, new in MOVED_KEYS.items()}
_FORMER |= yaml.safe_load(Path(__file__).with_name("former.yaml").read_text(encoding="utf-8"))
# Where runs lie is this project's to say; who draws and who launches them is the user's.
_OF_HYDRA = re.compile(r"\+{,2}hydra(/launcher|/sweeper|\.(launcher|sweeper)(\.\w*[^\W_])+)=[^$]*", re.DOTALL)


def read(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read a command line as Hydra is to be given it: flags, and then overrides, since it takes no flags amid these.

    Of several runs, what Hydra is to show instead of training is shown of the first.

    Raises:
        InputError: Something that Hydra cannot be given.
    """
    flags, overrides = list[str](), list[str]()
    for before, word in itertools.pairwise(("", *arguments)):
        if word.startswith("-"):
            flags.append(_LONG.get(word, word))
        elif _LONG.get(before, before) in _VALUED and "=" not in word and not word.startswith("~"):
            flags[-1] += f"={word}"
        else:
            overrides.append(_path_quoted(_expanded(word)))
    if unknown := [flag for flag in flags if not _FLAGS.fullmatch(flag)]:
        raise InputError(f"{unknown[0]}: no such option; give KEY=VALUE, -m, --help or --cfg=job")
    for flag in (flag for flag in flags if flag.startswith(("--package", "--resolve"))):
        if not any(other.startswith("--cfg") for other in flags):
            raise InputError(f"{flag}: goes with --cfg; add --cfg=job")
    require_sound(overrides)
    shown = [flag for flag in flags if flag != "--multirun"]
    if shown and len(shown) < len(flags):
        flags, overrides = shown, [choices(one)[0] for one in overrides]
    return flags, with_own_classes(overrides)


def _expanded(argument: str) -> str:
    """Turn ``outer=0..4`` into Hydra's ``outer=range(0,5)``, which Hydra alone reads as the text "0..4"."""
    found = _FOLD_RANGE.fullmatch(argument)
    if not found or found[1].lstrip("+") in _PATHS:
        return argument
    key, first, last = found[1], int(found[2]), int(found[3])
    if last < first:
        raise InputError(f"{argument}: runs backwards; give {key}={last}..{first}")
    return f"{key}=range({first},{last + 1})"


def _path_quoted(argument: str) -> str:
    """Quote a path as Hydra asks for where it would read something else; what is no file and reads well is left."""
    key, _, text = argument.partition("=")
    if key == "cohort" and (Path(text).suffix or is_file(Path(text))):
        raise InputError(f"{argument}: a table is given by its path; give cohort.path={text}")
    if key.lstrip("+") not in _PATHS or not text:
        return argument
    text = str(at_home(Path(text))) if text.startswith("~") else text
    with suppress(Exception):  # beside Hydra's own errors those of its parser
        value = OverridesParser.create().parse_override(f"{key}={text}").value()
        # Nobody trains the same in two places: a comma there is one of a name.
        place = key.lstrip("+") in ("runs", "data") and isinstance(value, ChoiceSweep) and value.simple_form
        swept = isinstance(value, Sweep) and not place
        on_purpose = value is None or swept or text[0] in "'\"" or "\\" in text
        if value == text or "${" in text or (on_purpose and not is_there(Path(text))):
            return f"{key}={text}"
    several = [path for path in text.split(",") if is_there(Path(path))]
    paths = several if ",".join(several) == text and not is_there(Path(text)) else [text]
    return f"{key}={','.join(QuotedString(path, Quote.single).with_quotes() for path in paths)}"


def require_sound(overrides: Sequence[str]) -> None:
    """Refuse overrides that Hydra would be long at, that are of an earlier release, or that break its and our order.

    Raises:
        InputError: What is wrong.
    """
    refuse(_problems(overrides))


def _problems(overrides: Sequence[str]) -> Iterator[str]:
    there = dict[str, str]()
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        # Hydra's parser recurses into brackets, and its time grows with more than the length.
        if len(override) > _LONGEST or _depth(override) > _DEEPEST:
            yield f"{override}: too long or too deep; give {_LONGEST} characters and {_DEEPEST} open brackets at most"
        elif new := what_to_give(override):
            yield f"{override}: is no longer an option; give {new}"
        elif re.split("[./@:]", key)[0] == "hydra" and not _OF_HYDRA.fullmatch(override):
            yield f"{override}: is set by this project; of Hydra give hydra/launcher, hydra/sweeper and their keys"
        elif key in there and not (there[key].startswith("~") and override.startswith("+")):  # to replace one is sound
            yield f"{override}: {key} is given twice; give it once"
        there[key] = override


def what_to_give(override: str) -> str | None:
    """Give what has taken the place of an override, or None where it is none of an earlier release.

    >>> what_to_give("labels.mirrored=true")
    'inference.flip=true'
    >>> what_to_give("synthesis=none,robust")
    'synthesis=none,any_scanner'
    """
    found = ((re.fullmatch(pattern, override.lstrip("+~"), re.DOTALL), new) for pattern, new in _FORMER.items())
    return next((match.expand(new) for match, new in found if match), None)


def _depth(argument: str) -> int:
    """Count the brackets that are open at most."""
    steps = ((character in "([{") - (character in ")]}") for character in argument)
    return max(itertools.accumulate(steps, initial=0))


def choices(line: str) -> list[str]:
    """Give each value of an override as one of its own: several, if it is swept over.

    Raises:
        InputError: It cannot be read, has no values or too many, or those cannot be enumerated.
    """
    parser = OverridesParser.create()
    with explained([line]):
        (override,) = parser.parse_overrides([line])
        if not (override.is_sweep_override() or override.is_delete()):
            # The sweeper writes it anew, which what is quoted in an interpolation does not survive.
            parser.parse_overrides([f"{override.get_key_element()}={override.get_value_element_as_str()}"])
    if not override.is_sweep_override():
        return [line]
    sweep = override.value()
    if not isinstance(sweep, ChoiceSweep | RangeSweep):
        raise InputError(f"{line}: cannot be swept; list the values")
    count = _length(sweep) if isinstance(sweep, RangeSweep) else len(sweep.list)
    if not 0 < count <= MOST_VALUES:
        raise InputError(f"{line}: {count:.0f} values; give 1 to {MOST_VALUES}")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _length(sweep: RangeSweep) -> float:
    """Count the values of a range without making them; 0 where it has none or never ends."""
    start, stop, step = (float(number or 0) for number in (sweep.start, sweep.stop, sweep.step))
    if not all(map(math.isfinite, (start, stop, step))) or step == 0:
        return 0
    return max(0.0, float(math.ceil((stop - start) / step)))
