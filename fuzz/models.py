"""Checkpoints: damaged archives, pickles that do things, networks that cannot be."""

import copy
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.images import placed_like
from fuzz.seeds import HYPER, HYPER_2, Seeds
from musclesense.studies.layout import StudyFolder

ACCEPT, REFUSE, EITHER = Verdict
VALUES: tuple[Any, ...] = (
    *(
        None,
        0,
        -1,
        1,
        1.5,
        10**6,
        10**9,
        10**30,
        float("nan"),
        float("inf"),
        True,
        "",
        "x",
        "../x",
        "fat",
        "calf",
        "thigh",
    ),
    *(
        [],
        [1],
        ["fat"],
        ["fat", "fat"],
        ["water"],
        ["fat"] * 10_000,
        {},
        {"a": 1},
        {"muscle": []},
        {"muscle": [1, 2]},
        [[[]]],
    ),
    *(
        {"muscle": [70_000]},
        {"muscle": [10**12]},
        {"left": [1]},
        {"a\nb": [1]},
        [None],
        [float("nan")],
        "a\x1b[31mb",
        b"x",
    ),
)
STRANGER = "import pathlib, torch\npathlib.Path('broken').touch()\nNet = torch.nn.Conv2d\n"
"""A module beside the checkpoint, which leaves a trace when it is imported."""
NETWORKS: tuple[dict[str, Any], ...] = (
    {"_target_": "stranger.Net", "kernel_size": 1},
    {"_target_": "stranger:Net", "name": "unet", "width": 1, "depth": 1},
    {"_target_": "stranger.nothing"},
    {"name": "stranger.Net", "kernel_size": 1},
    {"name": "unet", "width": 1, "depth": 1, "x": {"_target_": "stranger.Net"}},
    {"name": "unet", "width": 512, "depth": 3},
    {"name": "folded_unet", "width": 4, "depth": 2, "fold": 8, "detail": 1024},
    {"name": "smp_unet", "encoder": "tu-hf-hub:stranger/net"},
    {"name": "unet", "width": 1, "depth": [1] * 150_000},
    {"_target_": "os.system", "command": "echo broken > broken"},
    {"_target_": "torch.nn.Linear", "in_features": 10**5, "out_features": 10**6},
    {"_target_": "torch.nn.Identity"},
    {"_target_": "torch.nn.Module"},
    {"_target_": "torch.nn.Conv2d", "kernel_size": 10**5},
    {"_target_": "torch.nn.Conv2d", "kernel_size": 3},
    {"_target_": "musclesense.networks.unet.UNet", "width": 10**6, "depth": 5},
    {"_target_": "musclesense.networks.unet.UNet", "width": 4, "depth": 60},
    {"_target_": "musclesense.networks.unet.UNet", "width": 4, "depth": 10**6},
    {"_target_": "musclesense.networks.unet.UNet", "width": "x", "depth": None},
    {"_target_": "this.s"},
    {"_target_": "torch.nn.Sequential", "args": {"_target_": "os.system", "command": "echo broken > broken"}},
    {"_target_": 3},
    {},
)


class _Runs:
    """A pickle that runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("echo broken > broken",)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Spoil a checkpoint, and segment with it."""
    path, verdict = folder / "model.ckpt", EITHER
    (folder / "stranger.py").write_text(STRANGER)
    (folder / "fat.nii.gz").write_bytes(seeds.files["fat"])
    how = draw.one_of(("bytes", "archive", "hyper", "hyper", "network", "weights", "pickle", "folder", "many"))
    match how:
        case "bytes":
            content, said = draw.damaged(seeds.model)
            path.write_bytes(content)
        case "archive":
            said, verdict = _archive(draw, path, seeds.model), REFUSE
        case "hyper":
            hyper, said = copy.deepcopy(draw.one_of((HYPER, HYPER_2))), "hyper"
            spec = hyper.get("spec", hyper)
            for _ in range(1 + draw.below(2)):
                target = draw.one_of((spec, hyper, spec.get("grid"), spec.get("model", spec.get("network"))))
                target = target if isinstance(target, dict) and target else hyper
                name = draw.one_of(tuple(target))
                target[name] = draw.one_of(VALUES)
                said += f", {name}={str(target[name])[:40]}"
            sound.write_checkpoint(path, seeds.weights, hyper)
        case "network":
            chosen = draw.one_of(NETWORKS)
            former, present = {**HYPER, "model": chosen}, {**HYPER_2, "spec": {**sound.SPEC, "network": chosen}}
            sound.write_checkpoint(path, seeds.weights, draw.one_of((former, present)))
            said = f"network {chosen}"
        case "many":
            said, verdict = _many(draw, path, seeds), REFUSE
        case "weights":
            said = _weights(draw, path, seeds)
        case "pickle":
            said, verdict = _pickle(draw, path), REFUSE
        case "folder":
            said, verdict = _folder(draw, path, seeds), REFUSE
    images = ("--fat", "fat.nii.gz", "--region", draw.one_of(("thigh", "thigh", "thigh", "calf")))
    limbs = ("--limbs", draw.one_of(("both", "left")))
    arguments = ("segment", *images, *limbs, "--model", "model.ckpt", "--out", "out")
    like = placed_like(folder / "fat.nii.gz", ("mask",))

    def right(folder: Path, out: str) -> str | None:
        return "code beside or in the checkpoint was run" if (folder / "broken").exists() else like(folder, out)

    return Case(arguments=arguments, changes=f"{how}: {said}"[:300], verdict=verdict, right=right)


