"""What disease does to muscle: which muscles, how much fat, in which texture, and how much they shrink."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from musclesense.cohort.table import Region
from musclesense.phantom.anatomy import Section
from musclesense.phantom.templates import TEMPLATES
from musclesense.phantom.texture import Floats, lattice, ridges, sample

END_STAGE = 0.85  # mean fat fraction of a muscle that is gone: what connective tissue leaves
MOST_FAT = 0.90  # that of fat tissue
DEEPEST_ATROPHY_MM = 2.5


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How a disease is spread over the muscles.

    Attributes:
        involvement: How much each muscle takes part at full severity, 0 to 1; muscles not named take ``others``.
        others: Involvement of the other muscles.
        scatter: Spread of involvement between muscles of one subject, as standard deviation.
        asymmetry: Spread of severity between the sides, as standard deviation.
        patchiness: Strength of patches that spare or replace parts of a muscle.
        streakiness: Strength of streaks along the fascicles.
    """

    involvement: Mapping[str, float]
    others: float
    scatter: float = 0.1
    asymmetry: float = 0.05
    patchiness: float = 0.8
    streakiness: float = 1.0


CONTROL = Pattern(involvement=MappingProxyType({}), others=0.1, scatter=0.03, asymmetry=0.01, patchiness=0.4)
"""No disease: a few percent of fat, more with age (Morrow et al., European Radiology 2014;24:1610-1620)."""

IBM = Pattern(
    involvement=MappingProxyType(
        {
            "vastus_lateralis": 0.95,
            "vastus_intermedius": 0.9,
            "vastus_medialis": 0.95,
            "rectus_femoris": 0.55,
            "sartorius": 0.55,
            "gastrocnemius_medial": 0.95,
            "gastrocnemius_lateral": 0.6,
            "soleus": 0.5,
            "tibialis_anterior": 0.55,
        }
    ),
    others=0.3,
    asymmetry=0.1,
    patchiness=1.3,
)
"""Inclusion body myositis: the vasti with relative sparing of rectus femoris, and the medial gastrocnemius
(Cox et al., Rheumatology 2011;50:1153-1161; Tasca et al., Muscle & Nerve 2015;52:956-962)."""

CMT = Pattern(
    involvement=MappingProxyType(
        {
            "peronei": 0.95,
            "tibialis_anterior": 0.75,
            "long_extensors": 0.8,
            "soleus": 0.6,
            "gastrocnemius_medial": 0.65,
            "gastrocnemius_lateral": 0.6,
            "long_flexors_medial": 0.4,
            "long_flexors_lateral": 0.45,
            "tibialis_posterior": 0.4,
        }
    ),
    others=0.15,
)
"""Charcot-Marie-Tooth disease 1A: distal, the lateral, anterior and superficial posterior compartments of the calf,
the thigh hardly (Gallardo et al., Brain 2006;129:426-437; Morrow et al., Lancet Neurology 2016;15:65-77)."""

ALS = Pattern(
    involvement=MappingProxyType({"tibialis_anterior": 0.35, "long_extensors": 0.3, "gastrocnemius_medial": 0.35}),
    others=0.2,
    scatter=0.08,
    asymmetry=0.12,
    streakiness=1.2,
)
"""Amyotrophic lateral sclerosis: little fat, atrophy, uneven sides (Klickovic et al., Neurology 2019;93:e895-e907)."""

KD = Pattern(
    involvement=MappingProxyType(
        {
            "biceps_femoris_long_head": 0.8,
            "biceps_femoris_short_head": 0.6,
            "semimembranosus": 0.8,
            "semitendinosus": 0.75,
            "adductor_magnus": 0.6,
            "gastrocnemius_medial": 0.85,
            "gastrocnemius_lateral": 0.75,
            "soleus": 0.8,
        }
    ),
    others=0.35,
    streakiness=1.4,
)
"""Kennedy's disease (spinal bulbar muscular atrophy): far more fat than ALS, the posterior muscles of thigh and calf
first (Klickovic et al., Neurology 2019;93:e895-e907)."""

