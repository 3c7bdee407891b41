"""Builds of subjects, from ``builds.yaml``: athletes and the very lean, the obese, the old, children."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from musclesense.phantom.anatomy.limbs import Body, LimbAnatomy, Packing, child
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.tables import read_table

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Build:
    """Ranges from which a subject's body is drawn; ``builds.yaml`` tells what the fields are."""

    share: float
    body: Mapping[str, Range]
    calibre: Range
    packing: Mapping[str, Range]
    children: Range | None = None


class Drawn(NamedTuple):
    """A body, how tightly it is packed, and the size of its vessels."""

    body: Body
    packing: Packing
    calibre: float


SPARED = 0.15
"""Share of the muscles that are larger than others leave room for, as those that a disease spares are."""
USUALLY_MM: Mapping[str, float] = {"gracilis": 3.0}
"""How far a muscle pushes its neighbours away beyond its outline in the template, which is thin for it."""

BUILDS = {name: Build(**table) for name, table in read_table("anatomy/builds.yaml").items()}


def sample_build(rng: np.random.Generator, body: Body, name: str | None = None) -> Drawn:
    """Give an adult's body a build, or the one that is named.

    >>> rng = np.random.default_rng(0)
    >>> sample_build(rng, Body.sample(rng), "athletic").body.muscularity > 1.1
    True
    """
    shares = [build.share for build in BUILDS.values()]
    build = BUILDS[name or str(rng.choice(list(BUILDS), p=shares))]
    if build.children:
        body = child(rng, body, float(rng.uniform(*build.children)))
    own: Mapping[str, Any] = {name: float(rng.uniform(*span)) for name, span in build.body.items()}
    packing = Packing(**{name: float(rng.uniform(*span)) for name, span in build.packing.items()})
    return Drawn(replace(body, **own), packing, float(rng.uniform(*build.calibre)))


def vary_muscles(rng: np.random.Generator, limbs: tuple[LimbAnatomy, LimbAnatomy]) -> tuple[LimbAnatomy, LimbAnatomy]:
    """Draw how large each muscle is beside the others, alike on both sides, wider than in the cohorts.

    Where one grows, its neighbours are smaller; a thin muscle never wholly gives way by itself.
    """
    names = TEMPLATES[limbs[0].region].muscles
    usual = np.array([USUALLY_MM.get(name, 0.0) for name in names])
    spared = rng.uniform(2, 10, len(names)) * (rng.random(len(names)) < SPARED)
    wider = rng.uniform(1, 2.5)
    right, left = (
        replace(limb, growth_mm=(np.clip(wider * limb.growth_mm, -2, 5) + usual + spared).astype(np.float32))
        for limb in limbs
    )
    return right, left
