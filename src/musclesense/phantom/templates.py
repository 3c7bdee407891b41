"""Cross-sections of thigh and calf at mid-level, as control points from anatomical knowledge.

The frame is that of a right limb seen in radiological display: x grows towards medial, y towards posterior,
and 1 is the mean radius of the muscle envelope (the deep fascia). A left limb is its mirror image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from musclesense.cohort.table import Region

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Bone:
    """A long bone: its outer surface, and the thickness of its cortex as a part of the frame's unit."""

    outline: Points
    cortex: float


@dataclass(frozen=True, kw_only=True)
class Vessel:
    """A vessel or nerve that runs along the limb; ``radius_mm`` does not scale with the limb."""

    centre: tuple[float, float]
    radius_mm: float
    nerve: bool = False


@dataclass(frozen=True, kw_only=True)
class Template:
    """What lies where in a cross-section.

    Attributes:
        envelope: The deep fascia.
        muscles: Outline of each muscle; neighbours may abut or leave a gap, which becomes fat.
        unlabelled: Muscles that the paper's whole-muscle mask leaves out.
        bones: Bones, drawn over the muscles.
        vessels: Deep vessels and nerves, each in a sleeve of fat.
        veins: Superficial veins, by angle (degrees, from medial towards posterior).
        radius_mm: Usual half width of the envelope (x, y) in an adult.
        fat_mm: Usual thickness of the subcutaneous fat in an adult.
        fat_by_angle: Relative thickness of the subcutaneous fat at medial, posterior, lateral and anterior.
        taper: Relative growth of the envelope per mm towards the hip.
    """

    envelope: Points
    muscles: Mapping[str, Points]
    unlabelled: frozenset[str]
    bones: Mapping[str, Bone]
    vessels: tuple[Vessel, ...]
    veins: tuple[float, ...]
    radius_mm: tuple[float, float]
    fat_mm: float
    fat_by_angle: tuple[float, float, float, float]
    taper: float


