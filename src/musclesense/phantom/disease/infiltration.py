"""What disease does to muscle: how much fat, in which texture, how much muscles shrink and swell."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.anatomy.section import Section
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.disease.patterns import Pattern
from musclesense.phantom.texture import Floats, lattice, ridges, sample
from musclesense.vocabulary import Region

END_STAGE = 0.735  # mean fat fraction of a muscle that is gone: fibrous strands and islands of muscle remain
HIGHEST_MEAN = 0.765  # the same without the islands
MOST_FAT = 0.90  # that of fat tissue
STEEPNESS = 3.0  # of the rise of fat with the share that the disease has taken
HAZE = 0.4  # part of the usual fat of healthy muscle that lies within fibres, not between them


@dataclass(frozen=True, kw_only=True, eq=False)
class Infiltration:
    """The state of the muscles of one limb at one time; arrays but ``field`` have the shape (muscles,)."""

    usual: Floats  # mean fat fraction without disease, 0 to 1
    share: Floats  # how far the disease has taken each muscle at mid-level, 0 to 1
    distal_slope: float  # relative rise of the disease per mm away from the hip
    atrophy_mm: Floats  # how far the border of each muscle has withdrawn
    swelling: Floats  # how oedematous each muscle is, 0 to 1
    patches: Floats  # strength of patches
    streaks: Floats  # strength of streaks
    holes: Floats  # strength of small round holes, as if moth-eaten
    rim: Floats  # how far the periphery is ahead of the centre; negative where the centre is ahead
    fascicles: Floats  # direction of the fascicles in the section, radians
    pennation: Floats  # how much fascicles follow the border of the muscle instead
    field: Floats  # lattice of the texture

    def of_every(self, region: Region) -> Self:
        """Give the state of every muscle of a region: those beyond its usual levels are as the first ones are."""
        muscles, count = len(self.usual), len(TEMPLATES[region].every)
        own: dict[str, Any] = {
            name: np.resize(value, count) for name, value in vars(self).items() if np.shape(value) == (muscles,)
        }
        return replace(self, **own)

    def fat_at(self, level_mm: float) -> Floats:
        """Give the mean fat fraction of each muscle at a level, 0 to 1."""
        return np.asarray(self.usual + (END_STAGE - self.usual) * self.replaced_at(level_mm), dtype=np.float32)

    def replaced_at(self, level_mm: float) -> Floats:
        """Give how much of each muscle fat has replaced at a level, 0 to 1: more often none or all than half."""
        share = np.clip(self.share * np.clip(1 - self.distal_slope * level_mm, 0.2, 2.0), 0, 1)
        return np.asarray(share**STEEPNESS / (share**STEEPNESS + (1 - share) ** STEEPNESS), dtype=np.float32)


def sample_infiltration(
    rng: np.random.Generator, pattern: Pattern, severity: float, region: Region, age: float = 50.0
) -> tuple[Infiltration, Infiltration]:
    """Draw the muscles of the right and the left limb of a subject.

    The same random state with a higher severity or age gives the same muscles and texture later: more fat at
    every point. Severity goes from 0 (no fat beyond the usual) to 1; from an age of 30 years on, fat and the width of
    septa rise.
    """
    names = list(TEMPLATES[region].muscles)
    count = len(names)
    older = max(age - 30, 0.0)
    involvement = np.array([pattern.involvement.get(name, pattern.others) for name in names])
    involvement = involvement + rng.normal(0, pattern.scatter, count)
    # Peroneus longus held twice as much fat as its neighbours in healthy calves too (Evans et al., see CMT).
    usual = np.where(np.array(names) == "peronei", 1.8, 1.0) * rng.lognormal(0, 0.3) * rng.lognormal(0, 0.3, count)
    texture = {
        "patches": _single(pattern.patchiness * rng.uniform(0.3, 1.1, count)),
        "streaks": _single(pattern.streakiness * rng.uniform(0.7, 1.3, count)),
        "holes": _single(rng.uniform(0.2, 1.0, count)),
        "rim": _single(rng.normal(0.3, 0.8, count)),
        "fascicles": _single(rng.uniform(0, np.pi, count)),
        "pennation": _single(rng.uniform(-0.7, 0.7, count)),
    }
    shrinks = rng.uniform(0.3, 1.0, count)
    chance, strength = pattern.oedema
    sides = []
    for _ in range(2):
        here = min(severity * rng.lognormal(0, pattern.asymmetry), 1.0)
        share = np.clip(here * (involvement + rng.normal(0, pattern.scatter / 2, count)), 0, 1)
        swells = strength * rng.uniform(0.4, 1.0, count) * (rng.random(count) < chance)
        # Muscle swells before it is replaced.
        swelling = swells * np.minimum(5 * share, 1) * (1 - share)
        sides.append(
            Infiltration(
                usual=_single(usual * (0.015 + 0.0006 * older)),
                share=_single(share),
                distal_slope=pattern.distal_slope,
                atrophy_mm=_single(shrinks * (pattern.wasting_mm * share + 0.012 * older)),
                swelling=_single(swelling),
                field=lattice(rng),
                **texture,
            )
        )
    return sides[0], sides[1]


def infiltrate(section: Section, infiltration: Infiltration) -> Floats:
    """Give the fat fraction (0 to 1) of every point of a section, 0 outside muscle.

    Every point has a place in the order in which fat takes a muscle: streaks between fascicles first, then patches,
    holes, and the periphery or the centre; islands hold out longest. The place shifts the logit of the fat fraction,
    so the texture is faint in healthy muscle and in muscle that is gone, and strong between. Where muscle is gone,
    fibrous strands and the fascia keep it a little darker than fat. The tissue coordinates of the section carry the
    texture: it moves with the limb and is the same at every session.
    """
    inside = section.muscle > 0
    muscle = section.muscle[inside] - 1
    u, v, level = section.u_mm[inside], section.v_mm[inside], section.level_mm
    depth = section.depth_mm[inside]
    look, field = infiltration, infiltration.field
    shift = np.float32(17.0) * muscle  # another part of the lattice for each muscle

    patches = sample(field, level + 50, 0.30 * u + shift, 0.30 * v + shift)
    holes = sample(field, level + 90, 1.8 * u, 1.8 * v)
    from_border = depth + infiltration.atrophy_mm[muscle]  # as it was before the muscle shrank
    cos, sin = np.cos(look.fascicles)[muscle], np.sin(look.fascicles)[muscle]
    along = cos * u + sin * v
    across = cos * v - sin * u + look.pennation[muscle] * from_border + 2.0 * patches
    bundles = sample(field, level, 0.75 * along + shift, 2.5 * across + shift) + 0.35 * holes
    septa = sample(field, level + 30, 0.20 * along + shift, 0.75 * across + shift) + 0.15 * holes
    streaks = np.maximum(ridges(bundles, 0.45), 1.3 * ridges(septa, 0.2))

    fullness = np.clip(0.8 + 0.45 * patches + 0.35 * holes, 0.1, 1.6)  # streaks are broken and come in groups
    place = look.streaks[muscle] * (3.5 * streaks * fullness - 1.1)
    place += look.patches[muscle] * patches
    place += look.holes[muscle] * holes
    place += look.rim[muscle] * np.clip(1 - from_border / 5, -1, 1)
    strands = np.maximum((1.6 - fullness) * ridges(bundles - 1, 0.45), ridges(septa + np.float32(0.9), 0.25))
    strands = np.maximum(strands, ridges(depth, 0.5))
    ceiling = MOST_FAT * np.minimum(0.92 - 0.22 * strands + 0.03 * holes, 1)

    spread = 1.5 * look.streaks**2 + look.patches**2 + look.holes**2 + 0.4 * look.rim**2
    haze = HAZE * infiltration.usual
    streaked = infiltration.fat_at(level) - haze * (1 - infiltration.replaced_at(level))
    mean = np.clip(streaked / HIGHEST_MEAN, 1e-3, 0.999)
    logit = np.log(mean / (1 - mean))
    # A spread before the logistic curve pulls its mean towards a half, which the root undoes for a normal spread; the
    # rest is fitted, since streaks are a skewed one.
    start = logit * np.sqrt(1 + np.pi / 8 * spread) + 0.1 - 0.08 * logit**2
    fat = np.zeros(section.muscle.shape, np.float32)
    fat[inside] = haze[muscle] + (ceiling - haze[muscle]) / (1 + np.exp(-(start[muscle] + place)))
    return fat


def oedema(section: Section, infiltration: Infiltration) -> Floats:
    """Give how oedematous the muscle is at every point of a section, 0 to 1, 0 outside muscle.

    It is a property of the muscle that is left: fat at the same point has none.
    """
    swollen = np.zeros(section.muscle.shape, np.float32)
    inside = section.muscle > 0
    inside[inside] = infiltration.swelling[section.muscle[inside] - 1] > 0
    u, v = section.u_mm[inside], section.v_mm[inside]
    clouds = sample(infiltration.field, section.level_mm + 130, 0.22 * u, 0.22 * v)
    swollen[inside] = infiltration.swelling[section.muscle[inside] - 1] * np.clip(0.7 + 0.5 * clouds, 0, 1)
    return swollen


def _single(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
