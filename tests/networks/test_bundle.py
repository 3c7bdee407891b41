"""Stored networks: checkpoints of both formats and bundles that load safely, or are refused in a line."""

import copy
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musclesense.errors import InputError
from musclesense.imaging.frame import Frame
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.networks.build import build_network
from musclesense.networks.bundle import (
    CHECKPOINT_FORMAT,
    read_bundle,
    read_checkpoint,
    read_networks,
    read_trained,
    write_bundle,
)
from musclesense.networks.card import CARD, SUFFIX, WEIGHTS, digest_of_weights, is_bundle, read_card
from musclesense.networks.torch_predictor import TorchPredictor

from ..shared.networks import BEFORE, PUBLISHED, checkpoint_of, lay_bare, spec_of

FORMER_BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_format_1"
Tamper = Callable[..., Path]


@pytest.fixture(scope="module")
def former() -> dict[str, Any]:
    """A checkpoint of format 1."""
    path = BEFORE / "study" / "outer0_inner0" / "checkpoints" / "best.ckpt"
    content: dict[str, Any] = torch.load(path, weights_only=True)
    assert "format" not in content
    return content


@pytest.fixture
def tampered(tmp_path: Path, former: dict[str, Any]) -> Tamper:
    """Write a checkpoint of a format with another content under some keys of its description."""

    def write(version: int, **changed: Any) -> Path:
        content = copy.deepcopy(former)
        if version == 1:
            content["hyper_parameters"] |= changed
        else:
            content = checkpoint_of(spec_of(), build_network(spec_of()).state_dict())
            content["hyper_parameters"]["spec"] |= changed
        torch.save(content, tmp_path / "tampered.ckpt")
        return tmp_path / "tampered.ckpt"

    return write


def test_a_checkpoint_of_format_1_is_read_as_it_was(former: dict[str, Any]) -> None:
    trained = read_checkpoint(BEFORE / "study" / "outer0_inner0" / "checkpoints" / "best.ckpt")
    spec = trained.spec
    assert spec.channels == ("fat", "water", "te345", "te575") and spec.placed_by == "fat"
    assert spec.labels.names == ("muscle",) and spec.threshold == 0.5
    assert (spec.grid.rows, spec.grid.columns, spec.grid.spacing_mm) == (32, 64, 6.4)
    assert spec.regions == ("calf", "thigh")
    assert spec.network == {"name": "unet", "width": 4, "depth": 3}
    assert trained.training["loss"] == {"name": "dice_cross_entropy", "dice_weight": 1.0}
    assert trained.training["optimizer"] == {"name": "adamw", "lr": 0.02, "weight_decay": 0.0001}
    assert trained.training["schedule"]["name"] == "one_cycle"
    state = trained.network.state_dict()
    assert {f"network.{name}" for name in state} == former["state_dict"].keys()
    assert all(torch.equal(value, former["state_dict"][f"network.{name}"]) for name, value in state.items())
    assert not trained.network.training


def test_a_checkpoint_from_before_test_time_augmentation_has_none(former: dict[str, Any], tmp_path: Path) -> None:
    content = copy.deepcopy(former)
    for name in ("mirrored", "scales"):
        del content["hyper_parameters"][name]
    torch.save(content, tmp_path / "older.ckpt")
    older = read_checkpoint(tmp_path / "older.ckpt").spec
    assert not older.flip and older.scales == (1.0,)


def test_the_published_network_gives_the_probabilities_that_it_gave_before() -> None:
    known = np.load(BEFORE / "model_probabilities.npz")
    noise = np.random.default_rng(0).normal(size=(1, 1, 160, 320)).astype(np.float32)
    trained = read_checkpoint(PUBLISHED)
    assert trained.spec.flip and trained.spec.scales == (1.0, 1.3)
    predictor = TorchPredictor(trained.network, trained.spec, "cpu")
    rows, columns = (slice(*ends) for ends in known["window"])
    for name, images in (("noise", noise), ("phantom", known["phantom_input"].astype(np.float32)[None, None])):
        found = predictor.probabilities(images)[0, 0]
        np.testing.assert_allclose(found[rows, columns], known[name], atol=2e-6)
        assert float(found.mean()) == pytest.approx(float(known[f"{name}_mean"]), abs=1e-6)


