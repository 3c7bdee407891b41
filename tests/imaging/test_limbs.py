"""Left and right: parted in the right place, on the right side, however the volume is stored."""

import itertools
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fuzz.case import Draw
from fuzz.meaning.limbs import SCENES, scene
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.limbs import FoundLimbs, drop_strays, find_limbs, part_limbs, split_limbs
from musclesense.imaging.nifti import Geometry
from musclesense.imaging.outline import look
from musclesense.vocabulary import Limbs, Side

ORIENTATIONS = ["".join(c) for c in itertools.product("RL", "AP", "SI")]
STORED = ["".join(c) for codes in ORIENTATIONS for c in itertools.permutations(codes)]
SIZE_MM = np.array([401.0, 181.0, 20.0])
ZOOMS_MM = np.array([1.7, 1.3, 10.0])


def stored_as(codes: str) -> Geometry:
    """Store a field of view about the scanner's origin with the axes that ``codes`` names."""
    axes = ["RLAPSI".index(code) // 2 for code in codes]
    signs = [1 if code in "RAS" else -1 for code in codes]
    i, j, k = (int(SIZE_MM[axis] / ZOOMS_MM[axis]) for axis in axes)
    shape = (i, j, k)
    affine = np.eye(4)
    affine[:3, :3] = np.stack(
        [np.eye(3)[axis] * sign * ZOOMS_MM[axis] for axis, sign in zip(axes, signs, strict=True)], 1
    )
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Geometry.from_affine(shape, affine)


def scanner_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Give right (+), anterior (+) and superior (+) of every voxel."""
    return nib.affines.apply_affine(geometry.affine, np.moveaxis(np.indices(geometry.shape), 0, -1))


def two_discs(geometry: Geometry, right: tuple[float, float], left: tuple[float, float]) -> NDArray[np.bool_]:
    """Draw limbs: how far beside the middle and how thick, in mm. RAS+ coordinates grow to the subject's right."""
    points = scanner_mm(geometry)
    discs = [np.hypot(points[..., 0] - x, points[..., 1]) < r for x, r in ((right[0], right[1]), (-left[0], left[1]))]
    return np.any(discs, axis=0)


def split(volume: NDArray[np.floating], geometry: Geometry) -> dict[Side, NDArray[np.bool_]]:
    image = take_slice(volume, geometry, 0)
    body = body_mask(image)
    return split_limbs(body, geometry, look(image, body, geometry))


def right_of(x: float, geometry: Geometry) -> NDArray[np.bool_]:
    return take_slice(scanner_mm(geometry)[..., 0] > x, geometry, 0)


@pytest.mark.parametrize("codes", STORED)
def test_sides_are_the_subjects_own_however_stored(codes: str) -> None:
    geometry = stored_as(codes)
    halves = split(100.0 * two_discs(geometry, right=(90, 40), left=(90, 60)), geometry)
    # The gap runs from 50 mm on the right to 30 mm on the left: its middle is 10 mm right.
    wrong = halves[Side.RIGHT] != right_of(10, geometry)
    assert wrong.mean() < 0.01
    assert np.array_equal(halves[Side.LEFT], ~halves[Side.RIGHT])


@settings(deadline=None, max_examples=60)
@example("SRA", (94.0, 59.0), (70.0, 20.0), 2, 2)
@given(
    st.sampled_from(STORED),
    st.tuples(st.floats(70, 110), st.floats(20, 60)),
    st.tuples(st.floats(70, 110), st.floats(20, 60)),
    st.integers(0, 2),
    st.integers(0, 99),
)
def test_flipping_the_storage_changes_nothing_in_scanner_space(codes, right, left, axis, seed):
    geometry = stored_as(codes)
    noise = np.random.default_rng(seed).normal(0, 5, geometry.shape)
    volume = 100 * two_discs(geometry, right, left) + np.abs(noise)
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, geometry.shape[axis] - 1
    flipped = Geometry.from_affine(geometry.shape, geometry.affine @ flip)
    assert np.allclose(scanner_mm(flipped), np.flip(scanner_mm(geometry), axis))

    def sides(data: NDArray[Any], where: Geometry) -> NDArray[np.bool_]:
        parted = np.zeros(where.shape, dtype=bool)
        for number in range(2):
            image = take_slice(data, where, number)
            body = body_mask(image)
            right = split_limbs(body, where, look(image, body, where))[Side.RIGHT]
            take_slice(parted, where, number)[:] = right
        return parted

    assert np.array_equal(np.flip(sides(np.flip(volume, axis), flipped), axis), sides(volume, geometry))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PLI"])
@pytest.mark.parametrize("shift_mm", [-40, 0, 40])
def test_limbs_that_touch_are_cut_where_they_meet(codes: str, shift_mm: float) -> None:
    geometry = stored_as(codes)
    volume = 100.0 * two_discs(geometry, right=(62 + shift_mm, 65), left=(62 - shift_mm, 65))
    halves = split(volume, geometry)
    assert (halves[Side.RIGHT] != right_of(shift_mm, geometry)).mean() < 0.01


def test_a_thin_limb_beside_a_thick_one() -> None:
    geometry = stored_as("LPS")
    volume = two_discs(geometry, right=(60, 30), left=(80, 75))
    halves = split(100.0 * volume, geometry)
    limbs = take_slice(volume, geometry, 0)
    # They lie from 90 to 30 mm on the right and from 5 to 155 mm on the left.
    assert np.array_equal(halves[Side.RIGHT][limbs], right_of(12.5, geometry)[limbs])


def test_a_body_that_nothing_parts_is_cut_in_its_middle() -> None:
    geometry = stored_as("RAS")
    points = scanner_mm(geometry)
    pelvis = np.hypot(points[..., 0] / 170, points[..., 1] / 80) < 1
    assert (split(100.0 * pelvis, geometry)[Side.RIGHT] != right_of(0, geometry)).mean() < 0.01


@pytest.mark.parametrize("bright", [[], [(3, 4)], [(0, 0)]])
def test_an_image_of_nothing_or_a_speck_is_parted_all_the_same(bright: list[tuple[int, int]]) -> None:
    geometry = Geometry.from_affine((8, 6, 1), np.eye(4))
    volume = np.zeros(geometry.shape)
    for i, j in bright:
        volume[i, j] = 1e4
    halves = split(volume, geometry)
    assert halves[Side.RIGHT].any() and halves[Side.LEFT].any()


def found(volume: NDArray[Any], geometry: Geometry) -> FoundLimbs:
    bodies = np.zeros(geometry.shape, dtype=bool)
    for number in range(slice_count(geometry)):
        take_slice(bodies, geometry, number)[:] = body_mask(take_slice(volume, geometry, number))
    return find_limbs(volume, bodies, geometry)


def discs(geometry: Geometry, *right_and_radius: tuple[float, float]) -> NDArray[np.float32]:
    """Draw round limbs of bright fat about dark muscle, in noise: mm to the subject's right, and radius."""
    points = scanner_mm(geometry)
    image = np.zeros(geometry.shape)
    for right, radius in right_and_radius:
        away = np.hypot(points[..., 0] - right, points[..., 1])
        image[away < radius] = 100
        image[away < 0.8 * radius] = 30
    noise = np.random.default_rng(0).normal(0, 2, (2, *geometry.shape))
    return np.hypot(image + noise[0], noise[1]).astype(np.float32)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRP"])
@pytest.mark.parametrize(
    ("limbs", "shown"),
    [
        ([(80, 60), (-80, 60)], "both"),
        ([(60, 61), (-60, 61)], "both"),
        ([(150, 40), (70, 38)], "both"),
        ([(-25, 28), (-115, 60)], "both"),
        ([(100, 70)], "right"),
        ([(-120, 45)], "left"),
        ([(0, 80)], "one"),
        ([(10, 60), (-55, 4)], "one"),
        ([(40, 80), (-210, 45)], "right"),
        ([(-55, 75), (212, 40)], "left"),
    ],
)
def test_limbs_are_counted_wherever_they_lie(codes: str, limbs: list[tuple[float, float]], shown: str) -> None:
    geometry = stored_as(codes)
    assert found(discs(geometry, *limbs), geometry).limbs == shown


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(40, 80), st.floats(0.55, 1.0), st.floats(0, 60), st.floats(-60, 60))
def test_two_limbs_are_two_however_unequal_and_far_apart(
    seed: int, radius: float, thinner: float, gap: float, off: float
) -> None:
    right, left = (radius, thinner * radius)[:: 1 if seed % 2 else -1]
    middle = off if abs(off) + 2 * radius + gap < 190 else 0.0
    geometry = stored_as("LPS")
    image = discs(geometry, (middle + gap / 2 + right, right), (middle - gap / 2 - left, left))
    seen = found(image, geometry)
    assert seen.limbs is Limbs.BOTH
    halves = part_limbs(seen, seen.limbs, image > 15, geometry)
    limb = (np.abs(scanner_mm(geometry)[..., 0] - middle - gap / 2 - right) < 0.9 * right) & (image > 50)
    assert halves[Side.RIGHT][limb].mean() > 0.99 and halves[Side.LEFT][limb].mean() < 0.01


