"""Fine-tuning: training begins with the weights of a trained network."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import InputError
from musclesense.networks.bundle import read_trained
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file
from musclesense.studies.content import read_content, voxels_in
from musclesense.studies.layout import RunFolder, StudyFolder

_LEAST_SHARE = 0.5
"""Of the parameters, fewer that fit are not the same kind of network."""


class Begun(NamedTuple):
    """What a network began with: SHA-256 of the file of the weights, and the names of those that are new."""

    sha256: str
    new: tuple[str, ...]


def begin_with(network: nn.Module, model: Path, classes: Collection[str] = ()) -> Begun:
    """Give a network the weights of a trained one, but for layers of another shape, which stay as they were made.

    Other images change the shape of the first layer; other labels that of the last.

    Args:
        network: Freshly made.
        model: A checkpoint or a bundle.
        classes: Dotted names of networks of one's own that it may name.

    Raises:
        InputError: It cannot be read, or less than half of the parameters fit.
    """
    trained = read_trained(model, classes)
    own, given = network.state_dict(), trained.network.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if (share := _numbers(fitting) / max(_numbers(own), 1)) < _LEAST_SHARE:
        raise InputError(
            f"pretrained={model}: only {100 * share:.0f} % of the network's parameters have the shape of those there; "
            "give a network of the same kind, or its model=..."
        )
    network.load_state_dict(own | fitting)
    return Begun(digest_of_bytes(trained.weights_file), tuple(name for name in own if name not in fitting))


def _numbers(weights: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in weights.values() if torch.is_floating_point(tensor))


def require_unseen(model: Path, cohort: Sequence[Mapping[str, Any]], subjects: Collection[str]) -> None:
    """Refuse a network whose own training has seen subjects of a run that it must not know.

    What a run of a study was trained on is known. What others were trained on is not.

    Args:
        model: A checkpoint or a bundle.
        cohort: The rows of the study that is to be trained, as `read_content` gives them.
        subjects: Those that the run validates and tests by.

    Raises:
        InputError: Names one of them.
    """
    run = RunFolder.of(model)
    if run is None or run.folds is None:
        return
    study = StudyFolder(run.path.parent)
    if not is_file(study.folds):
        return
    learnt = NestedFolds.load(study.folds).split(*run.folds).train
    known = {voxels for row in read_content(study) or [] if row["subject"] in learnt for voxels in voxels_in(row)}
    for row in cohort:
        if row["subject"] in subjects and known.intersection(voxels_in(row)):
            raise InputError(
                f"pretrained={model}: was trained on subject {row['subject']!r}, whom this run validates or tests by; "
                "give a network that has not seen the subject"
            )