PATTERNS: Mapping[str, Pattern] = MappingProxyType({"control": CONTROL, "IBM": IBM, "CMT": CMT, "ALS": ALS, "KD": KD})


@dataclass(frozen=True, kw_only=True, eq=False)
class Infiltration:
    """The state of the muscles of one limb at one time.

    Attributes:
        fat: Mean fat fraction of each muscle, 0 to 1, shape (muscles,).
        atrophy_mm: How far the border of each muscle has withdrawn, shape (muscles,).
        patchiness: Strength of patches.
        streakiness: Strength of streaks.
        fascicles: Direction of the fascicles in the section, radians, shape (muscles,).
        field: Lattice of the texture.
    """

    fat: Floats
    atrophy_mm: Floats
    patchiness: float
    streakiness: float
    fascicles: Floats
    field: Floats


def sample_infiltration(
    rng: np.random.Generator, pattern: Pattern, severity: float, region: Region
) -> tuple[Infiltration, Infiltration]:
    """Draw the muscles of the right and the left limb of a subject.

    Args:
        rng: Random state.
        pattern: The disease.
        severity: How far it has come, 0 (no fat beyond the usual) to 1.
        region: Thigh or calf.
    """
    names = list(TEMPLATES[region].muscles)
    involvement = np.array([pattern.involvement.get(name, pattern.others) for name in names])
    involvement = involvement + rng.normal(0, pattern.scatter, len(names))
    usual = rng.uniform(0.015, 0.04) * rng.lognormal(0, 0.25, len(names))
    fascicles = rng.uniform(0, np.pi, len(names))
    sides = []
    for _ in range(2):
        here = np.clip(severity + rng.normal(0, pattern.asymmetry), 0, 1)
        share = np.clip(here * (involvement + rng.normal(0, pattern.scatter / 2, len(names))), 0, 1)
        fat = usual + (END_STAGE - usual) * share**1.3
        sides.append(
            Infiltration(
                fat=fat.astype(np.float32),
                atrophy_mm=(DEEPEST_ATROPHY_MM * share * rng.uniform(0.3, 1.0, len(names))).astype(np.float32),
                patchiness=pattern.patchiness,
                streakiness=pattern.streakiness,
                fascicles=fascicles.astype(np.float32),
                field=lattice(rng),
            )
        )
    return sides[0], sides[1]


def infiltrate(section: Section, infiltration: Infiltration) -> Floats:
    """Give the fat fraction (0 to 1) of every point of a section, 0 outside muscle.

    Streaks along the fascicles, patches and a fine grain are added on the logistic scale, so that they are
    weak in healthy muscle and in muscle that is gone, and strong between. The tissue coordinates of the
    section carry the texture: it moves with the limb and is the same at every session.
    """
    inside = section.muscle > 0
    muscle = section.muscle[inside] - 1
    u, v = section.u_mm[inside], section.v_mm[inside]
    turn = infiltration.fascicles[muscle]
    along, across = np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u
    field, level, shift = infiltration.field, section.level_mm, 17.0 * muscle

    patches = sample(field, level + 50, 0.30 * u + shift, 0.30 * v + shift)
    streaks = ridges(sample(field, level, 0.45 * along + shift, 2.0 * across + shift), 0.25)
    streaks *= np.clip(0.7 + sample(field, level + 70, 0.5 * u, 0.5 * v), 0, 1.5)
    grain = sample(field, level + 90, 2.0 * u, 2.0 * v)
    mean = infiltration.fat[muscle]
    logit = np.log(mean / (1 - mean))
    logit += infiltration.streakiness * (2.0 * streaks - 0.4) + infiltration.patchiness * patches + 0.35 * grain
    fat = np.zeros(section.muscle.shape, np.float32)
    fat[inside] = np.minimum(1 / (1 + np.exp(-logit)), MOST_FAT)
    return fat