def test_a_piece_of_the_other_limb_is_in_neither_half() -> None:
    geometry = stored_as("LPS")
    image = discs(geometry, (40, 80), (-215, 45))
    seen = found(image, geometry)
    (half,) = part_limbs(seen, seen.limbs, image > 15, geometry).values()
    right = scanner_mm(geometry)[..., 0]
    assert half[right > -41].all() and not half[right < -170].any()
    assert "piece" in seen.why
    # Who says that both are shown has both.
    both = part_limbs(seen, Limbs.BOTH, image > 15, geometry)
    assert both[Side.LEFT][right < -170].all() and both[Side.RIGHT][right > -41].all()


@pytest.mark.parametrize("codes", ["LPS", "RAS"])
@pytest.mark.parametrize(("gap", "width"), [(0, 14), (4, 12), (8, 8), (20, 16)])
def test_a_sliver_of_the_other_limb_is_in_neither_half(codes: str, gap: float, width: float) -> None:
    geometry = stored_as(codes)
    # The frame ends 200 mm at the left; the limb, of a radius of 60 mm, that far before it.
    main, other = -200 + width + gap + 60, -200 + width - 60
    image = discs(geometry, (main, 60), (other, 60))
    seen = found(image, geometry)
    (half,) = part_limbs(seen, seen.limbs, image > 15, geometry).values()
    right = scanner_mm(geometry)[..., 0]
    limb = (np.abs(right - main) < 58) & (image > 15)
    assert seen.limbs is Limbs.RIGHT and "piece" in seen.why and not seen.clear
    assert half[limb].all() and not half[right < other + 57].any()


