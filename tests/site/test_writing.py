"""The folder that `musclesense site` writes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.networks.bundle import write_bundle
from musclesense.networks.card import read_card
from musclesense.networks.shipped import place_of, shipped
from musclesense.site import writing
from musclesense.site.writing import write_site
from musclesense.storage import niivue
from musclesense.storage.npm import Package

from ..serve.conftest import BUNDLE


@pytest.fixture(autouse=True)
def without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Package, "files", lambda own, *_: dict.fromkeys(own.digests, b""))


def test_the_folder_holds_all_that_its_page_asks_for(tmp_path: Path) -> None:
    folder = write_site(tmp_path / "site")
    page = (folder / "index.html").read_text("utf-8")
    named = {*re.findall(r'(?:src|href)="([^"#]+)"', page), "networks.json", "worker.js", "viewer.js"}
    for script in folder.glob("*.js"):
        named |= {name for name in re.findall(r'from "\./([^"]+)"', script.read_text("utf-8"))}
    assert all((folder / name).is_file() for name in named), named
    assert not re.search(r"https?://", page) and "<script>" not in page and "style=" not in page
    networks = json.loads((folder / "networks.json").read_text("utf-8"))
    assert [one["title"] for one in networks] == [*shipped()]
    assert "MIT License" in (folder / "onnxruntime" / "LICENSE").read_text("utf-8")
    assert not [*folder.rglob("*.mjs")]
    for name, one in zip(shipped(), networks, strict=True):
        spec, given = read_card(place_of(name)).spec, one["spec"]
        assert (given["scales"], given["flip"], given["threshold"]) == (list(spec.scales), spec.flip, spec.threshold)
        (file,) = given["files"]
        session = onnxruntime.InferenceSession((folder / file).read_bytes())
        found = session.run(None, {"images": np.zeros((1, 1, 160, 320), np.float32)})[0]
        assert found.shape == (1, spec.classes, 160, 320)


@pytest.mark.parametrize("packed", [True, False])
def test_it_shows_volumes_where_the_package_holds_niivue(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(niivue, "is_packed", lambda: packed)
    folder = write_site(tmp_path / "site", [str(BUNDLE)])
    page = (folder / "index.html").read_text("utf-8")
    assert ('id="as-volume"' in page) is packed and ("img-src 'self' data:;" in page) is packed
    if packed:
        assert {file.name for file in (folder / "niivue").iterdir()} == {"niivue.umd.js", "LICENSE"}
    else:
        assert not (folder / "niivue").exists()


def test_one_network_and_several_of_a_bundle(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    spec = read_card(BUNDLE).spec
    weights = load_file(BUNDLE / "weights.safetensors")
    write_bundle(tmp_path / "two <b>", spec, [weights, weights], {})
    folder = write_site(tmp_path / "site", [str(tmp_path / "two <b>"), str(BUNDLE), str(BUNDLE)])
    networks = json.loads((folder / "networks.json").read_text("utf-8"))
    assert [one["spec"]["files"] for one in networks] == [["network0.0.onnx", "network0.1.onnx"], ["network1.0.onnx"]]
    assert "two <b>" not in (folder / "index.html").read_text("utf-8")


def test_networks_of_several_images_or_of_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = read_card(BUNDLE)
    for changed, said in (
        ({"channels": ("fat", "water")}, "takes fat, water; give a network that takes one image"),
        ({"normalisation": "percentile"}, "takes images normalised by percentile; give a network of z_score"),
        ({"network": {"name": "monai_dynunet"}}, "cannot be written as ONNX"),
        ({"network": {"name": "folded_unet", "width": 4, "depth": 5, "fold": 8}}, "makes up frames"),
    ):
        other = replace(card, spec=replace(card.spec, **changed))
        monkeypatch.setattr(writing, "read_card", lambda _, other=other: other)
        with pytest.raises(InputError, match=said):
            write_site(tmp_path / "site", [str(BUNDLE)])
    assert not (tmp_path / "site").exists()


def test_what_is_no_bundle_and_a_folder_in_use_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").touch()
    for arguments, said in (
        (["--out", str(tmp_path / "site"), "--model", "any_scaner"], "error: any_scaner: no bundle; give any_contrast"),
        (["--out", str(tmp_path / "used")], f"error: {tmp_path / 'used'}: "),
    ):
        with pytest.raises(SystemExit) as refused:
            main(["site", *arguments])
        assert refused.value.code == 2
        assert capsys.readouterr().err.startswith(said)
    assert [one.name for one in tmp_path.iterdir()] == ["used"]
    main(["site", "--out", str(tmp_path / "site"), "--model", str(BUNDLE)])
    assert capsys.readouterr().out == f"{tmp_path / 'site'}\n"
