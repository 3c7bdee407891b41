"""MONAI and nnU-Net on the slices of `benchmarks.speed.segment_cpu`, where they are installed."""

from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Images = NDArray[np.float32]
Run = Callable[[Images], Any]


def others(network: torch.nn.Module, stack: Images) -> dict[str, Run]:
    """Give what others do with the slices, by name; what is not installed is left out.

    Args:
        network: Ours, which MONAI's and nnU-Net's sliding windows take as it is, one window of the whole frame a slice.
        stack: The same slices in the scan's own voxels, (slices, 1, rows, columns), which nnU-Net's own network looks
            at, whatever images a run is called with: it is planned by nnU-Net's rules and has random weights.
    """
    runs: dict[str, Run] = {}
    if find_spec("monai"):
        runs["MONAI sliding window over ours, fast"] = lambda images: _by_monai(network, images)
    if find_spec("nnunetv2"):
        heads = _heads(network)
        runs["nnU-Net sliding window over ours, fast"] = lambda images: _by_nnunet(network, heads, images, mirror=False)
        planned, size = _planned(stack.shape[2:])
        runs["nnU-Net, its own 2d network, fast"] = lambda _: _by_nnunet(planned, 2, stack, size, mirror=False)
        runs["nnU-Net, its own 2d network, default"] = lambda _: _by_nnunet(planned, 2, stack, size, mirror=True)
    return runs


@torch.inference_mode()
def _by_monai(network: torch.nn.Module, images: Images) -> Any:
    from monai.inferers import sliding_window_inference

    return sliding_window_inference(torch.from_numpy(images), images.shape[2:], 4, network, overlap=0).softmax(dim=1)


@torch.inference_mode()
def _by_nnunet(
    network: torch.nn.Module, heads: int, images: Images, size: tuple[int, ...] | None = None, *, mirror: bool
) -> Any:
    """Predict by nnU-Net's sliding window, with its own steps of half a window and, as its default is, mirrored."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.network, predictor.list_of_parameters = network, [network.state_dict()]
    predictor.allowed_mirroring_axes = (0, 1)
    # What it asks of a plan and of a data set.
    predictor.configuration_manager = SimpleNamespace(patch_size=size or images.shape[2:])
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=heads)
    return predictor.predict_logits_from_preprocessed_data(torch.from_numpy(images.swapaxes(0, 1))).softmax(dim=0)


@torch.inference_mode()
def _heads(network: torch.nn.Module) -> int:
    return int(network(torch.zeros(1, 1, 64, 64)).shape[1])


def _planned(shape: tuple[int, ...]) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """Build the 2d U-Net that nnU-Net's planner chooses for slices of this shape with square voxels, and its window."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    _, strides, kernels, size, _ = get_pool_and_conv_props((1.0, 1.0), shape, 4, 999_999)
    stages = len(strides)
    network = PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=[min(512, 32 * 2**stage) for stage in range(stages)],
        conv_op=torch.nn.Conv2d,
        kernel_sizes=kernels,
        strides=strides,
        n_conv_per_stage=[2] * stages,
        num_classes=2,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    return network.eval(), tuple(int(side) for side in size)
