"""Networks found, fitted together, and averaged."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.nifti import Geometry, read_volume
from musclesense.networks.predictor import Predictor
from musclesense.networks.spec import NetworkSpec
from musclesense.segmentation import segmenter
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, _weighed

from ..shared.networks import GRID, spec_of, write_checkpoint
from .conftest import TwoLimbs, odd_geometry, write_limbs, write_run


def constant(path: Path, probability: float) -> Path:
    """Write a network that gives muscle this probability everywhere."""
    return write_run(path, channels=["fat"], weight=0, bias=float(np.log(probability / (1 - probability))))


@pytest.mark.parametrize(("probabilities", "muscle"), [((0.9, 0.2, 0.2), False), ((0.95, 0.35, 0.35), True)])
def test_an_ensemble_is_the_mean_of_probabilities(tmp_path: Path, probabilities, muscle: bool) -> None:
    """A vote would call it background both times, and the largest muscle both times."""
    for inner, probability in enumerate(probabilities):
        constant(tmp_path / f"outer0_inner{inner}", probability)
    geometry = Geometry.from_affine((160, 80, 1), np.diag([2.5, 2.5, 10, 1]))
    fat = np.random.default_rng(0).random(geometry.shape)
    classes = Segmenter.load(tmp_path).segment({"fat": fat}, geometry)
    assert classes.dtype == np.uint8
    assert (classes[20:-20, 10:-10] == muscle).all()


def test_a_study_is_its_finished_runs_a_run_and_a_checkpoint_are_themselves(tmp_path: Path) -> None:
    study = tmp_path / "study"
    runs = [write_run(study / f"outer0_inner{inner}") for inner in range(3)]
    (runs[1] / "done.json").unlink()
    (study / "report").mkdir()
    (study / "study.yaml").write_text("")
    best = [run / "checkpoints" / "best.ckpt" for run in runs]
    assert Segmenter.load(study).files == (best[0], best[2])
    assert Segmenter.load(runs[0]).files == (best[0],)
    assert Segmenter.load(best[1]).files == (best[1],)
    best[2].unlink()
    with pytest.raises(InputError, match=r"outer0_inner2/checkpoints/best\.ckpt: not a usable checkpoint"):
        Segmenter.load(study)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("channels", {"channels": ["water", "fat"]}),
        ("labels", {"classes": {"thigh": []}}),
        ("grid", {"grid": {**GRID, "spacing_mm": 2.0}}),
        ("regions", {"regions": ["calf"]}),
        ("placed_by", {"placed_by": "water"}),
    ],
)
def test_networks_that_differ_are_no_ensemble(tmp_path: Path, name: str, other) -> None:
    write_run(tmp_path / "outer0_inner0")
    write_run(tmp_path / "outer0_inner1", **other)
    with pytest.raises(InputError, match=f"outer0_inner1.*: {name} .* differs from .*; give networks of one study"):
        Segmenter.load(tmp_path)


def test_slices_come_out_alike_alone_and_in_a_stack(tmp_path: Path) -> None:
    """More slices than are segmented at once, each of another size of limb."""
    angles = (0.0, 0.0, 0.0)
    geometry = odd_geometry("LPS", angles)
    limbs = write_limbs(tmp_path / "scan", geometry, angles)
    fat = read_volume(limbs.fat).data[:, :, :1].astype(float)
    stack = np.concatenate([np.roll(fat, 3 * number, axis=1) * (1 + number) for number in range(11)], axis=2)
    tall = Geometry.from_affine(stack.shape, geometry.affine)
    segmenter = Segmenter.load(write_checkpoint(tmp_path / "best.ckpt", channels=["fat"]))
    classes = segmenter.segment({"fat": stack}, tall)
    assert slice_count(tall) == 11
    one = Geometry.from_affine(fat.shape, geometry.affine)
    for number in range(11):
        alone = segmenter.segment({"fat": take_slice(stack, tall, number)[..., None]}, one)
        assert alone.any()
        assert np.array_equal(alone[..., 0], classes[..., number])


def test_channels_are_taken_by_name(limbs: TwoLimbs, tmp_path: Path) -> None:
    fat, water = (read_volume(file).data for file in (limbs.fat, limbs.water))
    segmenter = Segmenter.load(write_checkpoint(tmp_path / "best.ckpt", channels=["water", "fat"]))
    once = segmenter.segment({"fat": fat, "water": water}, limbs.geometry)
    again = segmenter.segment({"te460": 0 * fat, "water": water, "fat": fat}, limbs.geometry)
    assert once.any() and np.array_equal(once, again)
    with pytest.raises(InputError, match="the model takes water, fat; add water=FILE"):
        segmenter.segment({"fat": fat}, limbs.geometry)


def test_a_network_of_any_contrast_takes_whatever_image_there_is(limbs: TwoLimbs, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["image"], placed_by="image")
    fat = segmenter.segment(read_scan(image=limbs.fat), model=model, region="thigh")
    assert fat.classes.any()
    for scan in (read_scan(fat=limbs.fat), read_scan(fat=limbs.fat, water=limbs.water)):
        found = segmenter.segment(scan, model=model, region="thigh")
        assert np.array_equal(found.classes, fat.classes)
        assert found.figure() is not None
    water = segmenter.segment(read_scan(fat=limbs.fat, image=limbs.water), model=model, region="thigh")
    assert not np.array_equal(water.classes, fat.classes)
    of_fat = write_checkpoint(tmp_path / "fat.ckpt", channels=["fat"])
    with pytest.raises(InputError, match="the model takes fat"):
        segmenter.segment(read_scan(image=limbs.fat), model=of_fat, region="thigh")


def test_slices_are_placed_by_the_image_that_the_network_was_trained_by(limbs: TwoLimbs, tmp_path: Path) -> None:
    """Whatever other images are at hand: the fat image here shows one limb alone, and would be centred on it."""
    water = read_volume(limbs.water).data
    one_limb = np.where(limbs.left, read_volume(limbs.fat).data, 0)
    segmenter = Segmenter.load(write_checkpoint(tmp_path / "best.ckpt", channels=["water"], placed_by="water"))
    alone = segmenter.segment({"water": water}, limbs.geometry)
    assert alone[limbs.right].any()
    assert np.array_equal(segmenter.segment({"fat": one_limb, "water": water}, limbs.geometry), alone)
    by_fat = Segmenter.load(write_checkpoint(tmp_path / "fat.ckpt", channels=["water"], placed_by="fat"))
    assert not np.array_equal(by_fat.segment({"fat": one_limb, "water": water}, limbs.geometry), alone)
    with pytest.raises(InputError, match="the model takes water and finds the body in fat; add fat=FILE, or"):
        by_fat.segment({"water": water}, limbs.geometry)


def test_long_work_says_how_far_it_is(limbs: TwoLimbs, tmp_path: Path, monkeypatch, caplog) -> None:
    loaded = Segmenter.load(write_checkpoint(tmp_path / "model.ckpt"))
    images = {name: read_volume(getattr(limbs, name)).data for name in ("fat", "water")}
    caplog.set_level("INFO")
    loaded.segment(images, limbs.geometry)
    assert caplog.messages == []
    monkeypatch.setattr(segmenter, "_QUIET_SECONDS", -1.0)
    monkeypatch.setattr(segmenter, "_SLICES_AT_ONCE", 2)
    loaded.segment(images, limbs.geometry)
    count = slice_count(limbs.geometry)
    told = [re.sub(r"about .* left", "", message) for message in caplog.messages]
    assert told == [f"segment: {done} of {count} slices, " for done in range(2, count, 2)]
    assert told


class Steady(Predictor):
    """Finds in a slice what the mean of its image is, everywhere."""

    runtime: Mapping[str, str] = {}

    def __init__(self, spec: NetworkSpec, found: Sequence[float]) -> None:
        self.spec, self._found = spec, iter(found)

    def looks(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        shape = (len(images), 1, *images.shape[2:])
        yield np.stack([np.full(shape[1:], next(self._found), np.float32) for _ in images])


def segmented(found: Sequence[float], across_mm: float, zoom: float = 5.0) -> list[bool]:
    """Say which slices a network gives a mask that is as sure of each as is said."""
    image = np.zeros((40, 20, len(found)), np.float32)
    image[8:32, 4:16] = 100
    geometry = Geometry.from_affine(image.shape, np.diag([4.0, 4.0, zoom, 1.0]))
    spec = spec_of(channels=("fat",), across_mm=across_mm)
    made = Segmenter(Steady(spec, found), (Path("none"),)).segment({"fat": image}, geometry)
    return [bool(made[20, 10, number]) for number in range(len(found))]


def test_a_slice_is_weighed_with_those_beside_it() -> None:
    lost = [0.9, 0.9, 0.3, 0.9, 0.9, *[0.9] * 6, 0.1, 0.8]  # more slices than are segmented at once
    assert segmented(lost, 0.0) == [one >= 0.5 for one in lost]
    assert segmented(lost, 4.0) == [True] * 11 + [False, True]  # 0.1 between 0.9 and 0.8 is 0.46
    assert segmented(lost, 4.0, zoom=20.0) == [one >= 0.5 for one in lost]  # too far from each other
    assert segmented([0.4], 4.0) == [False] and segmented([0.6], 4.0) == [True]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12), st.floats(0.01, 1))
def test_weighing_is_the_same_from_both_ends_and_keeps_what_is_alike(found: list[float], weight: float) -> None:
    slices = np.array(found, np.float32)[:, None, None] * np.ones((1, 2), np.float32)
    onward = [*_weighed(iter(slices), weight)]
    back = [*_weighed(iter(slices[::-1]), weight)][::-1]
    assert np.array_equal(onward, back) and len(onward) == len(found)
    assert all(slices.min() - 1e-6 <= one.min() and one.max() <= slices.max() + 1e-6 for one in onward)
    assert np.array_equal([*_weighed(iter(slices), 0.0)], slices)


class Strewn(Steady):
    """Finds the limbs, and something in a corner of the frame."""

    def looks(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        found = (images[:, :1] > 0).astype(np.float32)
        found[..., 4:7, 4:7] = 1
        yield found


@pytest.mark.parametrize("across_mm", [0.0, 4.0])
def test_pieces_apart_from_limbs_are_dropped_by_networks_that_segment_stacks(across_mm: float) -> None:
    across, down = np.indices((200, 100))
    limbs = (np.hypot(across - 55, down - 50) < 30) | (np.hypot(across - 145, down - 50) < 30)
    fat = np.repeat(100 * limbs[..., None], 3, axis=2).astype(np.float32)
    scan = read_scan(fat=(fat, np.diag([-2.0, -2.0, 5.0, 1.0])))
    made = segmenter.segment(
        scan,
        model=Segmenter(Strewn(spec_of(channels=("fat",), across_mm=across_mm), ()), (Path(__file__),)),
        region="thigh",
    )
    assert made.scan.limbs.clear and (made.classes[limbs] > 0).mean() > 0.9
    far = ~ndimage.binary_dilation(limbs, iterations=5)
    assert bool(made.classes[far].any()) is (across_mm == 0.0)
    counted = sum(row["voxels"] for row in made.rows if row["slice"] == "all")
    assert bool(counted == np.count_nonzero(made.classes)) is (across_mm > 0.0)
