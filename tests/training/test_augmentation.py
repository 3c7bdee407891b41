"""Augmentation: alignment, air, sides, ranges and what it depends on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from musclesense.training.augmentation import NODES, Augmentation, transform

ROWS, COLUMNS = 12, 20
PAPER = Augmentation(0.5, [0.7, 1.3], 0.5, 0.5)
BENT = replace(PAPER, rotation=30.0, deformation=0.05)
SIDED = (0, 2, 1, 3)  # left and right, and a class without a side
PLAIN = (0, 1, 2, 3)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Images (3, 2, rows, columns), classes and air, all of them different."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(3, 2, ROWS, COLUMNS, generator=random)
    classes = torch.randint(0, 4, (3, ROWS, COLUMNS), generator=random)
    air = torch.tensor([[-1.0, -2.0], [-3.0, -4.0], [5.0, -6.0]])
    return images, classes, air


def changes_of(
    samples: int, *, rows: float = 0.0, columns: float = 0.0, scale: float = 1.0, vertical: int = 1, horizontal: int = 1
) -> Tensor:
    """The same change for every sample; shifts in pixels."""
    return torch.tensor([[rows / ROWS, columns / COLUMNS, scale, vertical, horizontal]] * samples)


def test_no_change_gives_the_same_batch(batch):
    images, classes, air = batch
    moved, moved_classes = transform(images, classes, air=air, changes=changes_of(3), mirror=SIDED)
    torch.testing.assert_close(moved, images, rtol=0, atol=1e-5)
    assert torch.equal(moved_classes, classes)
    assert moved.dtype == torch.float32
    assert moved_classes.dtype == torch.int64


@pytest.mark.parametrize(("down", "right"), [(3, 0), (-5, 0), (0, 7), (0, -2), (4, -9)])
def test_shift_by_whole_pixels_is_a_roll_with_air_let_in(batch, down, right):
    images, classes, air = batch
    moved, moved_classes = transform(
        images, classes, air=air, changes=changes_of(3, rows=down, columns=right), mirror=PLAIN
    )
    expected = np.broadcast_to(air.numpy()[:, :, None, None], images.shape).copy()
    expected_classes = np.zeros_like(classes.numpy())
    there = (slice(max(down, 0), ROWS + min(down, 0)), slice(max(right, 0), COLUMNS + min(right, 0)))
    expected[..., *there] = np.roll(images.numpy(), (down, right), axis=(2, 3))[..., *there]
    expected_classes[..., *there] = np.roll(classes.numpy(), (down, right), axis=(1, 2))[..., *there]
    np.testing.assert_allclose(moved.numpy(), expected, atol=2e-5)
    np.testing.assert_array_equal(moved_classes.numpy(), expected_classes)


def test_positive_shifts_move_down_and_right():
    images = torch.zeros(1, 1, ROWS, COLUMNS)
    images[0, 0, 2, 3] = 1
    moved, _ = transform(
        images,
        torch.zeros(1, ROWS, COLUMNS, dtype=torch.long),
        air=torch.zeros(1, 1),
        changes=changes_of(1, rows=4, columns=6),
        mirror=(0, 1),
    )
    assert divmod(int(moved.argmax()), COLUMNS) == (6, 9)


def test_flips_reverse_their_axis_and_only_the_horizontal_one_swaps_sides(batch):
    images, classes, air = batch
    upside_down, classes_down = transform(images, classes, air=air, changes=changes_of(3, vertical=-1), mirror=SIDED)
    torch.testing.assert_close(upside_down, images.flip(2), rtol=0, atol=1e-5)
    assert torch.equal(classes_down, classes.flip(1))
    mirrored, classes_mirrored = transform(images, classes, air=air, changes=changes_of(3, horizontal=-1), mirror=SIDED)
    torch.testing.assert_close(mirrored, images.flip(3), rtol=0, atol=1e-5)
    swapped = torch.tensor([0, 2, 1, 3])[classes.flip(2)]
    assert torch.equal(classes_mirrored, swapped)
    assert not torch.equal(swapped, classes.flip(2))


def test_a_flip_of_one_sample_leaves_the_others_alone(batch):
    images, classes, air = batch
    changes = changes_of(3)
    changes[1, 4] = -1
    moved, moved_classes = transform(images, classes, air=air, changes=changes, mirror=SIDED)
    assert torch.equal(moved_classes[[0, 2]], classes[[0, 2]])
    torch.testing.assert_close(moved[1], images[1].flip(2), rtol=0, atol=1e-5)


def test_scaling_is_about_the_centre_and_magnifies():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    disc = ((rows - 19.5) ** 2 + (columns - 29.5) ** 2 < 10**2).long()[None]
    image = disc[:, None].float()
    for scale in (0.7, 1.3):
        changes = torch.tensor([[0.0, 0.0, scale, 1.0, 1.0]])
        _, moved = transform(image, disc, air=torch.zeros(1, 1), changes=changes, mirror=(0, 1))
        assert int(moved.sum()) == pytest.approx(int(disc.sum()) * scale**2, rel=0.05)
        at = moved[0].nonzero().float().mean(dim=0)
        torch.testing.assert_close(at, torch.tensor([19.5, 29.5]), rtol=0, atol=0.01)


def test_shift_is_a_part_of_the_frame_whatever_the_scale():
    image = torch.zeros(1, 1, 41, 61)
    image[0, 0, 18:23, 28:33] = 1
    for scale in (0.7, 1.0, 1.3):
        changes = torch.tensor([[10 / 41, -20 / 61, scale, 1.0, -1.0]])
        moved, _ = transform(image, image[:, 0].long(), air=torch.zeros(1, 1), changes=changes, mirror=(0, 1))
        weight = moved[0, 0] / moved.sum()
        assert float((weight.sum(1) * torch.arange(41.0)).sum()) == pytest.approx(30, abs=0.05)
        assert float((weight.sum(0) * torch.arange(61.0)).sum()) == pytest.approx(10, abs=0.05)


def bent(*, degrees: float = 0.0, nodes: Tensor | None = None) -> Tensor:
    """A change of one sample by rotation and control points (2, *NODES) alone."""
    plain = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0, math.radians(degrees)]])
    return torch.cat([plain, (torch.zeros(2, *NODES) if nodes is None else nodes).reshape(1, -1)], dim=1)


def test_a_quarter_turn_turns_the_image_about_its_centre_in_frames_of_any_shape():
    image = torch.zeros(1, 1, 41, 61)
    image[0, 0, 20, 40] = 1  # ten pixels to the right of the centre
    for degrees, row, column in ((90, 10, 30), (-90, 30, 30), (180, 20, 20), (0, 20, 40)):
        moved, _ = transform(
            image, image[:, 0].long(), air=torch.zeros(1, 1), changes=bent(degrees=degrees), mirror=(0, 1)
        )
        assert divmod(int(moved.argmax()), 61) == (row, column)


def test_control_points_that_move_alike_shift_the_image_by_parts_of_the_height():
    image = torch.zeros(1, 1, 41, 61)
    image[0, 0, 18:23, 28:33] = 1
    nodes = torch.tensor([-8 / 41, 5 / 41])[:, None, None].expand(2, *NODES)  # of what comes from there
    moved, classes = transform(
        image, image[:, 0].long(), air=torch.zeros(1, 1), changes=bent(nodes=nodes), mirror=(0, 1)
    )
    at = classes[0].nonzero().float().mean(dim=0)
    torch.testing.assert_close(at, torch.tensor([20.0 - 5, 30.0 + 8]), rtol=0, atol=0.01)
    assert moved[0, 0, 15, 38] == pytest.approx(1, abs=1e-4)


def test_a_deformation_bends_and_does_not_tear():
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(160.0), indexing="ij")
    disc = ((rows - 40) ** 2 + (columns - 80) ** 2 < 25**2).long()[None]
    changes = torch.from_numpy(
        replace(BENT, shift=0.0, scale=[1, 1], rotation=0.0, deformation=0.035).draw(40, seed=0, epoch=0)
    )
    bent_ones = 0
    for change in changes:
        _, moved = transform(disc[:, None].float(), disc, air=torch.zeros(1, 1), changes=change[None], mirror=(0, 1))
        assert ndimage.label(moved[0].numpy())[1] == 1 and ndimage.label(1 - moved[0].numpy())[1] == 1
        assert 0.6 < int(moved.sum()) / int(disc.sum()) < 1.5
        bent_ones += not torch.equal(moved, disc)
    assert bent_ones > 30


def test_air_lies_beyond_the_frame_and_not_zero(batch):
    images, classes, air = batch
    air_image = air[:, :, None, None].expand_as(images).clone()
    for changes in (changes_of(3, rows=6, columns=-10), changes_of(3, scale=0.7), changes_of(3, rows=2.5)):
        moved, moved_classes = transform(air_image, torch.zeros_like(classes), air=air, changes=changes, mirror=PLAIN)
        torch.testing.assert_close(moved, air_image, rtol=0, atol=1e-5)
        assert not moved_classes.any()


def test_images_of_air_are_placed_per_channel(batch):
    images, classes, air = batch
    moved, _ = transform(images, classes, air=air, changes=changes_of(3, rows=6), mirror=PLAIN)
    torch.testing.assert_close(moved[:, :, 0, 0], air, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 300), ranges=st.sampled_from([PAPER, BENT]))
def test_label_and_image_move_together(seed, epoch, ranges):
    """An image that shows its own label still does after any change."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    disc = ((rows - 15) ** 2 / 80 + (columns - 35) ** 2 / 160 < 1)[None].expand(4, 40, 60)
    image = torch.where(disc, 2.0, -1.0)[:, None]
    changes = torch.from_numpy(ranges.draw(4, seed=seed, epoch=epoch))
    moved, moved_classes = transform(image, disc.long(), air=torch.full((4, 1), -1.0), changes=changes, mirror=(0, 1))
    unsure = (moved[:, 0] - 0.5).abs() < 1e-3
    assert torch.equal((moved[:, 0] > 0.5)[~unsure], (moved_classes > 0)[~unsure])


