"""The contrast of sequences: what textbooks say of each, muscle apart from fat in all."""

import numpy as np
import pytest

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.sequences import (
    SHARES,
    Sequence,
    Tissues,
    Weights,
    sample_weights,
    three_echoes,
    water_and_fat_shown,
)
from musclesense.phantom.scanner.signal import Drawing
from musclesense.vocabulary import EDITIONS


def drawn(sequence: Sequence, count: int = 40) -> list[tuple[Tissues, Weights]]:
    made = []
    for number in range(count):
        rng = np.random.default_rng([2, number])
        tissues = Tissues.sample(rng)
        made.append((tissues, sample_weights(rng, tissues, sequence)))
    return made


def ratio(tissues: Tissues, weights: Weights) -> float:
    """Of fat tissue to muscle."""
    return weights.shown(tissues, Tissue.SUBCUTANEOUS_FAT) / weights.shown(tissues, Tissue.MUSCLE, 0.04)


def test_every_sequence_has_a_share() -> None:
    assert set(SHARES) == set(Sequence)
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("sequence", Sequence)
def test_muscle_can_be_told_from_fat(sequence: Sequence) -> None:
    """By its brightness, or by the dark line around it where fat and water are opposed."""
    apart = [abs(np.log(ratio(*one))) > 0.2 or one[1].turn.real < -0.3 for one in drawn(sequence)]
    assert np.mean(apart) > 0.95
    for tissues, weights in drawn(sequence, 10):
        assert np.isfinite(weights.water).all() and np.isfinite(weights.fat).all()
        assert weights.shown(tissues, Tissue.AIR) == 0


@pytest.mark.parametrize(
    ("sequence", "fat_is_bright"),
    [
        (Sequence.DIXON_FAT, True),
        (Sequence.LATE_ECHO, True),
        (Sequence.DIXON_WATER, False),
        (Sequence.INVERSION_RECOVERY, False),
    ],
)
def test_fat_is_bright_or_dark_as_its_name_says(sequence: Sequence, fat_is_bright: bool) -> None:
    ratios = np.array([ratio(*one) for one in drawn(sequence)])
    assert np.mean((ratios > 1) == fat_is_bright) > 0.9


def test_any_brightness_goes_both_ways() -> None:
    ratios = np.array([ratio(*one) for one in drawn(Sequence.RANDOM, 100)])
    assert 0.3 < np.mean(ratios > 1) < 0.7
    assert ratios.min() < 0.3 and ratios.max() > 4


def test_gradient_echoes_are_in_phase_out_of_phase_and_between() -> None:
    turns = np.array([one.turn for _, one in drawn(Sequence.GRADIENT_ECHO, 100)])
    assert (turns.real > 0.5).mean() > 0.2 and (turns.real < -0.5).mean() > 0.2
    assert (np.abs(turns.imag) > 0.5).any()


def test_marrow_is_as_bright_as_fat_or_as_dark_as_muscle() -> None:
    parts = []
    for tissues, weights in drawn(Sequence.SPIN_ECHO, 100):
        marrow, fat = (weights.shown(tissues, name) for name in (Tissue.MARROW, Tissue.SUBCUTANEOUS_FAT))
        parts.append(
            (marrow - weights.shown(tissues, Tissue.MUSCLE, 0.04)) / (fat - weights.shown(tissues, Tissue.MUSCLE, 0.04))
        )
    assert np.quantile(parts, 0.05) < 0.35 and np.quantile(parts, 0.8) > 0.7


def test_shown_is_what_a_voxel_of_one_tissue_gives() -> None:
    tissue = np.array([[[Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT, Tissue.AIR, Tissue.MUSCLE]]], np.uint8)
    zeros = np.zeros(tissue.shape, np.float32)
    share = np.array([[[0.04, 0, 0, 0.5]]], np.float32)
    compartment = np.array([[[7, 0, 0, 0]]], np.uint8)
    drawing = Drawing(tissue=tissue, muscle_fat=share, density=zeros + 1, oedema=zeros, compartment=compartment)
    tissues, weights = drawn(Sequence.IN_PHASE, 1)[0]
    factors = np.ones(256, np.float32)
    water, fat = water_and_fat_shown(drawing, tissues, weights, factors)
    expected = [weights.shown(tissues, Tissue.MUSCLE, 0.04), weights.shown(tissues, Tissue.SUBCUTANEOUS_FAT), 0]
    np.testing.assert_allclose((water + fat)[0, :3], expected, rtol=1e-4)
    factors[7] = 1.5
    brighter, _ = water_and_fat_shown(drawing, tissues, weights, factors)
    np.testing.assert_allclose(brighter[0] / np.maximum(water[0], 1e-9), [1.5, 1, 0, 1], rtol=1e-4)


def test_three_echoes_are_the_images_of_the_professional_edition() -> None:
    acquired = [three_echoes(np.random.default_rng(0), tissues, None) for tissues, _ in drawn(Sequence.RANDOM, 3)]
    assert all(tuple(one) == EDITIONS["professional"] for one in acquired)


@pytest.mark.parametrize(("sequence", "spread"), [(Sequence.DIXON_FAT, 1e-9), (None, 0.1)])
def test_echoes_lie_opposed_at_three_tesla_and_beside_it_at_half_of_that(
    sequence: Sequence | None, spread: float
) -> None:
    ratios = []
    for number in range(30):
        rng = np.random.default_rng([5, number])
        tissues = Tissues.sample(rng)
        shown = three_echoes(rng, tissues, sequence)
        turns = np.angle([shown[name].turn for name in ("te345", "te575")], deg=True)
        if tissues.larmor_mhz > 100:
            assert (np.abs(turns) > 140).all()
        else:
            assert (np.abs(np.abs(turns) - 90) < 35).all() and turns[0] * turns[1] < 0
        assert ratio(tissues, shown["fat"]) > 4 and ratio(tissues, shown["water"]) < 0.6
        marrow = shown["te575"].water[Tissue.MARROW] / shown["te345"].water[Tissue.MARROW]
        decay = np.exp(-tissues.r2star[Tissue.MARROW] * 2.3e-3)
        assert marrow == pytest.approx(decay, rel=1e-4)
        ratios.append(float(shown["te345"].fat[Tissue.MUSCLE] / shown["te345"].water[Tissue.MUSCLE]))
    assert np.std(np.log(ratios)) > spread
