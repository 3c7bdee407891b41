"""What a configuration asks for of synthetic slices, or why they cannot be had."""

from collections.abc import Iterator
from pathlib import Path

from musclesense.errors import InputError
from musclesense.networks.spec import NetworkSpec
from musclesense.training.config import Config
from musclesense.training.synthesis.pool import GENERATORS, Pool, Recipe, find_generator
from musclesense.training.synthesis.schedule import Synthesis
from musclesense.vocabulary import EDITIONS, Region


def build(config: Config, spec: NetworkSpec) -> Synthesis | None:
    """Give what is trained on beside the cohort's slices, or None where that is nothing.

    Raises:
        InputError: All that is wrong, a line each.
    """
    chosen = config.synthesis
    if chosen.name == "none":
        return None
    if problems := [*_problems(config, spec), *_problems_of_labels(config, spec)]:
        raise InputError(*problems)
    recipe = Recipe(
        seed=chosen.seed,
        regions=tuple(sorted(map(Region, spec.regions))),
        without=tuple(sorted(chosen.without)),
        grid=spec.grid,
        labels=spec.labels,
        column=config.labels.column,
        shard=chosen.shard,
        generator=chosen.name,
        channels=spec.channels if spec.channels != GENERATORS[chosen.name][:1] else (),
        normalisation=spec.normalisation,
    )
    return Synthesis(Pool.below(Path(config.data) / "pool", recipe), chosen)


def _problems(config: Config, spec: NetworkSpec) -> Iterator[str]:
    chosen, known = config.synthesis, [*GENERATORS]
    if chosen.name not in GENERATORS:
        yield f"synthesis.name={chosen.name}: give none, {', '.join(known[:-1])} or {known[-1]}"
        return
    drawn, ingredients = GENERATORS[chosen.name], find_generator(chosen.name).INGREDIENTS
    if not {*spec.channels} <= {*drawn}:
        edition = next(name for name, channels in EDITIONS.items() if channels == drawn)
        only = f"the channel {drawn[0]}" if len(drawn) == 1 else f"the channels {', '.join(drawn)}"
        yield (
            f"synthesis={chosen.name}: only {only} can be drawn, and the channels are "
            f"{', '.join(spec.channels)}; give edition={edition} or synthesis=none"
        )
    for name in chosen.without:
        if name not in ingredients:
            yield f"synthesis.without={name}: no such ingredient; leave out some of {', '.join(ingredients)}"
    for name, least in (("per_epoch", 1), ("shard", 1), ("growth", 0), ("seed", 0), ("workers", 0)):
        if (value := getattr(chosen, name)) < least:
            yield f"synthesis.{name}={value}: give {least} or more"
    if config.loader.overfit_cases is not None:
        yield (
            f"loader.overfit_cases={config.loader.overfit_cases}: trains on a few scans alone; "
            "give synthesis=none or loader.overfit_cases=null"
        )
    if chosen.initial < chosen.per_epoch:
        yield f"synthesis.initial={chosen.initial}: give {chosen.per_epoch} or more, as many as an epoch trains on"
    if chosen.slices < chosen.initial:
        yield f"synthesis.slices={chosen.slices}: give {chosen.initial} or more, as many as there are initially"


def _problems_of_labels(config: Config, spec: NetworkSpec) -> Iterator[str]:
    """Name what a label set asks of the truth that synthetic slices cannot have."""
    column = config.labels.column
    if column not in ("mask", "compartments") or config.synthesis.name not in GENERATORS:
        return
    if unknown := _unknown_values(config.synthesis.name, spec, column):
        some = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        yield (
            f"labels={config.labels.name}: {some} {'is' if len(unknown) == 1 else 'are'} not in drawn "
            f"{column.removesuffix('s')}s; give labels=whole_muscle, labels=compartments or synthesis=none"
        )


def _unknown_values(generator: str, spec: NetworkSpec, column: str) -> list[str]:
    from musclesense.phantom.anatomy.templates import compartment_values

    asked = [(name, value) for name, values in spec.labels.to_config().items() for value in values]
    if column == "mask":
        drawn = find_generator(generator).MASK_VALUES
        return [f"value {value}" for _, value in asked if value not in drawn]
    there = {pair for region in Region if region in spec.regions for pair in compartment_values(region).items()}
    # A value under another name would be another muscle's: a cohort may count otherwise than the phantom.
    unknown = [f"value {value} of {name}" for name, value in asked if (name, value) not in there]
    return unknown + [f"any positive value ({name})" for name, own in spec.labels.to_config().items() if not own]