@pytest.mark.parametrize("darker", [1, 3, 6])
@pytest.mark.parametrize("codes", ["LPS", "RAS"])
def test_a_limb_far_from_the_coil_is_a_limb(codes: str, darker: float) -> None:
    geometry = stored_as(codes)
    image = discs(geometry, (80, 60), (-80, 55)) / np.where(scanner_mm(geometry)[..., 0] < 0, darker, 1)
    assert found(image, geometry).limbs is Limbs.BOTH


@pytest.mark.parametrize("limbs", [[(0, 60)], [(80, 60), (-80, 60)]])
@pytest.mark.parametrize("bright", [8, 12, 20])
def test_a_faint_towel_apart_from_limbs_is_in_no_half(limbs: list[tuple[float, float]], bright: float) -> None:
    geometry = stored_as("LPS")
    below = scanner_mm(geometry)[..., 1]
    image = discs(geometry, *limbs)
    towel = (below < -72) & (below > -80)
    image[towel] = bright
    seen = found(image, geometry)
    halves = part_limbs(seen, seen.limbs, image > 50, geometry)
    assert sum((half & towel).sum() for half in halves.values()) < 0.05 * towel.sum()
    assert sum(half[image > 50].sum() for half in halves.values()) == (image > 50).sum()
    # Who says otherwise has all that is there.
    said = Limbs.ONE if seen.limbs is Limbs.BOTH else Limbs.BOTH
    assert sum((half & towel).sum() for half in part_limbs(seen, said, image > 50, geometry).values()) == towel.sum()


