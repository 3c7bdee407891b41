"""The U-Net: shapes, parameters, gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.networks.unet import FoldedUNet, UNet


def parameters_of(channels: int, classes: int, width: int, depth: int) -> int:
    """Count by hand: 3x3 convolutions without bias, two numbers a feature for normalisation, 2x2 upsampling."""

    def block(before: int, after: int) -> int:
        return 9 * before * after + 2 * after + 9 * after * after + 2 * after

    features = [width * 2**stage for stage in range(depth)]
    down = sum(block(a, b) for a, b in zip([channels, *features], features, strict=False))
    up = sum(4 * 2 * size * size + size + block(2 * size, size) for size in features[:-1])
    return down + up + width * classes + classes


def assert_logits_for_each_pixel(network: torch.nn.Module, channels: int, classes: int, rows: int, columns: int):
    with torch.inference_mode():
        logits = network.eval()(torch.randn(2, channels, rows, columns))
    assert logits.shape == (2, classes, rows, columns)
    assert logits.isfinite().all()


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 21),
    columns=st.integers(1, 21),
    channels=st.integers(1, 5),
    classes=st.integers(2, 4),
    depth=st.integers(1, 4),
)
def test_frames_of_any_size_keep_their_shape(rows, columns, channels, classes, depth):
    network = UNet(in_channels=channels, out_channels=classes, width=2, depth=depth)
    assert_logits_for_each_pixel(network, channels, classes, rows, columns)


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (4, 1), (4, 3), (12, 4)])
def test_parameters_are_those_counted_by_hand(width, depth):
    network = UNet(in_channels=4, out_channels=2, width=width, depth=depth)
    assert sum(p.numel() for p in network.parameters()) == parameters_of(4, 2, width, depth)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = UNet(in_channels=2, out_channels=2, width=3, depth=3)
    network(torch.randn(2, 2, 13, 10)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_padding_is_cropped_where_it_was_added():
    """Only rows and columns beyond the frame are padded, so a frame that needs none sees the same numbers."""
    torch.manual_seed(0)
    network = UNet(in_channels=1, out_channels=2, width=2, depth=3).eval()
    odd = torch.randn(1, 1, 10, 13)
    padded = torch.nn.functional.pad(odd, (0, 3, 0, 2), mode="replicate")
    with torch.inference_mode():
        torch.testing.assert_close(network(odd), network(padded)[..., :10, :13])


@pytest.mark.parametrize("name", ["width", "depth"])
def test_no_width_or_depth_is_refused(name):
    with pytest.raises(InputError, match=f"model.{name}=0"):
        UNet(**{"in_channels": 1, "out_channels": 2, "width": 2, "depth": 2, name: 0})


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 21),
    columns=st.integers(1, 21),
    fold=st.integers(1, 3),
    depth=st.integers(1, 3),
    detail=st.integers(0, 2),
)
def test_folded_frames_of_any_size_keep_their_shape(rows, columns, fold, depth, detail):
    network = FoldedUNet(in_channels=3, out_channels=2, width=2, depth=depth, fold=fold, detail=detail)
    assert_logits_for_each_pixel(network, 3, 2, rows, columns)


def test_folded_once_is_the_unet_itself():
    torch.manual_seed(0)
    network = FoldedUNet(in_channels=2, out_channels=2, width=3, depth=2, fold=1).eval()
    images = torch.randn(1, 2, 9, 12)
    with torch.inference_mode():
        assert torch.equal(network(images), network.unet(images))


def test_unfolded_logits_lie_where_their_pixels_lie():
    """A network that hands through what it is given has folded nothing away and moved nothing."""
    network = FoldedUNet(in_channels=2, out_channels=2, width=1, depth=1, fold=2)
    network.unet = torch.nn.Identity()  # type: ignore[assignment]
    images = torch.randn(1, 2, 7, 10)
    assert torch.equal(network(images), images)


@pytest.mark.parametrize("fold", [0, -1, 9, 1.5])
def test_what_cannot_be_folded_is_refused(fold):
    with pytest.raises(InputError, match=f"model.fold={fold} cannot be taken"):
        FoldedUNet(in_channels=1, out_channels=2, width=2, depth=2, fold=fold)


def test_borders_are_drawn_from_the_images_at_the_full_resolution():
    """Whatever the folded network says, a single pixel of the images changes the logits of its neighbours."""
    torch.manual_seed(0)
    network = FoldedUNet(in_channels=1, out_channels=2, width=2, depth=2, fold=2, detail=3).eval()
    network.unet = _Silent(12)  # type: ignore[assignment]
    images = torch.zeros(1, 1, 9, 9)
    with torch.inference_mode():
        before = network(images)
        images[..., 4, 4] = 1
        changed = (network(images) != before).any(dim=1)[0]
    rows, columns = changed.nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 6, 2, 6)


class _Silent(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, folded: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(folded), self._channels, *folded.shape[2:])


@pytest.mark.parametrize("detail", [-1, 1025, 2.5])
def test_details_that_make_no_network_are_refused(detail):
    with pytest.raises(InputError, match=f"model.detail={detail} cannot be taken"):
        FoldedUNet(in_channels=1, out_channels=2, width=2, depth=2, fold=2, detail=detail)
