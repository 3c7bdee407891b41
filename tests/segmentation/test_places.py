"""What slices show: in an order that a body has, the region of a scan, what lies beyond it, the side of one limb."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.imaging.limbs import FoundLimbs
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.segmentation.place import PLACES, Place
from musclesense.segmentation.places import FoundPlaces, _in_order
from musclesense.segmentation.scan import Scan
from musclesense.vocabulary import Limbs, Region

from .conftest import leg_scan

LEG = [Place.FOOT, Place.CALF, Place.KNEE, Place.THIGH, Place.HIP, Place.ABDOMEN]
ONE = FoundLimbs(Limbs.ONE, True, (), "since 3 of 3 slices show one limb, of a side that is not known")


def likely(places: Sequence[Place], sure: float = 0.9) -> NDArray[np.float32]:
    """How likely slices show places, the rest shared by the others."""
    rest = (1 - sure) / (len(PLACES) - 1)
    return np.array([[sure if one is place else rest for one in PLACES] for place in places], np.float32)


def found(places: Sequence[Place], sure: float = 0.9, left: float = 0.0) -> FoundPlaces:
    return FoundPlaces(tuple(places), likely(places, sure), np.full(len(places), left, np.float32))


@given(st.lists(st.sampled_from(LEG), min_size=1, max_size=12), st.booleans())
def test_places_that_follow_each_other_along_a_leg_stay(places: list[Place], down: bool) -> None:
    ordered = sorted(places, key=LEG.index, reverse=down)
    assert list(_in_order(np.log(likely(ordered)))) == ordered


@given(st.sampled_from(LEG), st.integers(1, 6), st.integers(1, 6), st.sampled_from(PLACES))
def test_one_slice_among_others_does_not_jump(place: Place, before: int, after: int, flicker: Place) -> None:
    row = np.concatenate([likely([place] * before), likely([flicker], 0.6), likely([place] * after)])
    assert _in_order(np.log(row)) == (place,) * (before + 1 + after)


@pytest.mark.parametrize("end", [Place.NOTHING, Place.ARM, Place.HEAD])
def test_several_slices_of_something_else_are_seen(end: Place) -> None:
    places = [end] * 3 + [Place.CALF] * 4 + [end] * 3
    assert list(_in_order(np.log(likely(places, 0.97)))) == places


def test_most_slices_decide_and_empty_ones_do_not() -> None:
    places = [Place.NOTHING] * 9 + [Place.KNEE] * 2 + [Place.THIGH] * 3
    place, sure = found(places).main
    assert place is Place.THIGH
    assert sure == pytest.approx(0.9)
    assert found(places).region is Region.THIGH
    assert found(places).beyond(Region.THIGH) == {9: Place.KNEE, 10: Place.KNEE}
    assert found([Place.NOTHING] * 2).main[0] is Place.NOTHING
    assert found([Place.NOTHING] * 2).region is None


def test_where_the_region_is_not_sure_or_is_given_otherwise_nothing_lies_beyond() -> None:
    assert found([Place.THIGH] * 3, sure=0.5).region is None
    places = [Place.CALF] * 5 + [Place.KNEE]
    assert found(places).beyond(Region.THIGH) == {}
    assert found(places).beyond(Region.CALF) == {5: Place.KNEE}


@pytest.mark.parametrize(
    ("left", "limbs"), [(4.0, Limbs.LEFT), (-4.0, Limbs.RIGHT), (0.5, Limbs.ONE), (-0.5, Limbs.ONE)]
)
def test_the_side_is_told_where_it_is_sure(left: float, limbs: Limbs) -> None:
    told = found([Place.CALF] * 3, left=left).sided(ONE)
    assert told.limbs is limbs
    assert ("by its anatomy (98% sure)" in told.why) is (limbs is not Limbs.ONE)
    assert found([Place.HEAD] * 3, left=left).sided(ONE) is ONE


@pytest.mark.parametrize(
    ("left", "limbs"), [(4.0, Limbs.ONE), (-4.0, Limbs.RIGHT), (0.5, Limbs.RIGHT), (-0.5, Limbs.RIGHT)]
)
def test_no_side_is_told_where_anatomy_surely_speaks_against_the_place(left: float, limbs: Limbs) -> None:
    why = "since 3 of 3 slices show one limb, 90 mm beside the scanner's middle"
    by_place = FoundLimbs(Limbs.RIGHT, True, (), why, by_place=True)
    told = found([Place.THIGH] * 3, left=left).sided(by_place)
    assert told.limbs is limbs and why in told.why
    assert ("but of the left side by its anatomy" in told.why) is (limbs is Limbs.ONE)


@pytest.mark.parametrize("contrast", [Contrast.DIXON_FAT, Contrast.DIXON_WATER, Contrast.SPIN_ECHO])
@pytest.mark.parametrize(("region", "levels"), [(Region.CALF, (0.35, 0.6)), (Region.THIGH, (0.4, 0.7))])
def test_limbs_of_phantoms_are_recognised(region: Region, levels: tuple[float, float], contrast: Contrast) -> None:
    for level in levels:
        assert leg_scan(region, [level], contrast=contrast).places.region is region


def test_the_order_of_axes_changes_nothing() -> None:
    scans = [leg_scan(Region.CALF, [0.5], codes=codes).places for codes in ("RAS", "LPS", "LAI")]
    for other in scans[1:]:
        assert other.places == scans[0].places
        assert np.allclose(other.sure, scans[0].sure, atol=1e-3)
        assert np.allclose(other.left, scans[0].left, atol=0.05)


@pytest.mark.parametrize("radii", [(40.0,), (35.0, 50.0), (70.0,)])
def test_discs_are_no_region(radii: tuple[float, ...]) -> None:
    x, y = np.meshgrid(np.arange(0, 360, 2.0), np.arange(0, 180, 2.0), indexing="ij")
    image = np.zeros(x.shape, np.float32)
    for place, radius in enumerate(radii):
        image[np.hypot(x - 90 - 150 * place, y - 90) < radius] = 100
    image += np.asarray(np.random.default_rng(0).gamma(1.0, 1.0, image.shape), np.float32)
    geometry = Geometry.from_affine((*image.shape, 1), np.diag([2.0, 2.0, 10.0, 1.0]))
    places = Scan({"fat": image[..., None]}, None, geometry, {}).places
    assert places.region is None
    assert places.beyond(Region.THIGH) == {}