def _archive(draw: Draw, path: Path, content: bytes) -> str:
    """Write the archive again, with an entry that is missing, foreign or a bomb."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    how = draw.one_of(("lost", "bomb", "bomb in pickle", "empty", "text", "noise in pickle"))
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    weights = next(name for name in entries if "/data/" in name)
    match how:
        case "lost":
            del entries[draw.one_of((pickled, weights))]
        case "bomb":
            entries[weights] = bytes(2**30)
        case "bomb in pickle":
            entries[pickled] += bytes(2**30)
        case "empty":
            entries = {}
        case "text":
            entries = {"readme.txt": b"no network"}
        case "noise in pickle":
            entries[pickled] = draw.random.bytes(len(entries[pickled]))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return how


def _many(draw: Draw, path: Path, seeds: Seeds) -> str:
    """Describe a network by too many, too deep or endlessly shared values."""
    hyper = copy.deepcopy(HYPER_2)
    key, how = draw.one_of(tuple(hyper["spec"])), draw.one_of(("many", "deep", "shared", "labels"))
    held: Any = [draw.one_of(("fat", "thigh", 1.0, 1))]
    match how:
        case "many":
            held *= 100 + draw.below(10**6)
        case "deep":
            for _ in range(40 + draw.below(60)):
                held = draw.one_of(([held], {"muscle": held}))
        case "shared":
            for _ in range(20 + draw.below(60)):
                held = [held, held]
        case "labels":
            key, held = "labels", {f"muscle {number}": [number] for number in range(1, 257 + draw.below(10**5))}
    inside = key in ("labels", "grid", "network") and how != "labels"
    hyper["spec"][key] = {"muscle": held} if inside else held
    sound.write_checkpoint(path, seeds.weights, hyper)
    return f"{how} in {key}"


def _weights(draw: Draw, path: Path, seeds: Seeds) -> str:
    """Change what the network has learnt."""
    weights = {name: tensor.clone() for name, tensor in seeds.weights.items()}
    name = draw.one_of([name for name in weights if name.startswith("network")])
    how = draw.one_of(("nan", "inf", "lost", "more", "shape", "kind", "complex", "huge", "no tensor", "wide"))
    how = draw.one_of((how, "sparse", "rows", "strided", "all wide", "on no device"))
    match how:
        case "nan" | "inf":
            weights[name].flatten()[0] = float(how)
        case "lost":
            del weights[name]
        case "more":
            weights["network.more"] = torch.zeros(2)
        case "shape":
            weights[name] = weights[name][None]
        case "kind":
            weights[name] = weights[name].to(torch.int64)
        case "complex":
            weights[name] = weights[name].to(torch.complex64)
        case "huge":
            weights[name] = weights[name] + 3e38
        case "no tensor":
            weights[name] = "x"  # type: ignore[assignment]
        case "wide":
            weights[name] = torch.zeros(1).expand(10**5, 10**5)
        case "all wide":
            weights = {own: torch.zeros(1).expand(2**14, 2**13 + draw.below(2**13)) for own in weights}
        case "strided":
            weights[name] = torch.zeros(1000).as_strided((400, 400), (1, 1))
        case "sparse":
            size = 10 ** (1 + draw.below(9))
            weights[name] = torch.sparse_coo_tensor(torch.zeros((1, 1), dtype=torch.long), torch.ones(1), (size,))
        case "rows":
            weights[name] = torch.zeros(1, 1 + draw.below(2**10)).to_sparse_csr()
        case "on no device":
            weights[name] = torch.zeros(2**14, 2**14, device="meta")
    sound.write_checkpoint(path, weights, HYPER)
    return f"{name} {how}"


def _pickle(draw: Draw, path: Path) -> str:
    """Write something that torch or pickle reads, and that is no checkpoint."""
    how = draw.one_of(("code", "torch code", "tensor", "list", "legacy", "deep", "text", "empty"))
    match how:
        case "code":
            path.write_bytes(pickle.dumps(_Runs()))
        case "torch code":
            torch.save({"state_dict": {}, "hyper_parameters": HYPER, "x": _Runs()}, path)
        case "tensor":
            torch.save(torch.zeros(3), path)
        case "list":
            torch.save([1, 2], path)
        case "legacy":
            torch.save({"state_dict": {}}, path, _use_new_zipfile_serialization=False)
        case "deep":
            nested: list[Any] = []
            for _ in range(100):
                nested = [nested]
            torch.save({"state_dict": {}, "hyper_parameters": nested}, path)
        case "text":
            path.write_text("no network\n" * 10)
        case "empty":
            path.touch()
    return how


def _folder(draw: Draw, path: Path, seeds: Seeds) -> str:
    """Give a folder of runs of which one cannot be used."""
    how = draw.one_of(("empty", "no network", "damaged", "other", "loop"))
    if how == "loop":
        path.symlink_to(path.name)
        return how
    path.mkdir()
    for number in range(0 if how == "empty" else 2):
        run = StudyFolder(path).run(0, number)
        best = run.checkpoints.best
        best.parent.mkdir(parents=True)
        run.done.write_text("{}")
        if number == 0:
            best.write_bytes(seeds.model)
        elif how == "damaged":
            best.write_bytes(seeds.model[:-300])
        elif how == "other":
            sound.write_checkpoint(best, seeds.weights, {**HYPER, "threshold": 0.4})
    return how
