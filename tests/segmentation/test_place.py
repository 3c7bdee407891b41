"""The network that tells places: alike in a mirror and beside PyTorch's, written and read again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.region.train import TorchPlaceNetwork, folded
from safetensors.numpy import load_file, save_file

from musclesense.errors import InputError
from musclesense.segmentation.place import FORMAT, FRAME, PLACES, Place, PlaceNetwork, place_network
from musclesense.vocabulary import Region


@pytest.fixture
def trained() -> TorchPlaceNetwork:
    """A network with statistics of its own in each layer."""
    torch.manual_seed(3)
    network = TorchPlaceNetwork()
    for _ in range(3):
        network.one_way(torch.from_numpy(slices(16)))
    return network.eval()


def slices(count: int = 3) -> np.ndarray:
    shape = (count, 1, FRAME.grid.rows, FRAME.grid.columns)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_numpy_computes_what_pytorch_does(trained: TorchPlaceNetwork) -> None:
    with torch.inference_mode():
        wanted = [found.numpy() for found in trained(torch.from_numpy(slices()))]
    for found, own in zip(folded(trained)(slices()), wanted, strict=True):
        assert found.shape == own.shape
        assert np.allclose(found, own, atol=1e-4)


def test_in_a_mirror_the_place_is_the_same_and_the_side_the_other(trained: TorchPlaceNetwork) -> None:
    network = folded(trained)
    places, left = network(slices())
    mirrored, right = network(slices()[..., ::-1])
    assert places.shape == (3, len(PLACES))
    assert np.allclose(places, mirrored, atol=1e-5)
    assert np.allclose(left, -right, atol=1e-5)
    assert np.abs(left).max() > 1e-4


def test_a_network_is_written_in_half_precision_and_read_again(trained: TorchPlaceNetwork, tmp_path: Path) -> None:
    network = folded(trained)
    network.write(tmp_path / "own.safetensors")
    again = PlaceNetwork.read(tmp_path / "own.safetensors")
    assert again.weights.keys() == network.weights.keys()
    for name, value in network.weights.items():
        assert np.allclose(again.weights[name], value, rtol=1e-3, atol=1e-6), name


def test_a_file_of_another_format_is_refused(trained: TorchPlaceNetwork, tmp_path: Path) -> None:
    folded(trained).write(tmp_path / "own.safetensors")
    weights = load_file(tmp_path / "own.safetensors")
    every = " ".join(PLACES)
    others = (
        *({"format": str(other), "places": every} for other in (FORMAT - 1, FORMAT + 1)),
        {"format": str(FORMAT), "places": "calf"},
        None,
    )
    for number, about in enumerate(others):
        file = tmp_path / f"{number}.safetensors"
        save_file(weights, file, about)
        with pytest.raises(InputError, match=f"is not of format {FORMAT}"):
            PlaceNetwork.read(file)


def test_the_network_of_the_package_is_small() -> None:
    assert 50_000 < sum(value.size for value in place_network().weights.values()) < 300_000


def test_regions_are_places() -> None:
    assert [place.region for place in PLACES if place.region] == [Region.CALF, Region.THIGH]
    assert all(place.said.startswith(("the ", "a", "no ")) for place in Place)
