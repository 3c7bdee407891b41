"""Bundles made of a study, a run, a checkpoint and a bundle: the same masks, a card, and what is refused."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.networks.build import build_network
from musclesense.networks.bundle import read_bundle, read_networks, write_bundle
from musclesense.networks.card import WEIGHTS, read_card
from musclesense.networks.shipped import place_of
from musclesense.networks.spec import Effort
from musclesense.networks.torch_predictor import TorchPredictor
from musclesense.segmentation.export import export_bundle, export_onnx
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment

from ..shared.networks import BEFORE, PUBLISHED, checkpoint_of, spec_of, write_checkpoint
from .conftest import TwoLimbs, write_run


def write_study(study: Path, *folds: tuple[int, int]) -> Path:
    """Write finished runs whose networks differ."""
    for outer, inner in folds:
        write_run(study / f"outer{outer}_inner{inner}", bias=-8.0 - 3 * outer - inner)
    return study


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_bundle_of_a_study_segments_as_the_study(
    limbs: TwoLimbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "runs" / "mine", (0, 0), (0, 1), (1, 0), (1, 1))
    main(["export-bundle", str(study), "--out", str(tmp_path / "bundle")])
    assert capsys.readouterr().out == f"{tmp_path / 'bundle'}\n"
    files = sorted(study.glob("*/checkpoints/best.ckpt"))
    card = read_card(tmp_path / "bundle")
    assert card.networks == 4 and card.about["title"] == "mine"
    assert card.about["made_of"] == [digest(file) for file in files]
    assert card.weights_sha256 == digest(tmp_path / "bundle" / WEIGHTS)
    for file, network in zip(files, read_bundle(tmp_path / "bundle"), strict=True):
        ((expected,), own) = read_networks(file), network.network.state_dict()
        assert network.spec == expected.spec
        assert all(torch.equal(value, own[name]) for name, value in expected.network.state_dict().items())
    scan = read_scan(fat=limbs.fat, water=limbs.water)
    images = np.random.default_rng(0).normal(size=(1, 2, 80, 160)).astype(np.float32)
    found = [Segmenter.load(path, "cpu").predictor.probabilities(images) for path in (study, tmp_path / "bundle")]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)  # the weights are equal; what computes is not
    assert found[0].std() > 0.01
    one = segment(scan, model=tmp_path / "bundle", region="thigh")
    assert np.array_equal(one.classes, segment(scan, model=study, region="thigh").classes)
    saved = json.loads((one.save(tmp_path / "out") / "run.json").read_text())
    assert saved["networks"] == [{"file": str(tmp_path / "bundle" / WEIGHTS), "sha256": card.weights_sha256}]
    with pytest.raises(InputError, match="the scan is not known to be of the cohort"):
        segment(scan, model=tmp_path / "bundle", region="thigh", out_of_fold=True)


@pytest.mark.parametrize("kind", ["run", "checkpoint", "bundle"])
def test_one_network_is_bundled_wherever_it_lies(kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "outer0_inner0")
    model = {"run": run, "checkpoint": run / "checkpoints" / "best.ckpt", "bundle": tmp_path / "first"}[kind]
    if kind == "bundle":
        export_bundle(run, model)
    (bundled,), (expected,) = (
        read_networks(path) for path in (export_bundle(model, tmp_path / "out"), run / "checkpoints" / "best.ckpt")
    )
    assert bundled.spec == expected.spec
    state = expected.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in bundled.network.state_dict().items())


def test_a_study_is_described_by_its_own_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = Path(shutil.copytree(BEFORE / "study", tmp_path / "runs" / "before"))
    with pytest.raises(InputError, match=r"outer0_inner2: is not finished; finish it by the command"):
        export_bundle(study, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    shutil.rmtree(study / "outer0_inner2")
    caplog.set_level("INFO")
    about = read_card(export_bundle(study, tmp_path / "bundle")).about
    assert caplog.messages == [f"{study}: 2 of the 25 runs that its folds ask for"]
    assert (about["title"], about["runs"]) == ("before", ["outer0_inner0", "outer0_inner1"])
    rows = [line.split(",") for run in about["runs"] for line in (study / run / "cases.csv").read_text().splitlines()]
    head = rows[0]
    cases = [dict(zip(head, row, strict=True)) for row in rows if row != head]
    for figure in about["figures"]:
        own = [case for case in cases if case["region"] == figure["region"]]
        assert figure["subjects"] == len({case["subject"] for case in own})
        assert figure["dice"] == pytest.approx(np.mean([float(case["dice"]) for case in own]), abs=5e-4)
    assert {figure["region"] for figure in about["figures"]} == {case["region"] for case in cases}
    alone = read_card(export_bundle(study / "outer0_inner1", tmp_path / "alone")).about
    assert alone["runs"] == ["outer0_inner1"]
    assert read_card(export_bundle(tmp_path / "alone", tmp_path / "again")).about["figures"] == alone["figures"]


@pytest.mark.parametrize("folds", [[(0, 0)], [(0, 0), (0, 1)], [(3, 1), (4, 1)]])
def test_a_sweep_over_some_folds_is_finished(folds: list[tuple[int, int]], tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", *folds)
    (study / "outer0_inner7 (copy)").mkdir()
    assert read_card(export_bundle(study, tmp_path / "bundle")).networks == len(folds)


@pytest.mark.parametrize("lacking", ["begun", "failed", "absent"])
def test_a_study_with_unfinished_runs_is_refused(lacking: str, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", (0, 0), (0, 1), (1, 0))
    if lacking != "absent":
        (study / "outer1_inner1").mkdir()
    if lacking == "failed":
        (study / "outer1_inner1" / "failed.json").write_text('{"error": "no"}')
    with pytest.raises(InputError, match=r"^\S*outer1_inner1: is not finished; finish it by"):
        export_bundle(study, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert export_bundle(study / "outer0_inner1", tmp_path / "bundle").is_dir()


def test_networks_that_differ_make_no_bundle(tmp_path: Path) -> None:
    """In what an ensemble may differ in, and a card says once."""
    study = write_study(tmp_path / "study", (0, 0), (0, 1))
    spec = spec_of(channels=("fat", "water"), network={"name": "unet", "width": 1, "depth": 1}, flip=True)
    for inner, own in enumerate((spec, spec_of(**{**vars(spec), "flip": False}))):
        path = study / f"outer0_inner{inner}" / "checkpoints" / "best.ckpt"
        torch.save(checkpoint_of(own, build_network(own).state_dict()), path)
    assert len(Segmenter.load(study).files) == 2
    with pytest.raises(InputError, match="is not of the network of"):
        export_bundle(study, tmp_path / "bundle")


def test_half_precision_takes_half_the_room_and_gives_the_same_mask(limbs: TwoLimbs, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["fat"])
    whole, half = (export_bundle(PUBLISHED, tmp_path / name, half=name == "half") for name in ("whole", "half"))
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    scan = read_scan(fat=limbs.fat)
    small = export_bundle(model, tmp_path / "small", half=True)
    found = [segment(scan, model=path, region="thigh").classes for path in (model, small)]
    assert np.array_equal(found[0], found[1]) and found[0].any()
    large = write_checkpoint(tmp_path / "large.ckpt", channels=["fat"], weight=1e6)
    with pytest.raises(InputError, match=r"^half: head\.weight holds numbers too large for it; leave it out"):
        export_bundle(large, tmp_path / "large", half=True)
    assert not (tmp_path / "large").exists()
    assert read_card(export_bundle(large, tmp_path / "large")).networks == 1


def test_a_card_goes_into_the_bundle_if_it_is_of_the_network(tmp_path: Path) -> None:
    model, card = write_checkpoint(tmp_path / "best.ckpt"), tmp_path / "card.yaml"
    own = f"title: Mine\nnot_for: [patients]\ndate: 2026-11-30\nfile: best.ckpt\nsha256: {digest(model)}\nformat: 1\n"
    card.write_text(own)
    about = read_card(export_bundle(model, tmp_path / "bundle", card=card)).about
    assert about == {"title": "Mine", "not_for": ["patients"], "date": "2026-11-30", "made_of": [digest(model)]}
    for text, said in (
        (own.replace(digest(model), "0" * 64), "sha256 is that of another network"),
        ("just words", "says nothing; give lines such as title"),
        ("[1]", "says nothing"),
        ("a: [", "cannot be read"),
    ):
        card.write_text(text)
        with pytest.raises(InputError, match=said):
            export_bundle(model, tmp_path / "other", card=card)
    card.write_text("title: Words alone\n")
    assert read_card(export_bundle(model, tmp_path / "other", card=card)).about["title"] == "Words alone"


def test_what_is_there_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, used = write_checkpoint(tmp_path / "best.ckpt"), tmp_path / "used"
    used.mkdir()
    export_bundle(model, used)
    before = {file: file.read_bytes() for file in used.iterdir()}
    for name, out, said in (
        (str(model), used, "exists already"),
        ("nowhere", tmp_path / "x", "no such model; give any_"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["export-bundle", name, "--out", str(out)])
        assert stopped.value.code == 2 and said in capsys.readouterr().err
    assert {file: file.read_bytes() for file in used.iterdir()} == before and not (tmp_path / "x").exists()


def test_a_network_of_the_package_is_the_same_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "mailed.musclesense"
    main(["export-bundle", "any_scanner_fat", "--half", "--out", str(file)])
    scan = read_scan(fat=BEFORE / "phantom-smoke-1" / "sub-004" / "ses-1" / "thigh" / "fat.nii.gz")
    one, other = (segment(scan, model=model, region="thigh", effort="fast") for model in (file, "any_scanner_fat"))
    assert one.networks == (file,) and np.array_equal(one.classes, other.classes) and one.classes.any()
    assert one.runtime == other.runtime and "onnxruntime" in one.runtime
    assert one.fit[1] and one.rows == other.rows
    with pytest.raises(InputError, match=r"mailed\.musclesense: exists already; remove it or give another name"):
        export_bundle(PUBLISHED, file)


@pytest.mark.parametrize("name", ["encoder.0.1.running_var", "encoder.0.0.weight", "head.bias"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_weights_of_a_bundle_that_are_no_finite_numbers_are_refused(name: str, value: float, tmp_path: Path) -> None:
    """Whichever weights, and whatever would compute with them."""
    spec = spec_of(network={"name": "unet", "width": 1, "depth": 1})
    weights = build_network(spec).state_dict()
    write_bundle(tmp_path / "bundle", spec, [weights, weights | {name: torch.full_like(weights[name], value)}], {})
    with pytest.raises(InputError, match=rf"bundle: not a usable bundle \({name} holds no finite real numbers\)"):
        Segmenter.load(tmp_path / "bundle", "cpu")


def test_a_network_of_the_package_is_exported_by_its_name(tmp_path: Path) -> None:
    given = read_bundle(export_bundle("any_scanner_fat", tmp_path / "bundle"))[0]
    assert given.spec.labels == LabelSet.from_config({"muscle": []})
    assert given.card["about"]["title"] == "Whole muscle in fat images of any scanner"


@pytest.mark.parametrize("model", ["any_scanner_fat", "any_contrast", str(PUBLISHED)])
def test_an_onnx_file_gives_the_probabilities_of_pytorch(tmp_path: Path, capsys, model: str) -> None:
    out = tmp_path / "network.onnx"
    main(["export-onnx", model, "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    made = onnx.load(out)
    onnx.checker.check_model(made, full_check=True)
    (trained,) = read_networks(place_of(model))
    spec = trained.spec.at(Effort.FAST)
    assert {one.key: json.loads(one.value) for one in made.metadata_props} == {"spec": trained.spec.to_config()}
    images = np.random.default_rng(0).normal(size=(2, len(spec.channels), 64, 96)).astype(np.float32)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"images": images})[0]
    wanted = TorchPredictor(trained.network, spec, "cpu").probabilities(images)
    assert np.abs(found[:, 1:] - wanted).max() < 1e-4 and wanted.std() > 0.01
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_what_is_no_single_network_of_the_project_is_no_onnx_file(tmp_path: Path) -> None:
    out = tmp_path / "network.onnx"
    study = write_study(tmp_path / "runs" / "mine", (0, 0), (0, 1))
    with pytest.raises(InputError, match=r"mine: holds 2 networks; give a run, a checkpoint or a bundle of one"):
        export_onnx(study, out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(InputError, match=r"network\.onnx: exists already"):
        export_onnx("any_contrast", out)
    assert out.read_text() == "mine"
