"""Networks found, fitted together, and averaged."""

import re
from pathlib import Path

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.nifti import Geometry, read_volume
from musclesense.segmentation import segmenter
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter

from ..shared.networks import GRID, write_checkpoint
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
