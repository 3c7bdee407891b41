"""How far masks can be trusted: what is known of them, and what follows from it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.grid import Grid, Placement, slice_count, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.networks.shipped import shipped
from musclesense.networks.spec import Effort
from musclesense.segmentation import trust
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.segmentation.trust import (
    DOUBTED_BELOW,
    FEATURES,
    OTHER,
    WEIGHTS,
    Looked,
    Trust,
    describe,
    fit_of,
    fits,
    judge,
)
from musclesense.storage.digests import digest_of_bytes
from musclesense.vocabulary import Limbs, Region

from ..shared.networks import spec_of
from .conftest import leg_scan

MUSCLE = LabelSet.from_config({"muscle": []})


@pytest.fixture(scope="module")
def thighs() -> Scan:
    return leg_scan(Region.THIGH, (0.45, 0.5, 0.55), channel="fat")


def looked_at(scan: Scan, mask: NDArray[np.bool_], sure: float, apart: float = 0.02) -> list[Looked]:
    """What networks found that are as sure everywhere in the body."""
    found = []
    for number in range(slice_count(scan.geometry)):
        body = take_slice(scan.bodies, scan.geometry, number)
        placement = Grid().place(scan.geometry, body, body)
        likely = np.where(take_slice(mask, scan.geometry, number), sure, (1 - sure) * body)
        on_grid = placement.nearest(likely.astype(np.float32))
        found.append(Looked.coarse(placement, on_grid[None], np.full_like(on_grid, apart)))
    return found


def masked(
    scan: Scan, mask: NDArray[np.bool_], sure: float = 0.97, limbs: Limbs = Limbs.BOTH
) -> tuple[MeasuredMask, Sequence[Looked]]:
    """A mask, and what networks found, scored by the first fit of the package."""
    looked = looked_at(scan, mask, sure)
    scored = partial(judge, looked=looked, threshold=0.5, fit=fits()[OTHER, True])
    return MeasuredMask(scan, mask.astype(np.uint8), MUSCLE, limbs, scored=scored), looked


def dark(scan: Scan) -> NDArray[np.bool_]:
    """The muscle of a fat image, nearly."""
    image = scan.channels["fat"]
    inside: NDArray[np.bool_] = scan.bodies & (image < 0.35 * np.percentile(image[scan.bodies], 98))
    return inside


def features(
    scan: Scan, mask: NDArray[np.bool_], sure: float = 0.97, number: int = 1, limb: str = "right"
) -> dict[str, float]:
    own = {(at, str(side)): row for (at, side), row in describe(*masked(scan, mask, sure), 0.5).items()}
    return dict(zip(FEATURES, own[number, limb], strict=True))


def without_right(scan: Scan, mask: NDArray[np.bool_], number: int) -> NDArray[np.bool_]:
    halves = masked(scan, mask)[0].halves
    left = mask.copy()
    left[..., number] &= ~next(half for limb, half in halves.items() if limb == "right")[..., number]
    return left


def test_features_say_what_a_mask_looks_like(thighs: Scan) -> None:
    mask = dark(thighs)
    own, less_sure = features(thighs, mask), features(thighs, mask, sure=0.6)
    assert own["at_edge"] == own["beyond_frame"] == 0
    assert 0 < own["soft_miss"] < 0.1 < less_sure["soft_miss"]
    assert own["unsure_border"] == pytest.approx(4 * 0.97 * 0.03, rel=0.1)
    assert less_sure["unsure"] > own["unsure"]
    assert own["looks_apart"] > 0.02
    assert 0 <= own["no_region"] < 0.5
    body = np.count_nonzero((thighs.bodies & next(iter(masked(thighs, mask)[0].halves.values())))[..., 1])
    assert own["size"] == pytest.approx(body * 1.5**2 / 100, rel=0.05)


def test_what_is_unlike_the_other_limb_or_the_next_slice_is_known(thighs: Scan) -> None:
    mask = dark(thighs)
    gone = without_right(thighs, mask, 1)
    usual = features(thighs, mask)
    assert features(thighs, gone, limb="left")["unlike_sides"] > usual["unlike_sides"] + 1
    assert features(thighs, gone)["jump"] > usual["jump"] + 1
    assert features(thighs, gone)["soft_miss"] > 0.5


def test_a_mask_at_the_edge_of_the_image_and_one_in_pieces_are_known(thighs: Scan) -> None:
    mask, others = dark(thighs), thighs.geometry.shape[1:]
    at = np.flatnonzero(thighs.bodies.any(axis=(1, 2)))[[0, -1]] + [25, -25]
    cut = Geometry.from_affine((int(at[1] - at[0]), *others), thighs.geometry.affine)
    scan = Scan({"fat": thighs.channels["fat"][at[0] : at[1]]}, None, cut, {})
    assert features(scan, dark(scan))["at_edge"] > 0.1 > features(thighs, mask)["at_edge"]
    rows = np.indices(mask.shape)[1] // 12 % 2 > 0
    assert features(thighs, mask & rows)["pieces"] > features(thighs, mask)["pieces"] + 0.2


@pytest.mark.parametrize(("pixels", "least", "most"), [(240, 0.0, 0.02), (60, 0.3, 0.9), (16, 0.9, 1.0)])
def test_the_share_of_a_limb_beyond_the_frame_is_never_more_than_all(
    pixels: int, least: float, most: float, thighs: Scan
) -> None:
    """A frame that shows hardly any of a limb; one such case must not decide for what all others count."""
    grid = Grid(spacing_mm=1.25, rows=pixels, columns=2 * pixels)

    def place(number: int) -> Placement:
        body = take_slice(thighs.bodies, thighs.geometry, number)
        return grid.place(thighs.geometry, body, body)

    mask, shape = dark(thighs), (1, pixels, 2 * pixels)
    looked = [
        Looked.coarse(place(number), np.ones(shape, np.float32), np.zeros(shape[1:], np.float32)) for number in range(3)
    ]
    found = MeasuredMask(thighs, mask.astype(np.uint8), MUSCLE, Limbs.BOTH, place=place)
    shares = [dict(zip(FEATURES, row, strict=True))["beyond_frame"] for row in describe(found, looked, 0.5).values()]
    assert shares and all(least <= share <= most for share in shares), shares


def test_a_sure_mask_is_trusted_and_one_that_nothing_is_sure_of_is_not(thighs: Scan) -> None:
    mask = dark(thighs)
    sure, unsure = (masked(thighs, mask, sure)[0] for sure in (0.995, 0.55))
    assert sure.scored is not None and unsure.scored is not None
    scores = sure.scored(sure)
    assert len(scores) == 6 and min(scores.values()) > max(unsure.scored(unsure).values())
    assert max(unsure.scored(unsure).values()) < DOUBTED_BELOW


def test_slices_without_a_body_are_not_judged(thighs: Scan) -> None:
    image = thighs.channels["fat"].copy()
    image[..., 2] = 0
    scan = replace(thighs, channels={"fat": image})
    assert {number for number, _ in describe(*masked(scan, dark(scan)), 0.5)} == {0, 1}


def test_quality_stands_in_the_table_and_flags_follow_it(thighs: Scan, caplog: pytest.LogCaptureFixture) -> None:
    made, _ = masked(thighs, dark(thighs), sure=0.55)
    for row in made.rows:
        assert ("doubtful" in row["flags"].split()) is (row["quality"] < DOUBTED_BELOW)
    own = [row["quality"] for row in made.rows if row["limb"] == "right"]
    assert own[-1] == min(own[:-1])
    assert all(row["quality"] is None for row in replace(made, scored=None).rows)
    made.tell()
    assert "quality: the mask is doubtful in slice 0 to 2; look at qc.html" in caplog.messages


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("effort", Effort)
def test_a_network_of_the_package_has_its_own_fit_or_that_of_all(name: str, effort: Effort) -> None:
    segmenter = Segmenter.load(name, "cpu", effort=effort)
    fit, own = fit_of(segmenter.files, segmenter.spec)
    several = effort != Effort.FAST
    assert fit is fits()[digest_of_bytes(segmenter.files[0]) if own else OTHER, several]


def test_it_is_said_where_a_network_was_not_calibrated(
    thighs: Scan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = "quality: was not calibrated for this network; take the scores and the flag doubtful as hints"
    for kept in (set(fits()), {key for key in fits() if key[0] == OTHER}):
        own = {key: fits()[key] for key in kept}
        monkeypatch.setattr(trust, "fits", lambda own=own: own)
        caplog.clear()
        made = segment(thighs, model="any_scanner_fat", region=Region.THIGH, effort=Effort.FAST)
        assert (said in caplog.messages) is not made.fit[1]
    assert said in caplog.messages
    assert made.record()["quality_calibrated"] is False


def test_another_network_has_the_fit_of_all(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"another")
    for spec in (spec_of(), spec_of(flip=True)):
        assert fit_of([file], spec) == (fits()[OTHER, spec.flip], False)
        assert fit_of([], spec) == (fits()[OTHER, spec.flip], False)
    assert fit_of([file, tmp_path / "second"], spec_of()) == (fits()[OTHER, True], False)


@given(st.lists(st.floats(-1e6, 1e6), min_size=len(FEATURES), max_size=len(FEATURES)))
def test_any_features_give_a_score(values: list[float]) -> None:
    for fit in fits().values():
        (score,) = fit.scores(np.array([values]))
        assert 0 <= score <= 1


@given(
    st.lists(st.floats(0, 50), min_size=len(FEATURES), max_size=len(FEATURES)),
    st.integers(0, len(FEATURES) - 1),
    st.floats(0, 50),
)
def test_more_of_what_speaks_against_a_mask_never_raises_its_score(
    values: list[float], index: int, more: float
) -> None:
    changed = list(values)
    changed[index] += more
    sign = [*FEATURES.values()][index]
    for fit in fits().values():
        before, after = fit.scores(np.array([values, changed]))
        assert sign * (after - before) >= -1e-12


def test_a_fit_is_written_and_read_again() -> None:
    fit = fits()[OTHER, True]
    again = Trust.from_config(json.loads(json.dumps(fit.to_config())))
    rows = np.random.default_rng(0).uniform(0, 3, (20, len(FEATURES)))
    assert np.allclose(fit.scores(rows), again.scores(rows), atol=1e-3)


def test_weights_of_a_newer_release_are_refused(tmp_path: Path) -> None:
    stored = json.loads(WEIGHTS.read_text())
    assert stored["features"] == list(FEATURES)
    (tmp_path / "trust.json").write_text(json.dumps(stored | {"format": 2}))
    with pytest.raises(InputError, match="format 2"):
        fits(tmp_path / "trust.json")
