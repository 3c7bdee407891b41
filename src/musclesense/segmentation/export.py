"""One bundle of trained networks to give away: those of a study, of a run, of a checkpoint or of another bundle."""

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from musclesense.errors import ArgumentError, InputError
from musclesense.messages import log
from musclesense.metrics.case import Case
from musclesense.networks.bundle import TrainedNetwork, write_bundle
from musclesense.networks.card import SUFFIX, digest_of_weights
from musclesense.networks.onnx import UnsuitedError, onnx_model
from musclesense.networks.shipped import place_of
from musclesense.segmentation.segmenter import trained_networks
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import is_file, require_free
from musclesense.storage.records import read_yaml
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_study

_OF_ITSELF = ("format", "file", "sha256", "spec", "musclesense")
"""What a card says of the file that it lies beside; a bundle says so of itself."""


def export_bundle(
    model: str | os.PathLike[str],
    out: Path,
    *,
    card: Path | None = None,
    half: bool = False,
    across_mm: float | None = None,
    allow_class: Collection[str] = (),
) -> Path:
    """Write a bundle of all networks that a model holds.

    Args:
        model: A study's folder, a run's folder, a checkpoint or a bundle.
        out: Folder to make, or a file whose name ends with ``.musclesense``.
        card: A YAML file of what people say of the networks, such as ``title``, ``use`` and ``not_for``.
        half: Store weights in half precision, in half the room.
        across_mm: Of `NetworkSpec`: how far slices beside each other count; None: as it is.
        allow_class: Networks of the user's own that the model may name.

    Returns:
        The bundle.

    Raises:
        InputError: Nothing usable is there, a study has unfinished runs, the card is of another network, or ``out`` is
            in use.
    """
    require_free(out, or_empty=out.suffix != SUFFIX)
    _require_finished(place_of(model))
    networks = trained_networks(model, allow_class)
    for other in networks:
        if other.spec != networks[0].spec:
            raise InputError(f"{other.path}: is not of the network of {networks[0].path}; give networks of one study")
    made_of = [digest_of_weights(file) for file in dict.fromkeys(one.weights_file for one in networks)]
    said = {} if card is None else _words(card, made_of)
    about = {"title": place_of(model).absolute().name, **_of_study(networks), **said, "made_of": made_of}
    states = [one.network.state_dict() for one in networks]
    spec = networks[0].spec if across_mm is None else replace(networks[0].spec, across_mm=across_mm)
    write_bundle(out, spec, [*map(_in_half, states)] if half else states, about)
    return out


def export_onnx(model: str | os.PathLike[str], out: Path, *, allow_class: Collection[str] = ()) -> Path:
    """Write one network as an ONNX model, for other programs.

    It maps ``images`` to ``probabilities``, as `musclesense.networks.onnx` says. Its metadata hold the network's
    specification as JSON, under the key ``spec``.

    Args:
        model: As of `export_bundle`, of one network.
        out: File to write.
        allow_class: Likewise.

    Returns:
        The file.

    Raises:
        InputError: Nothing usable is there, there are several networks or one of another kind, or ``out`` is in use.
    """
    require_free(out)
    first, *others = trained_networks(model, allow_class)
    if others:
        raise InputError(f"{model}: holds {1 + len(others)} networks; give a run, a checkpoint or a bundle of one")
    weights = {name: value.numpy() for name, value in first.network.state_dict().items()}
    try:
        content = onnx_model(first.spec, weights, {"spec": json.dumps(first.spec.to_config())})
    except UnsuitedError as error:
        said = f"{model}: cannot be written as ONNX ({error}); the project's U-Nets can, others by torch.onnx.export"
        raise InputError(said) from error
    with atomic_path(out) as draft:
        draft.write_bytes(content)
    return out


def _require_finished(folder: Path) -> None:
    """Refuse a study of which runs are on their way: of all outer and inner folds that it has begun."""
    if RunFolder(folder).is_finished:
        return
    begun = [run.folds for run in StudyFolder(folder).begun_runs() if run.folds]
    asked = product(sorted({outer for outer, _ in begun}), sorted({inner for _, inner in begun}))
    runs = [StudyFolder(folder).run(*fold) for fold in asked]
    remedy = "finish it by the command that began the study, or give the folder of one run"
    if problems := [f"{run.path}: is not finished; {remedy}" for run in runs if not run.is_finished]:
        raise InputError(*problems)


def _words(card: Path, digests: Sequence[str]) -> dict[str, Any]:
    """Read what people say of the networks, and what commands measured of them."""
    said = read_yaml(card, remedy="give the card of the networks")
    if not isinstance(said, dict):
        raise InputError(f"{card}: says nothing; give lines such as title: Whole muscle in fat images")
    if said.get("sha256", *digests[:1]) not in digests:
        raise InputError(f"{card}: its sha256 is that of another network; give the card of this one")
    own = {str(name): value for name, value in said.items() if name not in _OF_ITSELF}
    plain: dict[str, Any] = json.loads(json.dumps(own, default=str))  # YAML knows dates
    return plain


def _of_study(networks: Sequence[TrainedNetwork]) -> Mapping[str, Any]:
    """Say of networks of a study what it knows of them; of a bundle what it says."""
    if about := networks[0].card.get("about"):
        return about if isinstance(about, dict) else {}
    runs = [RunFolder(one.path.absolute().parent.parent) for one in networks]
    folder = StudyFolder(runs[0].path.parent)
    if not (is_file(folder.settings) and is_file(folder.folds) and all(run.folds and run.is_finished for run in runs)):
        return {}
    study = read_study(folder.path)
    if len(runs) < len(study.runs):
        log.info(f"{folder.path}: {len(runs)} of the {len(study.runs)} runs that its folds ask for")
    own = {run.folds for run in runs}
    cases = [case for run in study.runs if (run.outer, run.inner) in own for case in run.cases]
    who = f"{len(study.subjects)} {'phantoms' if study.phantom else 'subjects'}"
    return {
        **{"title": study.title, "trained_on": who},
        **{"runs": [run.name for run in runs], "figures": [*_figures(cases)]},
    }


def _figures(cases: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """Give the mean Dice of each region and label over the test cases, as the cards of networks have it."""
    groups = defaultdict[tuple[str, str], list[Case]](list)
    for case in cases:
        groups[str(case.region), case.label].append(case)
    for (region, label), own in groups.items():
        counts = {"subjects": len({case.subject for case in own}), "slices": len({(c.line, c.slice) for c in own})}
        known = [case.dice for case in own if case.dice is not None]
        mean = {"dice": round(fmean(known), 3)} if known else {}
        yield {"on": "test cases of its folds", "region": region, "label": label} | counts | mean


def _in_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    made = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    if large := [name for name, value in made.items() if not value.isfinite().all()]:
        raise ArgumentError(f"{{half}}: {large[0]} holds numbers too large for it; leave it out", half="")
    return made
