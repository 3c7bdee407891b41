"""Networks whose answer is known, scored beside masks that are wrong in a known way."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cli.main import main
from musclesense.cohort.table import Acquisition, write_table
from musclesense.errors import InputError
from musclesense.evaluation.scoring import EVERY, PAPER, RECORD, Reference, match_labels, score_cohort, score_scan
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.networks import shipped
from musclesense.segmentation.export import export_bundle
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import from_images
from musclesense.segmentation.segmenter import Segmenter
from musclesense.vocabulary import Limbs, Region

from ..shared.networks import spec_of, write_checkpoint
from ..shared.runs import rows_of

GEOMETRY = Geometry.from_affine((160, 80, 3), np.diag([-2.5, -2.5, 10.0, 1.0]))
ANY = LabelSet.from_config({"muscle": []})


def disc(radius_mm: float) -> NDArray[np.bool_]:
    """Both limbs, of this radius, in every slice."""
    x, y, _ = np.indices(GEOMETRY.shape) * 2.5 - np.array([200, 100, 0])[:, None, None, None]
    return np.hypot(np.abs(x) - 90, y) < radius_mm


MUSCLE, BODY = disc(50), disc(70)


def scan(folder: Path, name: str, mask: NDArray[Any] | None, **more: Any) -> Acquisition:
    """A row whose image a network of `write_checkpoint` finds the muscle in."""
    image = folder / f"{name}.nii.gz"
    write_volume(image, 100 * BODY + 900.0 * MUSCLE, GEOMETRY, np.float32)
    file = None if mask is None else folder / f"{name}_mask.nii.gz"
    if file is not None:
        write_volume(file, np.asarray(mask), GEOMETRY, np.uint8)
    return Acquisition(line=0, subject=name, region=Region.THIGH, channels={"fat": image}, mask=file, **more)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "best.ckpt", channels=("fat",))


def scored(out: Path, model: Path, rows: list[Acquisition], reference: Reference) -> list[dict[str, str]]:
    write_table(out.parent / "cohort.csv", rows)
    score_cohort(out.parent / "cohort.csv", out, Segmenter.load(model), reference)
    return rows_of(out / "slices.csv")


def oracle(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, float]:
    both = np.sum(truth & found)
    return {
        "dice": 2 * both / (truth.sum() + found.sum()),
        "recall": both / truth.sum(),
        "precision": both / found.sum(),
    }


@pytest.mark.parametrize("radius", [42, 50, 56])
def test_scores_are_those_of_their_definitions(radius: int, model: Path, tmp_path: Path) -> None:
    truth = disc(radius)
    rows = scored(tmp_path / "out", model, [scan(tmp_path, "a", truth)], Reference())
    assert [row["slice"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        expected = oracle(truth[..., 0], MUSCLE[..., 0])
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=0.01)
        assert float(row["volume_true_ml"]) == pytest.approx(truth[..., 0].sum() * 0.0625)
        assert float(row["hd95_mm"]) == pytest.approx(abs(radius - 50), abs=3.5)


def test_voxels_that_are_not_judged_do_not_count(model: Path, tmp_path: Path) -> None:
    """A mask that is right on one side, and unknown on the other."""
    mask = np.where(np.arange(160)[:, None, None] < 80, 255, MUSCLE).astype(np.uint8)
    judged, all_ = (
        scored(tmp_path / name / "out", model, [scan(tmp_path, "a", mask)], Reference(ignored=ignored))
        for name, ignored in (("one", (255,)), ("two", ()))
    )
    assert float(judged[0]["dice"]) > 0.98 and float(judged[0]["precision"]) > 0.97
    assert float(all_[0]["dice"]) < 0.7


def test_values_that_no_label_holds_are_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.where(np.arange(160)[:, None, None] < 80, 4, 1) * MUSCLE
    mask[:5, :5] = 9
    said = "value 4, 9 counts as background, since no label holds it; --ignore VALUE leaves voxels out"
    for labels, ignored, told in (
        ({"muscle": [1]}, (), True),
        ({"muscle": []}, (), False),
        ({"muscle": [1, 4, 9]}, (), False),
        ({"muscle": [1]}, (4, 9), False),
    ):
        reference = Reference(labels=LabelSet.from_config(labels), ignored=ignored)
        scored(tmp_path / f"{len(labels['muscle'])}{ignored}" / "out", model, [scan(tmp_path, "a", mask)], reference)
        assert (f"a_mask.nii.gz: {said}" in capsys.readouterr().err) == told


def test_names_of_files_are_left_out_of_the_record(model: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "cohort.csv", [scan(tmp_path, "a", MUSCLE)])
    asked = ["score", str(tmp_path / "cohort.csv"), str(tmp_path / "out"), "--model", str(model), "--no-pictures"]
    main([*asked, "--anonymous"])
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert [[*one] for one in record["files"]] == [["sha256"], ["sha256"]]
    assert str(tmp_path) not in (tmp_path / "out" / RECORD).read_text()


def test_slices_are_those_of_the_table_or_all_with_labels(model: Path, tmp_path: Path) -> None:
    gap = MUSCLE & (np.arange(3) != 1)
    rows = [scan(tmp_path, "some", gap), scan(tmp_path, "one", gap, slice=2), scan(tmp_path, "gap", gap, slice=1)]
    found = scored(tmp_path / "out", model, rows, Reference())
    assert [(row["subject"], row["slice"]) for row in found] == [
        *(("some", "0"), ("some", "2")),
        *(("one", "2"), ("gap", "1")),
    ]
    assert float(found[-1]["dice"]) == 0, "something is found where nothing is"
    scans = rows_of(tmp_path / "out" / "scans.csv")
    assert [row["slices"] for row in scans] == ["2", "1", "1", "4"]
    assert scans[-1]["subjects"] == "3" and float(scans[-1]["dice_low"]) < float(scans[-1]["dice_high"])


def test_a_mask_in_another_order_of_axes_is_turned(model: Path, tmp_path: Path) -> None:
    mask = MUSCLE & (np.arange(160) < 80)[:, None, None]
    row = scan(tmp_path, "a", mask)
    assert row.mask is not None
    image = nib.load(row.mask)
    nib.save(image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])), row.mask)
    found = scored(tmp_path / "out", model, [row], Reference())
    assert float(found[0]["recall"]) > 0.97 and 0.45 < float(found[0]["precision"]) < 0.55


def test_each_scan_is_drawn_with_and_without_a_mask(model: Path, tmp_path: Path) -> None:
    rows = scored(tmp_path / "out", model, [scan(tmp_path, "a", disc(40)), scan(tmp_path, "b", None)], Reference())
    assert {row["subject"] for row in rows} == {"a"}
    pictures = sorted((tmp_path / "out" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["001-a-thigh-1.png", "002-b-thigh-1.png"]
    amber, blue = (np.array(colour) / 255 for colour in ((255, 176, 32), (64, 196, 255)))
    for path, truth in zip(pictures, (True, False), strict=True):
        pixels = matplotlib.image.imread(path)[..., :3]
        near = [np.sum(np.abs(pixels - colour).max(axis=2) < 0.1) > 100 for colour in (amber, blue)]
        assert near == [truth, True]


def test_the_fat_fraction_is_measured_in_both_masks(model: Path, tmp_path: Path) -> None:
    row = scan(tmp_path, "a", disc(60))
    fraction = tmp_path / "fraction.nii.gz"
    write_volume(fraction, np.where(MUSCLE, 10.0, 90.0), GEOMETRY, np.float32)
    rows = scored(tmp_path / "out", model, [Acquisition(**{**vars(row), "fat_fraction": fraction})], Reference())
    true = np.where(MUSCLE, 10, 90)[disc(60)].mean()
    assert float(rows[0]["fat_fraction_bias"]) == pytest.approx(10 - true, abs=1.5)
    assert float(rows_of(tmp_path / "out" / "scans.csv")[0]["fat_fraction_off"]) == pytest.approx(true - 10, abs=1.5)


def test_the_record_names_the_networks_and_what_masks_mean(model: Path, tmp_path: Path) -> None:
    scored(tmp_path / "out", model, [scan(tmp_path, "a", MUSCLE)], Reference(ignored=(7,)))
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert [Path(file["file"]).name for file in record["files"]] == ["cohort.csv", "best.ckpt"]
    assert record["ignored"] == [7] and record["labels"] == {"muscle": []} and record["threshold"] == 0.5


NETWORKS: Mapping[str, Mapping[str, list[int]]] = {
    "whole": {"muscle": []},
    "every": {"muscle": [1], "other_muscle": [2]},
    "sides": {"left": [1], "right": [2]},
    "single": {"soleus_left": [1], "soleus_right": [2], "adductor_longus_left": [3], "adductor_longus_right": [4]},
}


@pytest.mark.parametrize(
    ("network", "reference", "expected"),
    [
        ("whole", {PAPER: []}, {PAPER: [1]}),
        ("whole", {EVERY: []}, {EVERY: [1]}),
        ("every", {PAPER: []}, {PAPER: [1]}),
        ("every", {EVERY: []}, {EVERY: [1, 2]}),
        ("every", {"muscle": [1], "other_muscle": [2]}, {"muscle": [1], "other_muscle": [2]}),
        ("sides", {PAPER: []}, {PAPER: [1, 2]}),
        ("single", {PAPER: []}, {PAPER: [1, 2]}),
        ("single", {EVERY: []}, {EVERY: [1, 2, 3, 4]}),
        ("single", {"soleus": [9]}, {"soleus": [1, 2]}),
        ("single", {"soleus_left": [1], "soleus_right": [3]}, {"soleus_left": [1], "soleus_right": [2]}),
        ("single", {"soleus": [9], "plantaris": [8]}, {"soleus": [1, 2]}),
    ],
)
def test_labels_of_a_reference_take_in_the_classes_of_a_network(
    network: str, reference: dict[str, list[int]], expected: dict[str, list[int]]
) -> None:
    assert match_labels(LabelSet.from_config(reference), LabelSet.from_config(NETWORKS[network])) == expected


def test_a_reference_of_unknown_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"none of plantaris; give some of muscle, every_muscle$"):
        match_labels(LabelSet.from_config({"plantaris": [1]}), ANY)


def test_single_muscles_of_one_value_for_both_sides(tmp_path: Path) -> None:
    """The left and the right class are one muscle of the mask; the other muscle is found as nothing."""
    given = LabelSet.from_config({"soleus_left": [1], "soleus_right": [2], "popliteus": [3]})
    reference = LabelSet.from_config({"soleus": [4], "popliteus": [5]})
    row = scan(tmp_path, "a", None, slice=1)
    classes = np.where(MUSCLE, np.where(np.arange(160)[:, None, None] < 80, 1, 2), 0).astype(np.uint8)
    upper = np.arange(80)[:, None] < 40
    truth = reference.encode(np.where(MUSCLE, np.where(upper, 4, 5), 0))
    found = Segmentation(from_images(row.channels), classes, spec_of(labels=given), (), Region.THIGH, Limbs.BOTH)
    cases = score_scan(
        row, found, truth, np.ones_like(MUSCLE), labels=reference, classes=match_labels(reference, given)
    )
    expected = oracle((MUSCLE & upper)[..., 1], MUSCLE[..., 1])["dice"]
    assert {case.label: case.dice for case in cases} == {"soleus": pytest.approx(expected), "popliteus": 0}


def test_the_verb_prints_the_table(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "cohort.csv", [scan(tmp_path, "a", MUSCLE * 3), scan(tmp_path, "b", MUSCLE * 2)])
    (tmp_path / "labels.yaml").write_text("classes: {muscle: [2, 3]}")
    given = ["--model", str(model), "--labels", str(tmp_path / "labels.yaml"), "--no-pictures"]
    main(["score", str(tmp_path / "cohort.csv"), str(tmp_path / "out"), *given])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "scores.md").read_text()
    assert [line.split(" | ")[0] for line in printed.splitlines()[2:]] == ["| a", "| b", "| all"]
    assert not (tmp_path / "out" / "pictures").exists()


def test_without_a_model_the_network_that_takes_what_all_rows_have_is_scored(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    export_bundle(model, tmp_path / "weights" / "of_fat")
    export_bundle(write_checkpoint(tmp_path / "pair.ckpt"), tmp_path / "weights" / "pair")
    both = scan(tmp_path, "b", MUSCLE)
    rows = [replace(both, channels={**both.channels, "water": both.channels["fat"]}), scan(tmp_path, "a", MUSCLE)]
    for name, own in (("pair", rows[:1]), ("of_fat", rows)):
        write_table(tmp_path / "cohort.csv", own)
        main(["score", str(tmp_path / "cohort.csv"), str(tmp_path / name), "--no-pictures"])
        assert f"model: {name}, which takes" in capsys.readouterr().err
        files = [one["file"] for one in json.loads((tmp_path / name / "record.json").read_text())["files"]]
        assert files == [str(tmp_path / "cohort.csv"), str(tmp_path / "weights" / name / "weights.safetensors")]


def test_what_cannot_be_scored_is_refused_and_nothing_is_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "cohort.csv", [scan(tmp_path, "a", MUSCLE)])
    calf = write_checkpoint(tmp_path / "calf.ckpt", channels=("fat",), regions=("calf",))
    water = write_checkpoint(tmp_path / "water.ckpt", channels=("water",), placed_by="water")
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("")
    for network, out, said in (
        (calf, tmp_path / "out", "no row of the region calf"),
        (water, tmp_path / "out", "takes water"),
        (model, used, "used"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["score", str(tmp_path / "cohort.csv"), str(out), "--model", str(network)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert [path.name for path in used.iterdir()] == ["mine.txt"]
