"""The diseases: which muscles each takes, and how it looks in them.

To add a disease, add its `Pattern` and its name in `PATTERNS` here, and a group of subjects to a preset in
``cohorts/presets.py``. Involvements are read off the literature that stands with each pattern, by eye: most of it
grades muscles on a scale of a few steps, so that the figures here are approximate. What the groups then hold is in
docs/reports/2026-11-phantom.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How a disease is spread over the muscles, and how it looks in them.

    Attributes:
        involvement: How much each muscle takes part at full severity, 0 to 1; muscles not named take ``others``.
        others: Involvement of the other muscles.
        scatter: Spread of involvement between muscles of one subject, as standard deviation.
        asymmetry: Spread of severity between the sides, as standard deviation of its logarithm.
        distal_slope: Relative rise of the disease per mm away from the hip.
        wasting_mm: How far the border of a muscle withdraws at full involvement.
        oedema: Chance that a muscle is oedematous, and how strongly, each 0 to 1.
        patchiness: Strength of patches that spare or replace parts of a muscle.
        streakiness: Strength of streaks along the fascicles.
        males_only: Women do not fall ill with it.
    """

    involvement: Mapping[str, float]
    others: float
    scatter: float = 0.12
    asymmetry: float = 0.08
    distal_slope: float = 0.0
    wasting_mm: float = 2.2
    oedema: tuple[float, float] = (0.0, 0.0)
    patchiness: float = 1.0
    streakiness: float = 1.0
    males_only: bool = False


CONTROL = Pattern(involvement=MappingProxyType({}), others=0.25, scatter=0.04, asymmetry=0.02, patchiness=0.6)
"""No disease: a few percent of fat, more with age (Morrow et al., European Radiology 2014;24:1610-1620)."""

# fmt: off
IBM = Pattern(
    involvement=MappingProxyType({
        "vastus_lateralis": 1.0, "vastus_intermedius": 0.95, "vastus_medialis": 1.0, "rectus_femoris": 0.6,
        "sartorius": 0.6, "adductor_longus": 0.2, "adductor_magnus": 0.3, "adductor_brevis": 0.2,
        "gastrocnemius_medial": 0.95, "gastrocnemius_lateral": 0.6, "soleus": 0.55, "tibialis_anterior": 0.6,
        "long_extensors": 0.5, "peronei": 0.5,
    }),
    others=0.4,
    asymmetry=0.15,
    distal_slope=0.002,
    oedema=(0.25, 0.8),
    patchiness=1.3,
)
"""Inclusion body myositis: the vasti, with relative sparing of rectus femoris and the adductors, and all of the lower
leg, the medial gastrocnemius most; inflammation in 78 % of the patients, in two of 68 muscles in the median (Cox et
al., Rheumatology 2011;50:1153-1161). That a quarter of the muscles is oedematous here is our assumption, and far more.
The pattern is typical enough to tell it from other myopathies (Tasca et al., Muscle & Nerve 2015;52:956-962). More fat
in the thigh than in the leg, and a gradient along quadriceps and medial gastrocnemius (Ansari et al., Muscle & Nerve
2020;61:496-503), taken here to rise distally."""

CMT = Pattern(
    involvement=MappingProxyType({
        "peronei": 0.95, "tibialis_anterior": 0.8, "long_extensors": 0.85, "soleus": 0.6, "gastrocnemius_medial": 0.7,
        "gastrocnemius_lateral": 0.65, "long_flexors_medial": 0.4, "long_flexors_lateral": 0.45,
        "tibialis_posterior": 0.4, "popliteus": 0.25,
    }),
    others=0.25,
    distal_slope=0.006,
    oedema=(0.15, 0.5),
)
"""Charcot-Marie-Tooth disease 1A: length dependent, the anterior and lateral compartments of the leg most (16 patients:
Bas et al., Fat fraction distribution in lower limb muscles of patients with CMT1A, Neurology 2020). Of five patients,
tibialis anterior held 16 %, medial gastrocnemius 22 % and peroneus longus 35 % of fat, the first and the last about 3
points more with each centimetre distally (Evans et al., Journal of Neurology, Neurosurgery & Psychiatry 2014;85:e4). Of
34 patients, the leg held 28, 30 and 41 % at its proximal, middle and distal level (Sun et al., Frontiers in Neurology
2024;14:1334976). The thigh is known to hold less; how much is recalled. Oedema is our assumption; we found no
source."""

