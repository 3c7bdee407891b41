"""Studies to be exported, sound and unfinished; bundles of several networks, sound and spoilt."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.images import placed_like
from fuzz.models import VALUES
from fuzz.seeds import SPEC, Seeds
from musclesense.networks.bundle import write_bundle
from musclesense.networks.card import CARD, WEIGHTS
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.layout import RunFolder, StudyFolder

_PLAIN = tuple(value for value in VALUES if not isinstance(value, bytes))
"""What JSON holds."""


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Export a study, or segment with a bundle."""
    return _exported(draw, folder, seeds) if draw.chance(0.4) else _segmented(draw, folder, seeds)


def _exported(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Draw which runs of a study are finished, begun or never begun; all of the folds that it began must be."""
    outers, inners = 1 + draw.below(3), 1 + draw.below(3)
    first, states, study = draw.below(2), dict[tuple[int, int], str](), StudyFolder(folder / "runs")
    for outer in range(first, first + outers):
        for inner in range(inners):
            states[outer, inner] = draw.one_of(("finished",) * 12 + ("begun", "failed", "absent"))
            _run(study.run(outer, inner), states[outer, inner], seeds, draw)
    begun = [fold for fold, state in states.items() if state != "absent"]
    asked = {(outer, inner) for outer, _ in begun for _, inner in begun}
    complete = bool(begun) and all(states[fold] == "finished" for fold in asked)
    half = draw.chance(0.5)
    arguments = ("export-bundle", "runs", "--out", "out", *(("--half",) if half else ()))
    files = [study.run(*fold).checkpoints.best for fold in begun]
    expected = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.exists()]

    def right(folder: Path, said: str) -> str | None:
        card = json.loads((folder / "out" / CARD).read_text())
        content = (folder / "out" / WEIGHTS).read_bytes()
        kinds = {tensor.dtype for tensor in load(content).values() if tensor.is_floating_point()}
        known = {
            "weights_sha256": card["weights_sha256"] == hashlib.sha256(content).hexdigest(),
            "networks": card["networks"] == len(begun),
            "made_of": sorted(card["about"]["made_of"]) == sorted({*expected}),
            "precision": kinds == {torch.float16 if half else torch.float32},
        }
        wrong = [name for name, holds in known.items() if not holds]
        return f"wrong {', '.join(wrong)}" if wrong else None

    verdict = Verdict.ACCEPT if complete else Verdict.REFUSE
    return Case(arguments=arguments, changes=f"{states}", verdict=verdict, right=right)


def _run(run: RunFolder, state: str, seeds: Seeds, draw: Draw) -> None:
    if state == "absent":
        return
    run.checkpoints.path.mkdir(parents=True)
    weights = {
        name: tensor + draw.below(3) * 1e-3 * tensor.is_floating_point() for name, tensor in seeds.weights.items()
    }
    sound.write_checkpoint(run.checkpoints.best, weights, sound.HYPER_2)
    if state != "begun":
        (run.done if state == "finished" else run.failed).write_text("{}")


def _segmented(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Spoil a bundle of some networks in one way, or leave it as it is."""
    networks = [{name.removeprefix("network."): tensor for name, tensor in seeds.weights.items()}] * (
        1 + draw.below(12)
    )
    (folder / "fat.nii.gz").write_bytes(seeds.files["fat"])
    bundle = folder / draw.one_of(("bundle", "any_scanner_fat.ckpt", "mine 2"))
    write_bundle(bundle, NetworkSpec.from_config(SPEC), networks, {"title": "fuzz"})
    how = draw.one_of(("sound", "sound", "bytes", "card", "value", "number", "renamed", "nan", "cut", "swapped"))
    said, verdict = _spoil(draw, bundle, how, len(networks))
    arguments = ("segment", "--fat", "fat.nii.gz", "--region", "thigh", "--limbs", "both", "--model", bundle.name)
    right = placed_like(folder / "fat.nii.gz", ("mask",))
    changes = f"{len(networks)} networks, {how}: {said}"[:300]
    return Case(arguments=(*arguments, "--out", "out"), changes=changes, verdict=verdict, right=right)


def _spoil(draw: Draw, bundle: Path, how: str, count: int) -> tuple[str, Verdict]:
    card: dict[str, Any] = json.loads((bundle / CARD).read_text())
    content = (bundle / WEIGHTS).read_bytes()
    weights, said, verdict = load(content), "", Verdict.REFUSE
    name = draw.one_of([name for name, tensor in weights.items() if tensor.is_floating_point()])
    match how:
        case "sound":
            verdict = Verdict.ACCEPT
        case "bytes":
            damaged, said = draw.damaged(content)
            (bundle / WEIGHTS).write_bytes(damaged)
            verdict = Verdict.ACCEPT if damaged == content else Verdict.REFUSE
        case "card":
            damaged, said = draw.damaged((bundle / CARD).read_bytes())
            (bundle / CARD).write_bytes(damaged)
            verdict = Verdict.EITHER
        case "value":
            place = draw.one_of((card, card["spec"], card["about"]))
            key = draw.one_of(tuple(place))
            place[key], verdict = draw.one_of(_PLAIN), Verdict.EITHER
            said = f"{key}={str(place[key])[:60]}"
        case "number":
            card["networks"] = draw.one_of((0, count - 1, count + 1, 10**9, -1, None, str(count)))
            said = str(card["networks"])
        case "renamed":
            said = draw.one_of((f"{count}.{name[2:]}", name.partition(".")[2], f"-1.{name}", f"x.{name}", name + "x"))
            weights[said] = weights.pop(name)
        case "nan":
            weights[name] = torch.full_like(weights[name], draw.one_of((float("nan"), float("inf"))))
        case "cut":
            del weights[name]
        case "swapped":
            (bundle / WEIGHTS).write_bytes(save({key: tensor + 1 for key, tensor in weights.items()}))
    if how in ("renamed", "nan", "cut"):  # by somebody who writes the digest, too
        (bundle / WEIGHTS).write_bytes(save(weights))
        card["weights_sha256"] = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    if how not in ("sound", "bytes", "card", "swapped"):
        (bundle / CARD).write_text(json.dumps(card))
    return said, verdict