def test_what_may_be_another_limb_is_doubted() -> None:
    geometry = stored_as("LPS")
    right, below = scanner_mm(geometry)[..., 0], scanner_mm(geometry)[..., 1]
    image = discs(geometry, (80, 60))
    assert found(image, geometry).clear
    faint = image + 10 * (np.hypot(right + 80, below) < 55)
    assert found(faint, geometry).sure and not found(faint, geometry).clear
    # Cut out of a limb, with a step of brightness through it.
    cut = np.where(below < 40, 30 + 60 * (right > 20), 0) + discs(geometry)
    assert not found(cut, geometry).clear


def test_most_slices_decide_and_doubt_is_told() -> None:
    geometry = Geometry.from_affine(
        (200, 90, 5), np.array([[-2, 0, 0, 199], [0, -2, 0, 89], [0, 0, 9, 0], [0, 0, 0, 1]])
    )
    image = discs(geometry, (90, 60), (-90, 60))
    assert found(image, geometry).sure
    image[..., 0] = 0
    assert found(image, geometry).sure, "an empty slice says nothing"
    image[..., 1] = discs(geometry, (0, 60))[..., 1]
    seen = found(image, geometry)
    assert seen.limbs is Limbs.BOTH and not seen.sure and [one.count for one in seen.slices] == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", SCENES)
def test_limbs_of_phantoms_are_found_in_every_kind_of_frame(kind: str) -> None:
    for number in range(2):
        shown = scene(Draw(3, SCENES.index(kind), number), kind)
        image = shown.image.T[..., None]
        i, j, k = image.shape
        affine = np.array([[-2.0, 0, 0, i - 1], [0, -2, 0, j - 1], [0, 0, 8, 0], [0, 0, 0, 1]])
        assert found(image, Geometry.from_affine((i, j, k), affine)).limbs in shown.sides


def test_a_slice_without_anything_shows_no_limb() -> None:
    geometry = stored_as("RAS")
    assert [seen.count for seen in found(np.zeros(geometry.shape), geometry).slices] == [0, 0]


@pytest.mark.parametrize(
    ("origin", "limbs"),
    [
        ((40, -60, 30), Limbs.RIGHT),
        ((-160, -60, 0), Limbs.LEFT),
        ((40, 0, 0), Limbs.ONE),
        ((0, 0, 0), Limbs.ONE),
        ((390, -60, 30), Limbs.ONE),
    ],
)
def test_coordinates_that_no_scanner_has_tell_no_side(origin: tuple[float, float, float], limbs: Limbs) -> None:
    """Counted from a corner of the image and cut along an axis, or beyond any bore."""
    affine = np.diag([2.0, 2.0, 10.0, 1.0])
    x, y = np.meshgrid(np.arange(60), np.arange(60), indexing="ij")
    image = discs(Geometry.from_affine((60, 60, 1), affine)) + np.where(np.hypot(x - 30, y - 30) < 26, 90, 0)[..., None]
    affine[:3, 3] = origin
    seen = found(image.astype(np.float32), Geometry.from_affine((60, 60, 1), affine))
    assert seen.limbs is limbs and seen.by_place is (limbs is not Limbs.ONE)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_pieces_of_a_mask_that_are_apart_from_limbs_are_dropped(codes: str) -> None:
    geometry = stored_as(codes)
    bodies = two_discs(geometry, (90, 60), (90, 60))
    found = find_limbs(np.where(bodies, 100.0, 0.0), bodies, geometry)
    assert all(seen.near is not None for seen in found.slices)
    limbs = two_discs(geometry, (90, 40), (90, 64))  # one of them reaches beyond the limb
    towel = two_discs(geometry, (190, 6), (190, 6)) & ~bodies
    assert towel.any() and not (limbs & towel).any()
    classes = np.where(limbs, 1, np.where(towel, 2, 0)).astype(np.uint8)
    drop_strays(classes, found, geometry)
    assert np.array_equal(classes, limbs)
    unsure = FoundLimbs(found.limbs, True, [replace(seen, near=None) for seen in found.slices], "")
    kept = np.where(towel, 2, 0).astype(np.uint8)
    drop_strays(kept, unsure, geometry)
    assert np.array_equal(kept > 0, towel)