ALS = Pattern(
    involvement=MappingProxyType({"tibialis_anterior": 0.4, "long_extensors": 0.35, "gastrocnemius_medial": 0.35}),
    others=0.15,
    scatter=0.06,
    asymmetry=0.2,
    wasting_mm=7.0,
    oedema=(0.7, 0.7),
    streakiness=1.2,
)
"""Amyotrophic lateral sclerosis: no significant fat is reported, but marked hyperintensity on STIR images of the lower
limbs, which tells it from Kennedy's disease (Klickovic et al., Neurology 2019;93:e895-e907). Wasting and the muscles
named are those of foot drop, from general knowledge."""

KD = Pattern(
    involvement=MappingProxyType({
        "gastrocnemius_medial": 0.85, "gastrocnemius_lateral": 0.8, "soleus": 0.8, "biceps_femoris_long_head": 0.8,
        "biceps_femoris_short_head": 0.65, "semimembranosus": 0.8, "semitendinosus": 0.75, "gluteus_maximus": 0.6,
        "adductor_magnus": 0.5, "vastus_lateralis": 0.45, "vastus_intermedius": 0.45, "vastus_medialis": 0.45,
        "rectus_femoris": 0.4, "gracilis": 0.3, "sartorius": 0.35, "tibialis_anterior": 0.25, "long_extensors": 0.25,
    }),
    others=0.35,
    oedema=(0.15, 0.5),
    streakiness=1.4,
    males_only=True,
)
"""Kennedy's disease (spinal bulbar muscular atrophy): significant fat in thigh and calf, unlike ALS (Klickovic et al.,
Neurology 2019;93:e895-e907), first in the posterior calf, then the posterior thigh, the pelvis, the anterior and the
medial thigh and last the anterior calf (Kim et al., Annals of Neurology 2024;95:596-606). Oedema is our assumption: the
former found it to be marked in ALS alone. It is inherited with the X chromosome."""

HYPOPP = Pattern(
    involvement=MappingProxyType({
        "biceps_femoris_long_head": 0.75, "biceps_femoris_short_head": 0.6, "semimembranosus": 0.75,
        "semitendinosus": 0.7, "adductor_magnus": 0.5, "gluteus_maximus": 0.5, "iliopsoas": 0.75,
        "gastrocnemius_medial": 0.75, "gastrocnemius_lateral": 0.7, "soleus": 0.7,
    }),
    others=0.3,
    scatter=0.2,
    oedema=(0.3, 0.8),
    patchiness=1.2,
)
"""Hypokalaemic periodic paralysis: from no fat at all to a fixed myopathy, with age; psoas and iliacus, the posterior
thigh, gastrocnemius and soleus most (55 carriers of CACNA1S variants: Holm-Yildiz et al., Permanent muscle weakness in
hypokalemic periodic paralysis, Neurology 2020). Over all periodic paralyses 78 % of patients had fat on MRI, and some
hyperintensity around tendons on STIR images (Vivekanandam et al., Muscle & Nerve 2023;68:439-450)."""

DMD = Pattern(
    involvement=MappingProxyType({
        "adductor_magnus": 0.95, "gluteus_maximus": 0.95, "biceps_femoris_long_head": 0.9, "vastus_lateralis": 0.85,
        "vastus_intermedius": 0.85, "vastus_medialis": 0.8, "rectus_femoris": 0.8, "biceps_femoris_short_head": 0.65,
        "semimembranosus": 0.6, "semitendinosus": 0.55, "sartorius": 0.25, "gracilis": 0.15, "adductor_longus": 0.3,
        "peronei": 0.85, "gastrocnemius_medial": 0.75, "gastrocnemius_lateral": 0.65, "soleus": 0.65,
        "tibialis_anterior": 0.35, "tibialis_posterior": 0.15,
    }),
    others=0.4,
    wasting_mm=1.0,
    oedema=(0.5, 0.8),
    patchiness=0.8,
    males_only=True,
)
"""Duchenne muscular dystrophy: gluteus maximus and adductor magnus most (Tang et al., Chinese Journal of Contemporary
Pediatrics 2022;24:1231-1237), then quadriceps and biceps femoris, less in semimembranosus and semitendinosus, sparing
sartorius, gracilis and adductor longus, oedema in 30 of 48 (Muscle magnetic resonance imaging of Duchenne muscular
dystrophy: the abstract alone was read, its authors and journal are not known to us). In the leg the peronei, then
medial gastrocnemius and soleus (Torriani et al., Skeletal Radiology 2012;41:437-445); that tibialis posterior and
anterior are spared fits the T2 of a longitudinal study (PMC4955760, table 2). It is inherited with the X chromosome."""
# fmt: on

PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {"control": CONTROL, "IBM": IBM, "CMT": CMT, "ALS": ALS, "KD": KD, "HYPOPP": HYPOPP, "DMD": DMD}
)