def test_what_the_frame_prepares_is_what_the_network_was_given_before() -> None:
    volume = read_volume(BEFORE / "phantom-smoke-1" / "sub-004" / "ses-1" / "thigh" / "fat.nii.gz")
    frame = read_checkpoint(PUBLISHED).spec.frame
    assert frame == Frame(frame.grid, ("fat",), "fat")
    middle = take_slice(volume.data, volume.geometry, min(volume.geometry.shape) // 2)
    images = frame.prepare(volume.geometry, {"fat": middle}).images
    assert np.array_equal(images[0].astype(np.float16), np.load(BEFORE / "model_probabilities.npz")["phantom_input"])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "no.such.thing", "torch.optim.AdamW"])
def test_a_target_that_is_no_module_is_not_called(
    tampered: Tamper, version: int, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("called"))
    network = {"_target_": target, "command": "true"}
    with pytest.raises(InputError, match=target) as raised:
        read_checkpoint(tampered(version, **{"model" if version == 1 else "network": network}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", [1, 2])
def test_a_target_among_the_arguments_is_not_called(tampered: Tamper, version: int, tmp_path: Path) -> None:
    inner = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    unet = {"_target_": "musclesense.networks.unet.UNet", "width": inner, "depth": 3}
    with pytest.raises(InputError, match="model"):
        read_checkpoint(tampered(version, **{"model" if version == 1 else "network": unet}))
    with pytest.raises(InputError):
        read_checkpoint(tampered(version, grid=inner))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "foreign"])
def test_unusable_checkpoints_are_named(tampered: Tamper, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "some.ckpt"
    if damage == "truncated":
        path.write_bytes(tampered(2).read_bytes()[:5000])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match=r"some\.ckpt: not a usable checkpoint") as raised:
        read_networks(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "now", "said"),
    [
        ({"channels": ["fat", "fat"]}, {}, "channels="),
        ({"channels": []}, {}, "channels="),
        ({"regions": ["hip"]}, {}, "region.regions="),
        ({"threshold": float("nan")}, {}, "inference.threshold=nan"),
        ({"mirrored": "yes"}, {"flip": "yes"}, "inference.flip=yes"),
        ({"scales": [3.0]}, {}, "inference.scales=[3.0]"),
        ({"grid": {"spacing_mm": 1e9, "rows": 32, "columns": 64}}, {}, "grid.spacing_mm="),
        ({"grid": {"spacing_mm": 6.4, "rows": 10**9, "columns": 64}}, {}, "grid.rows="),
        ({"scales": [1.0] * 33}, {}, "give 1 to 32"),
        ({"regions": ["thigh", "thigh"]}, {}, "region.regions="),
        ({"model": {"_target_": 3}}, {}, "--allow-class 3 lets it run"),
        ({"model": [[]]}, {"network": [[]]}, ""),
        ({"model": {"_target_": "this.s"}}, {}, "--allow-class this.s lets it run"),
        ({"model": {"name": "unet", "width": 1024, "depth": 4}}, {}, "parameters are too many for any machine"),
        ({"model": {"name": "unet", "width": 64, "depth": 4}}, {}, "parameters and weights for "),
        ({"model": {"name": "unet", "width": [0] * 200_000, "depth": 4}}, {}, "holds more than 100000 values"),
        ({"model": {"name": "unit"}}, {}, "model.name=unit: no such network, perhaps unet"),
    ],
)
def test_a_checkpoint_of_a_network_that_cannot_be_is_refused(
    tampered: Tamper, changed: dict[str, Any], now: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    present = now or {"network" if name == "model" else name: value for name, value in changed.items()}
    for version, different in ((1, changed), (2, present)):
        with pytest.raises(InputError, match=r"not a usable checkpoint \(.*" + re.escape(said)) as raised:
            read_checkpoint(tampered(version, **different))
        assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", 1j, "wide"])
def test_weights_that_are_no_finite_numbers_are_refused(former: dict[str, Any], tmp_path: Path, value: Any) -> None:
    content = copy.deepcopy(former)
    name = next(name for name in content["state_dict"] if name.endswith("weight"))
    weights = content["state_dict"][name]
    wide = torch.zeros(1).expand(10**5, 10**5)  # which would take 40 GB
    content["state_dict"][name] = wide if value == "wide" else value if isinstance(value, str) else weights * value
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="holds no finite real numbers"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("name", ["network.more", "more"])
def test_weights_of_another_network_are_refused(former: dict[str, Any], tmp_path: Path, name: str) -> None:
    content = copy.deepcopy(former)
    content["state_dict"][name] = torch.zeros(2)
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"not a usable checkpoint .*more"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tampered: Tamper, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tampered(2)) as sound,
        zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in sound.namelist():
            bomb.writestr(name, sound.read(name) if "/data/" not in name else bytes(2**20))
    with pytest.raises(InputError, match="its entries are compressed"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("found", [CHECKPOINT_FORMAT + 1, 0, "2", None])
def test_a_checkpoint_of_a_newer_format_is_refused(former: dict[str, Any], tmp_path: Path, found: Any) -> None:
    torch.save(former | {"format": found}, tmp_path / "x.ckpt")
    said = (
        f"format {found}, and this release knows up to {CHECKPOINT_FORMAT}"
        if found == CHECKPOINT_FORMAT + 1
        else f"format '{found}' is no format"
    )
    with pytest.raises(InputError, match=rf"x\.ckpt: not a usable checkpoint \({said}; "):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(("normalisation", "number"), [("z_score", 2), ("body_z_score", 3), ("percentile", 3)])
def test_files_of_a_normalisation_that_older_releases_do_not_know_have_a_number_that_they_refuse(
    tmp_path: Path, normalisation: str, number: int
) -> None:
    spec = spec_of(normalisation=normalisation)
    weights = build_network(spec).state_dict()
    write_bundle(tmp_path / "bundle", spec, [weights], {})
    torch.save(checkpoint_of(spec, weights), tmp_path / "x.ckpt")
    (bundle,), checkpoint = read_networks(tmp_path / "bundle"), read_checkpoint(tmp_path / "x.ckpt")
    assert bundle.spec.normalisation == checkpoint.spec.normalisation == normalisation
    assert json.loads((tmp_path / "bundle" / "card.json").read_text())["format"] == number
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["format"] == number


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    spec = spec_of(flip=True, scales=(1.0, 1.3), placed_by="water", threshold=0.4)
    torch.manual_seed(0)
    write_bundle(tmp_path / "bundle", spec, [build_network(spec).state_dict()], {"training_data": "none"})
    return tmp_path / "bundle"


def test_a_bundle_is_read_as_it_was_written(bundled: Path) -> None:
    (trained,) = read_networks(bundled)
    assert trained.spec == spec_of(flip=True, scales=(1.0, 1.3), placed_by="water", threshold=0.4)
    torch.manual_seed(0)
    expected = build_network(trained.spec).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trained.network.state_dict().items())
    assert trained.card["about"] == {"training_data": "none"}
    assert set(trained.card["versions"]) == {"musclesense", "python", "torch"}
    assert {file.name for file in bundled.iterdir()} == {CARD, WEIGHTS}
    assert trained.weights_file == bundled / WEIGHTS