THIGH = Template(
    envelope=(
        (0.00, -1.07),
        (0.35, -0.99),
        (0.66, -0.76),
        (0.90, -0.38),
        (1.01, 0.05),
        (0.97, 0.45),
        (0.80, 0.78),
        (0.50, 1.02),
        (0.10, 1.12),
        (-0.30, 1.07),
        (-0.60, 0.86),
        (-0.84, 0.52),
        (-1.00, 0.10),
        (-0.97, -0.38),
        (-0.78, -0.76),
        (-0.42, -1.01),
    ),
    muscles={
        "rectus_femoris": (
            (-0.42, -0.92),
            (-0.28, -1.04),
            (-0.05, -1.06),
            (0.12, -0.98),
            (0.12, -0.84),
            (-0.08, -0.74),
            (-0.32, -0.76),
        ),
        "vastus_lateralis": (
            (-0.46, -0.90),
            (-0.74, -0.74),
            (-0.93, -0.40),
            (-0.97, 0.05),
            (-0.86, 0.40),
            (-0.62, 0.58),
            (-0.46, 0.34),
            (-0.55, 0.05),
            (-0.58, -0.25),
            (-0.53, -0.50),
            (-0.42, -0.70),
        ),
        "vastus_intermedius": (
            (-0.40, -0.66),
            (-0.14, -0.70),
            (0.06, -0.66),
            (0.14, -0.45),
            (0.08, -0.22),
            (-0.08, -0.06),
            (-0.22, 0.05),
            (-0.34, 0.30),
            (-0.45, 0.27),
            (-0.53, 0.02),
            (-0.56, -0.25),
            (-0.51, -0.48),
        ),
        "vastus_medialis": (
            (0.12, -0.70),
            (0.20, -0.86),
            (0.40, -0.84),
            (0.58, -0.68),
            (0.62, -0.46),
            (0.50, -0.28),
            (0.26, -0.18),
            (0.03, -0.10),
            (0.12, -0.26),
            (0.17, -0.46),
        ),
        "sartorius": (
            (0.64, -0.66),
            (0.76, -0.52),
            (0.90, -0.22),
            (0.92, -0.08),
            (0.82, -0.12),
            (0.72, -0.28),
            (0.66, -0.46),
        ),
        "gracilis": ((0.90, 0.02), (0.98, 0.06), (0.99, 0.28), (0.91, 0.48), (0.82, 0.44), (0.84, 0.18)),
        "adductor_longus": (
            (0.10, -0.10),
            (0.34, -0.15),
            (0.54, -0.18),
            (0.70, -0.12),
            (0.66, 0.02),
            (0.40, 0.06),
            (0.14, 0.02),
        ),
        "adductor_magnus": (
            (-0.06, 0.02),
            (0.14, 0.06),
            (0.42, 0.10),
            (0.66, 0.06),
            (0.80, 0.10),
            (0.80, 0.42),
            (0.62, 0.52),
            (0.34, 0.46),
            (0.10, 0.34),
            (-0.02, 0.20),
        ),
        "biceps_femoris_long_head": (
            (-0.58, 0.68),
            (-0.40, 0.54),
            (-0.18, 0.58),
            (-0.06, 0.76),
            (-0.08, 0.96),
            (-0.24, 1.03),
            (-0.46, 0.90),
        ),
        "biceps_femoris_short_head": (
            (-0.20, 0.08),
            (-0.12, 0.12),
            (-0.18, 0.34),
            (-0.34, 0.50),
            (-0.50, 0.56),
            (-0.44, 0.42),
            (-0.30, 0.30),
        ),
        "semitendinosus": (
            (0.00, 0.72),
            (0.16, 0.64),
            (0.34, 0.74),
            (0.36, 0.94),
            (0.18, 1.07),
            (-0.02, 1.06),
            (-0.05, 0.88),
        ),
        "semimembranosus": (
            (0.24, 0.58),
            (0.46, 0.60),
            (0.72, 0.58),
            (0.80, 0.60),
            (0.72, 0.78),
            (0.50, 0.96),
            (0.40, 0.90),
            (0.38, 0.74),
        ),
    },
    unlabelled=frozenset({"adductor_longus"}),
    bones={
        "femur": Bone(
            outline=(
                (-0.32, -0.42),
                (-0.16, -0.48),
                (0.00, -0.40),
                (0.05, -0.25),
                (-0.02, -0.12),
                (-0.14, -0.03),
                (-0.28, -0.10),
                (-0.37, -0.26),
            ),
            cortex=0.10,
        )
    },
    vessels=(
        Vessel(centre=(0.64, -0.27), radius_mm=3.6),
        Vessel(centre=(0.70, -0.19), radius_mm=4.2),
        Vessel(centre=(0.01, 0.00), radius_mm=2.2),
        Vessel(centre=(-0.04, 0.47), radius_mm=4.0, nerve=True),
    ),
    veins=(-25.0,),
    radius_mm=(61.0, 64.0),
    fat_mm=10.0,
    fat_by_angle=(1.25, 1.15, 0.95, 0.8),
    taper=0.0016,
)

