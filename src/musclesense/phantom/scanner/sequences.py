"""The contrast of the usual sequences, by the signal equation from density, fat fraction, T1, T2 and R2* of tissues.

Sources of the equations: Bernstein, King and Zhou, Handbook of MRI Pulse Sequences, 2004, chapters 14 and 16. Tissues
vary from slice to slice about ``tissues.yaml``; beyond physics, `Sequence.RANDOM` draws any brightness in which muscle
and fat differ, so that no contrast is new to a network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from musclesense.dixon.fat import LARMOR_MHZ, T1_FAT_MS, fat_phasor, spoiled_signal
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import (
    FLIP_DEGREES,
    OEDEMA_DENSITY,
    OEDEMA_T1,
    TR_MS,
    Drawing,
    by_tissue,
)
from musclesense.phantom.scanner.turbo_spin_echo import OEDEMA_T2, T2_FAT_MS
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Channel, Echo


class Sequence(StrEnum):
    """What kind of image it is."""

    GRADIENT_ECHO = "gradient echo"
    DIXON_FAT = "fat of a Dixon separation"
    DIXON_WATER = "water of a Dixon separation"
    IN_PHASE = "sum of fat and water"
    OUT_OF_PHASE = "difference of fat and water"
    SPIN_ECHO = "turbo spin echo"
    FAT_SUPPRESSED = "turbo spin echo with spectral fat suppression"
    INVERSION_RECOVERY = "short inversion time"
    LATE_ECHO = "late spin echo"
    BALANCED = "balanced gradient echo"
    RANDOM = "any brightness"


SHARES: Mapping[Sequence, float] = {
    Sequence.GRADIENT_ECHO: 0.19,
    Sequence.DIXON_FAT: 0.18,
    Sequence.DIXON_WATER: 0.09,
    Sequence.IN_PHASE: 0.03,
    Sequence.OUT_OF_PHASE: 0.05,
    Sequence.SPIN_ECHO: 0.20,
    Sequence.FAT_SUPPRESSED: 0.06,
    Sequence.INVERSION_RECOVERY: 0.04,
    Sequence.LATE_ECHO: 0.04,
    Sequence.BALANCED: 0.03,
    Sequence.RANDOM: 0.09,
}
"""How often each is drawn: a choice."""
LEAST_DIFFERENCE = 0.22
"""Of the logarithms of muscle and fat, where no dark line of opposed phases parts them."""
TRIES = 12
LOW_FIELD_T1, LOW_FIELD_T2 = 0.79, 1.15
"""T1 and T2 at 1.5 T relative to 3 T (Gold et al., American Journal of Roentgenology 2004;183:343-351)."""
RED_MARROW = 0.35
"""Share of the subjects whose marrow is red in part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tissues:
    """The physics of tissues in one subject: arrays whose index is the `Tissue`."""

    density: Floats  # relative to muscle
    fat_fraction: Floats  # 0 to 1; that of muscle is drawn
    r2star: Floats  # in 1/s
    t1_ms: Floats  # of water
    t2_ms: Floats  # of water
    t1_fat_ms: float
    t2_fat_ms: float
    larmor_mhz: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Tissues":
        """Draw a subject in a scanner of 1.5 or 3 T."""
        high = bool(rng.random() < 0.6)
        density, fraction, r2star, t1_ms, t2_ms = (
            by_tissue(name) * rng.lognormal(0, spread, len(Tissue))
            for name, spread in (
                ("density", 0.06),
                ("fat_fraction", 0.02),
                ("r2star", 0.2),
                ("t1_ms", 0.1),
                ("t2_ms", 0.12),
            )
        )
        density[Tissue.MUSCLE] = 1
        density[Tissue.SKIN], fraction[Tissue.SKIN] = rng.uniform(0.15, 1.1), rng.uniform(0, 0.6)
        density[Tissue.FASCIA] *= rng.uniform(0.2, 1.2)  # tendons are mostly black
        red = rng.random() < RED_MARROW
        fraction[Tissue.MARROW] = rng.uniform(0.25, 0.8) if red else rng.uniform(0.8, 0.97)
        t1_ms[Tissue.MARROW] = rng.uniform(600, 1400)
        density[Tissue.MARROW], r2star[Tissue.MARROW] = rng.uniform(0.6, 1.05), rng.uniform(40, 250)  # trabeculae
        fraction[Tissue.CONNECTIVE] *= rng.uniform(0.5, 1.15)
        for tissue in (Tissue.MASS, Tissue.ORGAN, Tissue.FLUID):  # of any kind: blood, pus, fibrous, with little fat
            t1_ms[tissue], t2_ms[tissue] = rng.lognormal(0, 0.35, 2) * (t1_ms[tissue], t2_ms[tissue])
            density[tissue], fraction[tissue] = rng.uniform(0.7, 1.1), rng.uniform(0, 0.15)
        return cls(
            density=density.astype(np.float32),
            fat_fraction=np.clip(fraction, 0, 1).astype(np.float32),
            r2star=(r2star * (1 if high else 0.5)).astype(np.float32),
            t1_ms=(t1_ms * (1 if high else LOW_FIELD_T1)).astype(np.float32),
            t2_ms=(t2_ms * (1 if high else LOW_FIELD_T2)).astype(np.float32),
            t1_fat_ms=T1_FAT_MS * (1 if high else LOW_FIELD_T1) * float(rng.uniform(0.85, 1.15)),
            t2_fat_ms=T2_FAT_MS * (1 if high else LOW_FIELD_T2) * float(rng.uniform(0.8, 1.2)),
            larmor_mhz=float(rng.uniform(123.2, 128.0)) if high else LARMOR_MHZ / 2,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """What a sequence makes of tissue."""

    sequence: Sequence
    water: Floats  # signal of water of density 1 in each `Tissue`
    fat: Floats  # the same of fat
    turn: complex = 1 + 0j  # phase of fat against water, and what is left of it by its many peaks
    oedema: float = 0.0  # relative change of muscle's water where it is wholly oedematous
    uneven: float = 0.0  # part of the fat that an uneven suppression leaves where it fails

    def shown(self, tissues: Tissues, tissue: Tissue, fraction: float | None = None) -> float:
        """Give the magnitude of a tissue, of its usual fat fraction or of another one."""
        part = float(tissues.fat_fraction[tissue]) if fraction is None else fraction
        water, fat = (1 - part) * self.water[tissue], part * self.fat[tissue] * self.turn
        return float(tissues.density[tissue] * abs(water + fat))


def sample_weights(rng: np.random.Generator, tissues: Tissues, sequence: Sequence | None = None) -> Weights:
    """Draw a sequence, or one of a kind, in which muscle can be told from fat.

    >>> rng = np.random.default_rng(0)
    >>> weights = sample_weights(rng, Tissues.sample(rng), Sequence.DIXON_FAT)
    >>> bool(weights.fat[Tissue.MUSCLE] > 4 * weights.water[Tissue.MUSCLE])
    True
    """
    names = list(SHARES)
    kind = sequence or names[int(rng.choice(len(names), p=list(SHARES.values())))]
    for _ in range(TRIES):
        weights = _MAKERS[kind](rng, tissues, kind)
        muscle = weights.shown(tissues, Tissue.MUSCLE, 0.04)
        fat = weights.shown(tissues, Tissue.SUBCUTANEOUS_FAT)
        if weights.turn.real < -0.3 or abs(np.log((muscle + 1e-9) / (fat + 1e-9))) > LEAST_DIFFERENCE:
            break
    return weights


Acquired = Callable[[np.random.Generator, Tissues, Sequence | None], dict[str, Weights]]
"""Draws how a slice is imaged: `Weights` by channel, of a sequence or of any."""


def one_image(rng: np.random.Generator, tissues: Tissues, sequence: Sequence | None) -> dict[str, Weights]:
    """Draw one image of a sequence, or of any."""
    return {Channel.IMAGE: sample_weights(rng, tissues, sequence)}


def three_echoes(rng: np.random.Generator, tissues: Tissues, sequence: Sequence | None) -> dict[str, Weights]:
    """Draw the paper's three gradient echoes: fat and water, separated, and the magnitudes of the outer echoes.

    Repetition time and flip angle differ between scanners; with a ``sequence`` they are the paper's. At 1.5 T the
    echoes lie a quarter of a turn beside opposed phase. Separation leaves a part of each in the other, most of it fat
    in water where one peak stands for all.

    >>> rng = np.random.default_rng(0)
    >>> [str(name) for name in three_echoes(rng, Tissues.sample(rng), None)]
    ['fat', 'water', 'te345', 'te575']
    """
    tr_ms, flip = (
        (TR_MS, FLIP_DEGREES) if sequence else (float(np.exp(rng.uniform(2.3, 6.0))), float(rng.uniform(5, 30)))
    )
    water = _flowing(rng, spoiled_signal(flip, tr_ms, tissues.t1_ms), (0.2, 1.0, 1.5))
    fat = np.full(len(Tissue), spoiled_signal(flip, tr_ms, tissues.t1_fat_ms), np.float32)
    swollen = spoiled_signal(flip, tr_ms, OEDEMA_T1 * tissues.t1_ms[Tissue.MUSCLE])
    oedema = float(swollen / spoiled_signal(flip, tr_ms, tissues.t1_ms[Tissue.MUSCLE]) * (1 + OEDEMA_DENSITY) - 1)
    of_water, of_fat = rng.uniform(0, (0.05, 0.1))

    def shown(sequence: Sequence, te_ms: float, parts: tuple[float, float], turn: complex) -> Weights:
        decay = np.exp(-tissues.r2star * np.float32(te_ms / 1000))
        own = [np.float32(part) * signal * decay for part, signal in zip(parts, (water, fat), strict=True)]
        return Weights(sequence=sequence, water=own[0], fat=own[1], turn=turn, oedema=oedema)

    outer = (Echo.TE345, Echo.TE575)
    return {
        Channel.FAT: shown(Sequence.DIXON_FAT, Echo.TE460.time_ms, (of_water, 1.0), 1),
        Channel.WATER: shown(Sequence.DIXON_WATER, Echo.TE460.time_ms, (1.0, of_fat), 1),
    } | {
        echo: shown(
            Sequence.GRADIENT_ECHO, echo.time_ms, (1.0, 1.0), fat_phasor(echo.time_ms, larmor_mhz=tissues.larmor_mhz)
        )
        for echo in outer
    }


def water_and_fat_shown(
    drawing: Drawing, tissues: Tissues, weights: Weights, of_compartment: Floats
) -> tuple[Floats, Floats]:
    """Give the signal of water and of fat, (rows, columns), averaged over the points of each voxel.

    ``of_compartment`` is the relative brightness of the water of each compartment, 1 at index 0.
    """
    left = (tissues.density * (1 - tissues.fat_fraction) * weights.water).astype(np.float32)
    shown = (tissues.density * tissues.fat_fraction * weights.fat).astype(np.float32)
    left[Tissue.MUSCLE], shown[Tissue.MUSCLE] = weights.water[Tissue.MUSCLE], 0
    water = left[drawing.tissue]
    water *= of_compartment[drawing.compartment]
    water *= 1 - drawing.muscle_fat
    if drawing.oedema.any():
        water *= 1 + np.float32(weights.oedema) * drawing.oedema
    fat = shown[drawing.tissue]
    fat += np.float32(weights.fat[Tissue.MUSCLE]) * drawing.muscle_fat
    water *= drawing.density
    fat *= drawing.density
    return water.mean(axis=0), fat.mean(axis=0)


_Maker = Callable[[np.random.Generator, Tissues, Sequence], Weights]


def _gradient_echo(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a spoiled gradient echo: in phase, out of phase, or at any echo time between."""
    tr_ms = float(np.exp(rng.uniform(np.log(4), np.log(600))))
    ernst = np.degrees(np.arccos(np.exp(-tr_ms / 900)))
    flip = float(np.clip(ernst * rng.lognormal(0, 0.5), 3, 80))
    period_ms = 1000 / (3.4 * tissues.larmor_mhz)
    phase = rng.choice([0.0, 0.5, float(rng.random())], p=[0.35, 0.3, 0.35])
    te_ms = period_ms * (phase + rng.integers(0 if phase > 0.2 else 1, 3))
    water = spoiled_signal(flip, tr_ms, tissues.t1_ms)
    fat = spoiled_signal(flip, tr_ms, tissues.t1_fat_ms)
    decay = np.exp(-tissues.r2star * np.float32(te_ms / 1000))
    swollen = spoiled_signal(flip, tr_ms, OEDEMA_T1 * tissues.t1_ms[Tissue.MUSCLE]) / water[Tissue.MUSCLE]
    return Weights(
        sequence=kind,
        water=_flowing(rng, water * decay, (0.2, 1.0, 3.0)),
        fat=fat * decay,
        turn=fat_phasor(te_ms, larmor_mhz=tissues.larmor_mhz),
        oedema=float(swollen * (1 + OEDEMA_DENSITY) - 1),
    )


def _separated(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw fat or water of a Dixon separation, of gradient or spin echoes, or the sum or difference of both."""
    source = _gradient_echo if rng.random() < 0.75 else _spin_echo
    made = source(rng, tissues, kind)
    part = float(rng.uniform(0, 0.08))
    water, fat, turn = {
        Sequence.DIXON_FAT: (part, 1.0, 1),
        Sequence.DIXON_WATER: (1.0, part, 1),
        Sequence.IN_PHASE: (1.0, 1.0, 1),
        Sequence.OUT_OF_PHASE: (1.0, 1.0, -1),
    }[kind]
    own = made.water * np.float32(water), made.fat * np.float32(fat)
    return Weights(sequence=kind, water=own[0], fat=own[1], turn=complex(turn), oedema=made.oedema)


def _spin_echo(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a turbo spin echo, T1-weighted, of proton density or T2-weighted."""
    weighting = int(rng.choice(3, p=(0.5, 0.2, 0.3)))
    tr_ms, te_ms = rng.uniform(
        ((350, 6), (1500, 8), (2000, 45))[weighting], ((950, 22), (5000, 40), (6000, 125))[weighting]
    )
    return _echoed(rng, tissues, kind, float(tr_ms), float(te_ms))


def _late_echo(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a late echo of a multi-echo spin echo, which looks like a fat image."""
    return _echoed(rng, tissues, kind, float(rng.uniform(1500, 5000)), float(rng.uniform(80, 220)))


def _fat_suppressed(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a turbo spin echo with spectral fat suppression, incomplete and at times uneven."""
    made = _spin_echo(rng, tissues, kind)
    fat = made.fat * np.float32(rng.uniform(0.02, 0.35))
    uneven = float(rng.uniform(0.2, 1.0)) if rng.random() < 0.35 else 0.0
    return Weights(sequence=kind, water=made.water, fat=fat, oedema=made.oedema, uneven=uneven)


def _inversion_recovery(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a turbo spin echo with an inversion time that nulls fat, nearly."""
    inversion_ms = np.log(2) * tissues.t1_fat_ms * float(rng.uniform(0.75, 1.1))
    tr_ms = float(rng.uniform(2500, 6000))
    made = _echoed(rng, tissues, kind, 1e6, float(rng.uniform(10, 70)))

    def recovered(t1_ms: Floats | np.float32) -> Floats:
        return np.asarray(1 - 2 * np.exp(-inversion_ms / t1_ms) + np.exp(-tr_ms / t1_ms), np.float32)

    fat = made.fat * recovered(np.float32(tissues.t1_fat_ms))
    return Weights(sequence=kind, water=made.water * recovered(tissues.t1_ms), fat=fat, oedema=made.oedema)


def _balanced(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw a balanced gradient echo in its steady state, fat in or out of phase."""
    flip, tr_ms = np.radians(rng.uniform(25, 75)), float(rng.uniform(3, 8))

    def steady(t1_ms: Floats | np.float32, t2_ms: Floats | np.float32) -> Floats:
        e1, e2 = np.exp(-tr_ms / t1_ms), np.exp(-tr_ms / t2_ms)
        return np.asarray(np.sin(flip) * (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2), np.float32)

    water = _flowing(rng, steady(tissues.t1_ms, tissues.t2_ms), (0.6, 1.0, 1.5))
    fat = np.full(len(Tissue), steady(np.float32(tissues.t1_fat_ms), np.float32(tissues.t2_fat_ms)), np.float32)
    return Weights(sequence=kind, water=water, fat=fat, turn=complex(rng.choice([-1.0, 1.0])))


def _random(rng: np.random.Generator, tissues: Tissues, kind: Sequence) -> Weights:
    """Draw any brightness of muscle and of fat, clearly different, and of the others within bounds."""
    apart = np.exp(rng.uniform(0.4, 2.5)) ** rng.choice([-1, 1])
    water, fat = rng.lognormal(0, 0.35, (2, len(Tissue))).astype(np.float32)
    water[Tissue.MUSCLE], fat[[Tissue.SUBCUTANEOUS_FAT, Tissue.INTERMUSCULAR_FAT, Tissue.MUSCLE]] = 1, 1
    return Weights(
        sequence=kind,
        water=_flowing(rng, water, (0.1, 1.0, 2.5)),
        fat=np.float32(apart) * fat,
        oedema=float(rng.uniform(-0.3, 0.8)),
    )


_MAKERS: Mapping[Sequence, _Maker] = {
    Sequence.GRADIENT_ECHO: _gradient_echo,
    Sequence.DIXON_FAT: _separated,
    Sequence.DIXON_WATER: _separated,
    Sequence.IN_PHASE: _separated,
    Sequence.OUT_OF_PHASE: _separated,
    Sequence.SPIN_ECHO: _spin_echo,
    Sequence.FAT_SUPPRESSED: _fat_suppressed,
    Sequence.INVERSION_RECOVERY: _inversion_recovery,
    Sequence.LATE_ECHO: _late_echo,
    Sequence.BALANCED: _balanced,
    Sequence.RANDOM: _random,
}


def _echoed(rng: np.random.Generator, tissues: Tissues, kind: Sequence, tr_ms: float, te_ms: float) -> Weights:
    """Give a turbo spin echo of these times; trains of refocusing pulses make fat brighter than its T2 says."""
    water = _spin(tr_ms, te_ms, tissues.t1_ms, tissues.t2_ms)
    gain = rng.uniform(1.0, 1.6)
    fat = np.float32(gain) * _spin(tr_ms, te_ms, np.float32(tissues.t1_fat_ms), np.float32(tissues.t2_fat_ms))
    muscle = tissues.t1_ms[Tissue.MUSCLE], tissues.t2_ms[Tissue.MUSCLE]
    swollen = _spin(tr_ms, te_ms, OEDEMA_T1 * muscle[0], OEDEMA_T2 * muscle[1]) / water[Tissue.MUSCLE]
    oedema = float(swollen * (1 + OEDEMA_DENSITY) - 1)
    fat_shown = np.full(len(Tissue), fat, np.float32)
    fat_shown[Tissue.CORTEX] = 0
    return Weights(sequence=kind, water=_flowing(rng, water, (0.05, 0.4, 1.0)), fat=fat_shown, oedema=oedema)


def _flowing(rng: np.random.Generator, water: Floats, factors: tuple[float, ...]) -> Floats:
    """Let flow empty vessels, saturate or refresh them."""
    own = water.astype(np.float32)
    own[Tissue.BLOOD] *= np.float32(rng.choice(factors) * rng.lognormal(0, 0.2))
    return own


def _spin(tr_ms: float, te_ms: float, t1_ms: Floats | np.float32, t2_ms: Floats | np.float32) -> Floats:
    return np.asarray((1 - np.exp(-tr_ms / t1_ms)) * np.exp(-te_ms / t2_ms), np.float32)