def test_a_bundle_of_the_first_format_is_read_as_it_was() -> None:
    """It was written by the release whose bundles held one network."""
    (trained,) = read_networks(FORMER_BUNDLE)
    assert trained.spec == spec_of(network={"name": "unet", "width": 1, "depth": 1}, flip=True)
    head = trained.network.state_dict()["head.weight"]
    assert head.shape[0] == 2 and float(head[1].max()) == 20.0
    assert trained.card["about"] == {"training_data": "none"}


@pytest.mark.parametrize("count", [1, 2, 11])
def test_a_bundle_holds_several_networks_in_their_order(count: int, tmp_path: Path) -> None:
    spec = spec_of(network={"name": "unet", "width": 1, "depth": 1})
    states = []
    for number in range(count):
        network = build_network(spec)
        lay_bare(network, 1.0, float(number))
        states.append(network.state_dict())
    write_bundle(tmp_path / "bundle", spec, states, {})
    read = read_bundle(tmp_path / "bundle")
    assert [float(one.network.state_dict()["head.bias"][1]) for one in read] == [*map(float, range(count))]
    assert {one.weights_file for one in read} == {tmp_path / "bundle" / WEIGHTS}
    if count > 1:
        with pytest.raises(InputError, match=f"bundle: holds {count} networks; give a checkpoint or a bundle of one"):
            read_trained(tmp_path / "bundle")


@pytest.mark.parametrize("told", [0, 1, 3, -1, 10**12, "2", None, [], True])
def test_another_number_of_networks_than_there_are_is_refused(told: object, tmp_path: Path) -> None:
    spec = spec_of(network={"name": "unet", "width": 1, "depth": 1})
    write_bundle(tmp_path / "bundle", spec, [build_network(spec).state_dict()] * 2, {})
    card = json.loads((tmp_path / "bundle" / CARD).read_text())
    (tmp_path / "bundle" / CARD).write_text(json.dumps(card | {"networks": told}))
    with pytest.raises(InputError, match="not a usable bundle") as raised:
        read_networks(tmp_path / "bundle")
    assert "\n" not in str(raised.value)