def test_images_may_be_in_half_precision(batch):
    images, classes, air = batch
    moved, _ = transform(images.bfloat16(), classes, air=air, changes=changes_of(3, rows=2), mirror=PLAIN)
    assert moved.dtype == torch.bfloat16


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 10_000),
    samples=st.integers(1, 40),
    more=st.integers(0, 40),
    ranges=st.sampled_from([PAPER, BENT]),
)
def test_draws_depend_on_seed_epoch_and_sample_alone(seed, epoch, samples, more, ranges):
    drawn = ranges.draw(samples, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(drawn, ranges.draw(samples + more, seed=seed, epoch=epoch)[:samples])
    assert drawn.dtype == np.float32
    assert drawn.shape == (samples, 5 if ranges is PAPER else 6 + 2 * math.prod(NODES))
    np.testing.assert_array_equal(drawn[:, :5], PAPER.draw(samples, seed=seed, epoch=epoch))
    for other in (PAPER.draw(samples, seed=seed + 1, epoch=epoch), PAPER.draw(samples, seed=seed, epoch=epoch + 1)):
        assert not (other[:, :3] == drawn[:, :3]).all(axis=1).any()
    assert len(np.unique(drawn[:, :3], axis=0)) == samples


def test_draws_fill_their_ranges():
    drawn = PAPER.draw(20_000, seed=3, epoch=4)
    assert -0.5 <= drawn[:, :2].min() < -0.49 and 0.49 < drawn[:, :2].max() <= 0.5
    assert 0.7 <= drawn[:, 2].min() < 0.71 and 1.29 < drawn[:, 2].max() <= np.float32(1.3)
    for column in (3, 4):
        assert set(drawn[:, column]) == {-1, 1}
        assert drawn[:, column].mean() == pytest.approx(0, abs=0.05)


def test_bends_fill_their_ranges():
    drawn = BENT.draw(5_000, seed=3, epoch=4)
    angle, displaced = np.degrees(drawn[:, 5]), drawn[:, 6:].std(axis=1)
    assert -30.01 <= angle.min() < -29.5 and 29.5 < angle.max() <= 30.01
    assert 0 < displaced.min() < 0.005 and 0.045 < displaced.max() < 0.06


@pytest.mark.parametrize(("chance", "value"), [(0.0, 1), (1.0, -1)])
def test_flips_never_or_always(chance, value):
    drawn = Augmentation(0, [1, 1], chance, chance).draw(100, seed=0, epoch=0)
    np.testing.assert_array_equal(drawn, np.broadcast_to([0, 0, 1, value, value], (100, 5)))


@pytest.mark.parametrize(
    ("ranges", "named"),
    [
        ((-0.1, [1, 1], 0, 0), "shift=-0.1"),
        ((1.1, [1, 1], 0, 0), "shift=1.1"),
        ((math.nan, [1, 1], 0, 0), "shift=nan"),
        ((0, [0, 1], 0, 0), "scale=[0, 1]"),
        ((0, [1.3, 0.7], 0, 0), "scale=[1.3, 0.7]"),
        ((0, [1, math.inf], 0, 0), "scale=[1, inf]"),
        ((0, [1, 1, 1], 0, 0), "scale=[1, 1, 1]"),
        ((0, [1, 1], 1.5, 0), "flip_horizontal=1.5"),
        ((0, [1, 1], 0, -1), "flip_vertical=-1"),
        ((0, [1, 1], 0, 0, -5), "rotation=-5"),
        ((0, [1, 1], 0, 0, math.nan), "rotation=nan"),
        ((0, [1, 1], 0, 0, 0, 0.2), "deformation=0.2"),
        ((0, [1, 1], 0, 0, 0, -0.01), "deformation=-0.01"),
    ],
)
def test_ranges_without_sense_are_named(ranges, named):
    (problem,) = Augmentation(*ranges).problems()
    assert named in problem
