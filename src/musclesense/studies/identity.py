"""Which study a configuration belongs to: what can change a score, and the name that is made of it.

Configurations (``plain``) are plain dictionaries and lists, and so are the defaults of their keys (``defaults``). A key
that is absent reads as its default, both where two are compared and in the digest of a name. So a new key parts nobody
from a study that was begun before, as long as its default does what was done before.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from musclesense.vocabulary import edition_of

_DIGITS = 8
_OWN_TABLE = "a table of one's own"
"""What counts of a table's path: what the table says is compared by `musclesense.studies.content`."""
FOLDS_OF_A_RUN = ("outer", "inner")
"""Keys of a run's own; a study has none of them."""
# Where and on what a study runs, and what it keeps, does not change its scores. An edition is but a name of channels.
_ELSEWHERE = ("format", "study", "arm", "runs", "data", "anonymous", "logger", "edition")
_ELSEWHERE_BELOW = {
    "trainer": ("accelerator", "devices", "strategy", "compile"),
    "loader": ("workers",),
    "synthesis": ("workers", "shard"),
    "checkpoints": ("keep_every", "every_seconds"),
}

MOVED_KEYS = {
    "labels.threshold": "inference.threshold",
    "labels.mirrored": "inference.flip",
    "labels.scales": "inference.scales",
    "callbacks.patience": "early_stopping.patience",
    "callbacks.min_delta": "early_stopping.min_delta",
    "callbacks.averaging": "averaging.decay",
    "callbacks.keep_every": "checkpoints.keep_every",
}
"""Today's name of keys of the configuration that format 1 called otherwise."""
_MADE_BY_NAME = ("model", "loss", "optimizer", "schedule")


def study_name(plain: Mapping[str, Any], defaults: Mapping[str, Any], rows: str = "") -> str:
    """Make a folder name of cohort, region, channels and a digest of everything that can change a score.

    Of a table of one's own, ``rows`` counts, a digest of what it says, and not where it lies.
    """
    own, usual = identity(plain), identity(defaults)
    chosen = {key: value for key, value in own.items() if key not in usual or usual[key] != value}
    if table_of(plain) is not None:
        chosen["cohort.rows"] = rows
    chosen |= _flat({"edition": _group(plain, "edition")})  # as in all names that were made so far
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    return "-".join((*_name_parts(plain), digest))


def names_of_earlier_releases(plain: Mapping[str, Any]) -> str:
    """Give a pattern of the names that earlier releases may have made, which called some cohorts otherwise."""
    _, *parts = _name_parts(plain)
    return "-".join(("*", *parts, "?" * _DIGITS))


def _name_parts(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Give what people read in a study's name: cohort, region and channels; before them the arm of an ablation."""
    plain = upgrade(plain)
    cohort = "cohort" if table_of(plain) else f"phantom-{plain['cohort']['phantom']['preset']}"
    named = "-".join(filter(None, (plain.get("arm"), cohort)))
    parts = (named, plain["region"]["name"], "+".join(plain["channels"]))
    return tuple(re.sub(r"[^\w.+-]", "_", part) for part in parts)


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Give what would change a score, by dotted key: the value there and the value here."""
    usual = identity(defaults)
    one, other = usual | identity(there), usual | identity(here)
    return {key: (one.get(key), other.get(key)) for key in sorted({*one, *other}) if one.get(key) != other.get(key)}


def identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that can change a score, by dotted key."""
    own = {key: value for key, value in upgrade(plain).items() if key not in (*FOLDS_OF_A_RUN, *_ELSEWHERE)}
    for group, left_out in _ELSEWHERE_BELOW.items():
        if group in own:
            own[group] = {key: value for key, value in _group(own, group).items() if key not in left_out}
    synthesis, schedule = _group(own, "synthesis"), _group(own, "schedule")
    if synthesis.get("name") == "none":
        own["synthesis"] = {"name": "none"}
    elif isinstance(synthesis.get("without"), list):
        synthesis["without"] = sorted(synthesis["without"], key=str)
    if "max_lr" in schedule and schedule["max_lr"] == _group(own, "optimizer").get("lr"):
        own["schedule"] = {key: value for key, value in schedule.items() if key != "max_lr"}
    if table_of(own) is not None:
        own["cohort"] = {"path": _OWN_TABLE}
    return dict(_flat(own))


def with_edition(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration to be shown, in which the edition is what the channels are: they can be chosen beside it.

    >>> with_edition({"edition": {"name": "professional"}, "channels": ["fat"]})
    {'edition': {'name': 'simplified'}, 'channels': ['fat']}
    """
    shown, edition, channels = dict(plain), plain.get("edition"), plain.get("channels")
    if isinstance(edition, dict) and isinstance(channels, list):
        shown["edition"] = {**edition, "name": edition_of([*map(str, channels)], str(edition.get("name")))}
    return shown


def table_of(plain: Mapping[str, Any]) -> Path | None:
    """Give the table of one's own that a configuration names, or None where the cohort is a phantom."""
    path = _group(plain, "cohort").get("path")
    return path if path is None else Path(str(path))


def upgrade(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration of format 1 in today's words; one in today's words comes back as it is."""
    own = copy.deepcopy(dict(plain))
    for old, new in MOVED_KEYS.items():
        group, _, key = old.partition(".")
        if key in _group(own, group):
            value = own[group].pop(key)
            there, _, called = new.partition(".")
            own.setdefault(there, {})
            _group(own, there).setdefault(called, value)
    if own.get("callbacks") == {}:
        del own["callbacks"]
    if "schedule" in _group(own, "optimizer"):
        own.setdefault("schedule", own["optimizer"].pop("schedule"))
    if "schedule" in own and own["schedule"] is None:
        own["schedule"] = {"name": "constant"}
    if isinstance(factory := _group(own, "optimizer").pop("factory", None), dict):
        own["optimizer"] = factory | own["optimizer"]
    _give_short_names(own)
    if isinstance(channels := own.get("channels"), dict):
        own["channels"] = [str(name) for name, wanted in channels.items() if wanted]
    for below, key in ((_group(own, "synthesis"), "name"), (_group(_group(own, "cohort"), "phantom"), "preset")):
        if below.get(key) == "robust":
            below[key] = "any_scanner"
    return own


def _give_short_names(plain: dict[str, Any]) -> None:
    dotted = [group for group in _MADE_BY_NAME if "_target_" in _group(plain, group)]
    if not dotted:
        return
    from musclesense.networks import registry  # imports torch, which studies of today need not wait for

    kinds: tuple[registry.Kind[Any], ...] = (registry.NETWORK, registry.LOSS, registry.OPTIMIZER, registry.SCHEDULE)
    for group, kind in zip(_MADE_BY_NAME, kinds, strict=True):
        if group in dotted:
            plain[group] = registry.named(kind, plain[group])


def _group(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give a group of keys; an empty one where there is none, or something else."""
    group = plain.get(name)
    return group if isinstance(group, dict) else {}


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
