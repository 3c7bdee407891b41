"""How often the place of slices, the region of scans and the side of a limb are found, on phantoms never trained on.

``python -m benchmarks.validity.region OUT --subjects 1000`` writes ``region.md``:

- slices of any contrast, each by itself, from ankle to hip, and crude drawings of trunk, head, arm, foot and of nothing
  (`experiments.region.others`), by what they show and what is found;
- scans: seven slices of one subject, in a range of levels within calf or thigh, or about the knee;
- the side of a single limb, with one slice and with seven.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from experiments.region.others import KINDS, draw_other
from experiments.region.train import place_of

from musclesense.errors import report_input_errors
from musclesense.imaging.limbs import FoundLimbs
from musclesense.messages import log, to_console
from musclesense.phantom.anatomy.limbs import relative_level
from musclesense.phantom.any_contrast import synthetic_slice, who
from musclesense.phantom.held import Held
from musclesense.segmentation.place import FRAME, PLACES, Place
from musclesense.segmentation.places import FoundPlaces, judge
from musclesense.storage.records import write_text
from musclesense.vocabulary import Channel, Limbs, Region

HELD_OUT = 20261130
"""Of the random states: no training draws from it."""
ALONE, TOGETHER, DRAWN = 21, 22, 23
SLICES = 7
EDGE = 0.04
"""So near to the end of a region, in parts of its length, either name is right for a slice."""
ONE = FoundLimbs(Limbs.ONE, True, (), "one limb, of a side that is not known")


class Shown(NamedTuple):
    """What slices of one scan show, which limbs, and what was found."""

    places: tuple[Place, ...]
    either: tuple[bool, ...]  # whether a slice lies so near to the end of a region that the next name is right, too
    limbs: Limbs
    found: FoundPlaces
    sided: Limbs


def main() -> None:
    """Read the command line, draw, find and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--subjects", type=int, default=1000, help="slices; scans and drawings of each kind are a fifth"
    )
    options = parser.parse_args()
    with report_input_errors(debug=False):
        to_console()
        few = max(1, options.subjects // 5)
        alone = [one_slice(number) for number in range(options.subjects)]
        log.info(f"{len(alone)} slices")
        scans = [one_scan(number) for number in range(few)]
        log.info(f"{len(scans)} scans")
        parts = [
            "Slices by themselves, what they show (rows) and what is found (columns):",
            confusion([(one.places[0], one.found.places[0]) for one in alone] + list(drawings(few))),
            "\n".join(f"- {line}" for line in (*of_slices(alone), *of_scans(scans))),
        ]
        text = "\n\n".join(parts) + "\n"
        write_text(options.out / "region.md", text)
        print(text, end="")


def one_slice(number: int) -> Shown:
    """Draw a slice of any contrast, and find what it shows."""
    return _shown([HELD_OUT, ALONE, number], (Held(),), tuple(Region))


def one_scan(number: int) -> Shown:
    """Draw slices of a subject along a part of calf or thigh, and find what they show."""
    rng = np.random.default_rng([HELD_OUT, TOGETHER, number])
    region, step = tuple(Region)[number % 2], rng.uniform(0.02, 0.1)
    start = rng.uniform(0, 1 - step * (SLICES - 1))
    held = tuple(Held(level=float(start + step * place)) for place in range(SLICES))
    return _shown([HELD_OUT, TOGETHER, number, 1], held, (region,), without=("cropping",))


def _shown(
    state: list[int], held: tuple[Held, ...], regions: tuple[Region, ...], without: tuple[str, ...] = ()
) -> Shown:
    """Draw a subject, each slice with what is held, and look at them as at a scan."""
    levels, parts, limbs = [], [], []
    for own in held:
        _, region, placed, _ = who(np.random.default_rng(state), regions=regions, held=own, without=without)
        levels.append(float(np.mean([relative_level(one.anatomy, one.pose.level_mm) for one in placed])))
        drawn = synthetic_slice(np.random.default_rng(state), regions=regions, held=own, without=without)
        parts.append(FRAME.prepare(drawn.geometry, {Channel.IMAGE: drawn.stored(drawn.image)}).images)
        limbs.append(drawn.limbs)
    found = judge(np.stack(parts))
    return Shown(
        places=tuple(place_of(region, level) for level in levels),
        either=tuple(min(abs(level), abs(level - 1)) < EDGE for level in levels),
        limbs=limbs[0],
        found=found,
        sided=found.sided(ONE).limbs,
    )


def drawings(count: int) -> Iterator[tuple[Place, Place]]:
    """Draw what is no leg, and find what it shows."""
    for place in (*KINDS, Place.NOTHING):
        for number in range(count):
            rng = np.random.default_rng([HELD_OUT, DRAWN, PLACES.index(place), number])
            yield place, judge(draw_other(rng, place, FRAME)[None, None]).places[0]


def confusion(pairs: list[tuple[Place, Place]]) -> str:
    """Give the table of what is shown and what is found."""
    counts = Counter(pairs)
    lines = ["| shown | slices | " + " | ".join(PLACES) + " |", "|---" * (len(PLACES) + 2) + "|"]
    for shown in PLACES:
        row = [counts[shown, found] for found in PLACES]
        lines.append(f"| {shown} | {sum(row)} | " + " | ".join(str(count or "") for count in row) + " |")
    return "\n".join(lines)


def of_slices(shown: list[Shown]) -> Iterator[str]:
    """Say how often slices by themselves are told rightly."""
    in_range = [one for one in shown if one.places[0].region]
    yield f"slices in range: {_part([one.found.places[0] == one.places[0] for one in in_range])} right"
    well_in = [one for one in in_range if not one.either[0]]
    right = [one.found.places[0] == one.places[0] for one in well_in]
    yield f"of these, further from the ends of the region: {_part(right)}"
    sure = [one for one in well_in if one.found.region]
    yield f"of these, as scans of one slice: {_part([bool(one.found.region) for one in well_in])} decided"
    yield f"right where decided: {_part([one.found.region is one.places[0].region for one in sure])}"
    yield from _of_sides("one slice", shown)


def of_scans(shown: list[Shown]) -> Iterator[str]:
    """Say how often the region of scans is told, and slices beyond it."""
    regions = [(Counter(one.places).most_common(1)[0][0].region, one) for one in shown]
    in_range = [(region, one) for region, one in regions if region]
    right = [one.found.region is region for region, one in in_range]
    yield f"scans of {SLICES} slices, most in range: {_part(right)} right"
    wrong = [one.found.region not in (region, None) for region, one in in_range]
    yield f"of these, another region: {_part(wrong)}"
    off = [
        (place.region is region, number in one.found.beyond(region))
        for region, one in in_range
        if one.found.region is region
        for number, (place, either) in enumerate(zip(one.places, one.either, strict=True))
        if not either
    ]
    yield f"slices of the region that are flagged as off its levels: {_part([flag for own, flag in off if own])}"
    yield f"slices beyond it that are flagged: {_part([flag for own, flag in off if not own])}"
    yield from _of_sides(f"{SLICES} slices", shown)


def _of_sides(name: str, shown: list[Shown]) -> Iterator[str]:
    ones = [one for one in shown if one.limbs in (Limbs.LEFT, Limbs.RIGHT)]
    told = [one for one in ones if one.sided is not Limbs.ONE]
    yield f"side of a single limb, {name}: {_part([one.sided is not Limbs.ONE for one in ones])} told"
    yield f"right where told: {_part([one.sided is one.limbs for one in told])}"


def _part(right: list[bool]) -> str:
    return f"{100 * np.mean(right):.1f} % ({sum(right)} of {len(right)})" if right else "none"


if __name__ == "__main__":
    main()