def test_layers_under_two_names_are_bundled(tmp_path: Path) -> None:
    spec = spec_of(network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    weight = torch.ones(2, 1, 1, 1)
    state = {"weight": weight, "bias": weight.view(2)}
    write_bundle(tmp_path / "bundle", spec, [state], {})
    (read,) = read_bundle(tmp_path / "bundle", classes={"torch.nn.Conv2d"})
    assert torch.equal(read.network.state_dict()["bias"], torch.ones(2))


def test_a_bundle_that_was_changed_is_refused(bundled: Path) -> None:
    weights = bundled / WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + bytes(4))
    with pytest.raises(InputError, match=r"not a usable bundle \(weights.safetensors is not the file of which"):
        read_networks(bundled)
    weights.unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors: no such file"):
        read_networks(bundled)
    weights.write_bytes(content)
    card = json.loads((bundled / CARD).read_text())
    for changed, said in (
        ({"format": 4}, "format 4, and this release knows up to 3"),
        ({"spec": {**card["spec"], "network": {"name": "unet", "width": 8, "depth": 3}}}, "not a usable bundle"),
        ({"spec": {}}, "not a usable bundle"),
        ({"weights_sha256": 3}, "is not the file of which"),
    ):
        (bundled / CARD).write_text(json.dumps(card | changed))
        with pytest.raises(InputError, match=said) as raised:
            read_networks(bundled)
        assert "\n" not in str(raised.value)


def packed(file: Path, **parts: bytes) -> Path:
    """Write a bundle of one file, with other parts in place of its own."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize("name", [f"net{SUFFIX}", "net.zip", "net"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_bundle_of_one_file_is_that_of_a_folder_whatever_its_name(name: str, count: int, tmp_path: Path) -> None:
    """Programs that mail files call them otherwise."""
    states = [build_network(spec_of()).state_dict() for _ in range(count)]
    for out in (tmp_path / "folder", tmp_path / f"one{SUFFIX}", tmp_path / f"two{SUFFIX}"):
        write_bundle(out, spec_of(), states, {"title": "Mine"})
    file = (tmp_path / f"one{SUFFIX}").rename(tmp_path / name)
    assert is_bundle(file) and file.read_bytes() == (tmp_path / f"two{SUFFIX}").read_bytes()
    assert read_card(file) == read_card(tmp_path / "folder")
    assert digest_of_weights(file) == digest_of_weights(tmp_path / "folder" / WEIGHTS)
    for one, other in zip(read_networks(file), read_networks(tmp_path / "folder"), strict=True):
        mine, theirs = one.network.state_dict(), other.network.state_dict()
        assert one.weights_file == file and mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize(
    "damage", ["cut", "text", "changed", "other", "path", "compressed", "twice", "no card", "empty"]
)
def test_a_damaged_bundle_of_one_file_is_named(damage: str, tmp_path: Path) -> None:
    file = tmp_path / f"net{SUFFIX}"
    write_bundle(file, spec_of(), [build_network(spec_of()).state_dict()], {})
    with zipfile.ZipFile(file) as archive:
        card, weights = (archive.read(name) for name in (CARD, WEIGHTS))
    match damage:
        case "cut":
            file.write_bytes(file.read_bytes()[:-500])
        case "text" | "empty":
            file.write_bytes(b"hello" * (damage == "text"))
        case "changed":
            packed(file, **{CARD: card, WEIGHTS: weights[:-1] + b"!"})
        case "other":
            packed(file, **{CARD: card, WEIGHTS: weights, "more.py": b"print()"})
        case "path":
            packed(file, **{f"../{CARD}": card, WEIGHTS: weights})
        case "no card":
            packed(file, **{"notes.txt": card, WEIGHTS: weights})
        case "twice":
            packed(file, **{CARD: card})
            with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(CARD, card)
        case _:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(CARD, card)
                archive.writestr(WEIGHTS, weights)
    with pytest.raises(InputError, match=r"net\.musclesense: not a usable bundle \(.+\); fetch it again$"):
        read_networks(file)
    assert [*tmp_path.iterdir()] == [file]
