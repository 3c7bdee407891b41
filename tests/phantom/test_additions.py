"""What is added to a drawn slice is no muscle of interest, and lies where it belongs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.phantom import additions
from musclesense.phantom.additions import Plane
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import Drawing

VOXEL_MM = 2.0
NO_MUSCLE = (Tissue.AIR, Tissue.SKIN, Tissue.FLUID, Tissue.ORGAN, Tissue.MASS, Tissue.VOID, Tissue.PILED_UP)
Rng = np.random.Generator


def drawn() -> Drawing:
    """A round limb of 120 mm: skin, fat, fascia, muscle of two compartments, fat between them, and a bone."""
    shape = (2, 90, 120)
    y, x = np.mgrid[-89:90:2, -119:120:2]
    out = np.hypot(x, y)
    tissue = np.zeros(shape[1:], np.uint8)
    for radius, kind in (
        (60, Tissue.SKIN),
        (58, Tissue.SUBCUTANEOUS_FAT),
        (50, Tissue.FASCIA),
        (48, Tissue.MUSCLE),
        (14, Tissue.CORTEX),
        (8, Tissue.MARROW),
    ):
        tissue[out < radius] = kind
    tissue[(out > 46) & (out < 48) & (x > 0)] = Tissue.CONNECTIVE
    tissue[(np.abs(y) < 3) & (out > 14) & (out < 48)] = Tissue.INTERMUSCULAR_FAT
    compartment = np.where(tissue == Tissue.MUSCLE, np.where(x > 0, 3, 4), 0).astype(np.uint8)
    both = [np.repeat(part[None], 2, axis=0) for part in (tissue, compartment)]
    zeros = [np.zeros(shape, np.float32) for _ in range(2)]
    return Drawing(
        tissue=both[0], compartment=both[1], muscle_fat=zeros[0], oedema=zeros[1], density=np.ones(shape, np.float32)
    )


def plane(drawing: Drawing) -> Plane:
    return Plane.of(drawing, VOXEL_MM)


ADDED: dict[str, Callable[[Rng, Drawing], None]] = {
    "mass": lambda rng, drawing: additions.put_mass(rng, drawing, plane(drawing), VOXEL_MM),
    "implant": lambda rng, drawing: additions.put_implant(rng, drawing, plane(drawing)),
    "fluid": lambda rng, drawing: additions.put_fluid(rng, drawing, VOXEL_MM),
    "arm": lambda rng, drawing: additions.put_arm(rng, drawing, plane(drawing), 60.0, int(rng.choice([-1, 1]))),
    "organs": lambda rng, drawing: additions.put_organs(rng, drawing, plane(drawing), 0.0, float(rng.random())),
}


@pytest.mark.parametrize("name", ADDED)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_muscle_lies_in_what_is_added_nor_in_air(name: str, seed: int) -> None:
    before, after = drawn(), drawn()
    ADDED[name](np.random.default_rng(seed), after)
    labelled = after.compartment > 0
    assert not np.isin(after.tissue[labelled], NO_MUSCLE).any()
    assert not after.muscle_fat[~labelled].any() and not after.oedema[~labelled].any()
    assert set(np.unique(after.compartment)) <= set(np.unique(before.compartment))
    assert np.isfinite(after.density).all() and after.density.min() >= 0


@pytest.mark.parametrize("name", ADDED)
def test_each_is_seen(name: str) -> None:
    seen = 0
    for seed in range(6):
        before, after = drawn(), drawn()
        ADDED[name](np.random.default_rng(seed), after)
        seen += bool((before.tissue != after.tissue).any() or after.oedema.any())
    assert seen >= 4


def test_an_arm_leaves_the_body_as_it_is() -> None:
    for seed in range(10):
        before, after = drawn(), drawn()
        ADDED["arm"](np.random.default_rng(seed), after)
        body = before.tissue > 0
        assert np.array_equal(after.tissue[body], before.tissue[body])
        assert np.array_equal(after.compartment, before.compartment)


def test_a_mass_pushes_tissue_away_and_keeps_bone() -> None:
    for seed in range(10):
        before, after = drawn(), drawn()
        ADDED["mass"](np.random.default_rng(seed), after)
        assert np.count_nonzero(after.tissue) >= 0.98 * np.count_nonzero(before.tissue)
        assert np.isin(after.tissue, (Tissue.CORTEX, Tissue.MARROW)).any()


def test_where_nothing_lies_nothing_is_added() -> None:
    for name in ("mass", "implant", "organs", "fluid"):
        empty = drawn()
        for array in (empty.tissue, empty.compartment):
            array[:] = 0
        ADDED[name](np.random.default_rng(0), empty)
        assert not empty.compartment.any() and not empty.tissue.any()