CALF = Template(
    envelope=(
        (0.10, -1.00),
        (0.32, -0.84),
        (0.54, -0.60),
        (0.74, -0.36),
        (0.92, -0.05),
        (1.00, 0.25),
        (0.90, 0.60),
        (0.62, 0.90),
        (0.20, 1.03),
        (-0.25, 1.00),
        (-0.64, 0.82),
        (-0.90, 0.48),
        (-1.02, 0.08),
        (-0.96, -0.34),
        (-0.70, -0.72),
        (-0.32, -0.97),
    ),
    muscles={
        "tibialis_anterior": (
            (-0.04, -0.94),
            (-0.30, -0.94),
            (-0.56, -0.72),
            (-0.52, -0.44),
            (-0.36, -0.26),
            (-0.14, -0.32),
            (-0.02, -0.55),
            (0.02, -0.78),
        ),
        "long_extensors": (
            (-0.62, -0.72),
            (-0.80, -0.50),
            (-0.88, -0.30),
            (-0.74, -0.18),
            (-0.56, -0.15),
            (-0.40, -0.24),
            (-0.50, -0.42),
        ),
        "peronei": (
            (-0.90, -0.30),
            (-0.97, -0.05),
            (-0.95, 0.22),
            (-0.82, 0.30),
            (-0.70, 0.18),
            (-0.72, 0.00),
            (-0.78, -0.14),
        ),
        "tibialis_posterior": (
            (-0.46, -0.14),
            (-0.18, -0.22),
            (0.02, -0.26),
            (0.08, -0.12),
            (-0.02, 0.06),
            (-0.22, 0.12),
            (-0.42, 0.06),
        ),
        "long_flexors_medial": (
            (0.14, -0.26),
            (0.40, -0.30),
            (0.62, -0.28),
            (0.52, -0.14),
            (0.28, -0.04),
            (0.12, -0.08),
        ),
        "long_flexors_lateral": (
            (-0.62, 0.18),
            (-0.44, 0.10),
            (-0.26, 0.16),
            (-0.30, 0.28),
            (-0.52, 0.34),
            (-0.66, 0.28),
        ),
        "soleus": (
            (-0.90, 0.34),
            (-0.68, 0.34),
            (-0.48, 0.38),
            (-0.24, 0.30),
            (0.02, 0.14),
            (0.28, 0.02),
            (0.56, -0.12),
            (0.74, -0.24),
            (0.86, -0.06),
            (0.80, 0.16),
            (0.50, 0.38),
            (0.12, 0.52),
            (-0.36, 0.60),
            (-0.74, 0.56),
        ),
        "gastrocnemius_medial": (
            (0.90, -0.02),
            (0.98, 0.24),
            (0.88, 0.58),
            (0.60, 0.88),
            (0.22, 0.99),
            (0.06, 0.90),
            (0.10, 0.60),
            (0.48, 0.46),
            (0.78, 0.24),
        ),
        "gastrocnemius_lateral": (
            (-0.02, 0.98),
            (-0.26, 0.97),
            (-0.62, 0.80),
            (-0.84, 0.58),
            (-0.70, 0.62),
            (-0.36, 0.66),
            (0.02, 0.60),
            (0.02, 0.80),
        ),
    },
    unlabelled=frozenset(),
    bones={
        "tibia": Bone(
            outline=(
                (0.08, -0.95),
                (0.20, -0.90),
                (0.44, -0.62),
                (0.60, -0.42),
                (0.52, -0.32),
                (0.28, -0.30),
                (0.06, -0.32),
                (0.00, -0.46),
                (0.03, -0.72),
            ),
            cortex=0.10,
        ),
        "fibula": Bone(
            outline=(
                (-0.70, -0.14),
                (-0.58, -0.16),
                (-0.50, -0.06),
                (-0.52, 0.08),
                (-0.62, 0.14),
                (-0.71, 0.06),
                (-0.74, -0.04),
            ),
            cortex=0.075,
        ),
    },
    vessels=(
        Vessel(centre=(-0.34, -0.19), radius_mm=1.9),
        Vessel(centre=(0.14, 0.01), radius_mm=2.2),
        Vessel(centre=(0.05, 0.07), radius_mm=1.8),
        Vessel(centre=(-0.34, 0.15), radius_mm=2.2),
        Vessel(centre=(0.22, -0.04), radius_mm=1.9, nerve=True),
    ),
    veins=(-35.0, 95.0),
    radius_mm=(49.0, 50.0),
    fat_mm=6.5,
    fat_by_angle=(1.2, 1.25, 0.9, 0.65),
    taper=0.0012,
)

TEMPLATES: Mapping[Region, Template] = {Region.THIGH: THIGH, Region.CALF: CALF}
