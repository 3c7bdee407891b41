"""Results of `segment` are found, and the images that they were made of, wherever the page is started."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import musclesense as ms
from musclesense.errors import InputError
from musclesense.segmentation.measuring import Measuring
from musclesense.serve.review.listed import Listed
from musclesense.serve.review.scans import Scans

from ...segmentation.conftest import TwoLimbs, found_in
from .conftest import NAMES


def recorded(folder: Path, **changed: Any) -> None:
    """Change what a record tells."""
    file = folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def named(limbs: TwoLimbs, folder: Path, fat: Path, water: Path) -> Path:
    """Let a record name images in another way; gives its folder."""
    own = json.loads((folder / NAMES[0] / "run.json").read_text())["inputs"]
    files = {"fat": fat, "water": water}
    recorded(folder / NAMES[0], inputs={name: own[name] | {"file": str(file)} for name, file in files.items()})
    return folder


def test_what_the_list_shows_is_what_the_tables_hold(folder: Path) -> None:
    listed = {one.name: one for one in Scans(folder).listed()}
    assert [*listed] == list(NAMES)
    one = listed[NAMES[0]]
    assert one.cells["region"] == "thigh" and one.cells["slices"] == "4"
    assert one.cells["fat fraction (%)"] == "R 20.0 · L 60.0"
    right, left = (float(part[2:]) for part in one.cells["volume (ml)"].split(" · "))
    assert right == pytest.approx(np.pi * 3.5**2 * 4, rel=0.03) and left == pytest.approx(np.pi * 25 * 4, rel=0.03)
    assert one.corrected is None and len({other.mask_sha256 for other in listed.values()}) == 1
    assert Scans(folder).failed() == {"S004-thigh": "<b>none.nii.gz</b>: no such file"}


def test_one_scan_alone_is_a_list_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.name for one in Scans(folder / NAMES[0]).listed()] == [NAMES[0]]
    monkeypatch.chdir(folder / NAMES[1])
    assert [one.name for one in Scans(Path()).listed()] == [NAMES[1]]


def test_a_scan_that_is_segmented_meanwhile_is_there_too(folder: Path) -> None:
    source = Scans(folder)
    source.listed()
    shutil.copytree(folder / NAMES[0], folder / "S009-thigh")
    assert [one.name for one in source.listed()] == [*NAMES, "S009-thigh"]
    (folder / "other").mkdir()
    (folder / "other" / "run.json").write_text("{}")
    recorded(folder / NAMES[0], corrected={})
    assert [one.name for one in source.listed()] == [*NAMES[1:], "S009-thigh"]


@pytest.mark.parametrize("base", ["folder", "results", "elsewhere"])
def test_images_are_found_from_wherever_it_is_started(
    base: str, folder: Path, limbs: TwoLimbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `segment` was given them: relative to where that was started."""
    images = tmp_path / "images"
    images.mkdir()
    for file in (limbs.fat, limbs.water):
        shutil.copy(file, images)
    (tmp_path / "elsewhere").mkdir()
    named(limbs, folder, Path("images/fat.nii.gz"), Path("images/water.nii.gz"))
    monkeypatch.chdir(tmp_path if base == "folder" else tmp_path / base)
    assert Scans(Path(os.path.relpath(folder))).open(NAMES[0]).told["slices"] == 4


def test_another_image_under_the_name_is_told(folder: Path, limbs: TwoLimbs, tmp_path: Path) -> None:
    (tmp_path / "fat.nii.gz").write_bytes(limbs.water.read_bytes())
    named(limbs, folder, tmp_path / "fat.nii.gz", limbs.water)
    with pytest.raises(InputError, match=r"fat\.nii\.gz: is not the image that was segmented"):
        Scans(folder).open(NAMES[0])
    named(limbs, folder, tmp_path / "none.nii.gz", limbs.water)
    with pytest.raises(InputError, match=r"none\.nii\.gz: the image is gone"):
        Scans(folder).open(NAMES[0])


def test_of_an_anonymous_batch_the_table_names_the_images(folder: Path, limbs: TwoLimbs) -> None:
    own = json.loads((folder / NAMES[0] / "run.json").read_text())["inputs"]
    recorded(folder / NAMES[0], inputs={name: {"sha256": told["sha256"]} for name, told in own.items()})
    with pytest.raises(InputError, match="--anonymous"):
        Scans(folder).open(NAMES[0])
    head, row = "subject,region,fat,water,mask", f"S001,thigh,{limbs.fat},{limbs.water},{NAMES[0]}/mask.nii.gz"
    (folder / "cohort.csv").write_text(f"{head}\n{row}\n")
    source = Scans(folder)
    opened = source.open(NAMES[0])
    edits = (1).to_bytes(4, "little") + bytes(opened.told["rows"] * opened.told["columns"])
    source.correct(NAMES[0], edits, opened.told["base"], "A")
    told = json.loads((folder / NAMES[0] / "corrected" / "run.json").read_text())
    assert "file" not in str(told["inputs"])


def test_what_was_asked_of_the_automatic_mask_is_asked_of_the_corrected_one(limbs: TwoLimbs, tmp_path: Path) -> None:
    scan = ms.read_scan(fat=limbs.fat, water=limbs.water)
    found = found_in(scan, (limbs.right | limbs.left).astype(np.uint8))
    how = Measuring.asked(erode=4, slices="1:2")
    object.__setattr__(found, "measuring", how)
    found.save(tmp_path / "one")
    source = Scans(tmp_path / "one")
    opened = source.open("one")
    edits = (1).to_bytes(4, "little") + bytes(opened.told["rows"] * opened.told["columns"])
    source.correct("one", edits, opened.told["base"], "A")
    told = json.loads((tmp_path / "one" / "corrected" / "run.json").read_text())
    assert told["measured"] == how.to_record()
    assert source.listed()[0].cells["slices"] == "2"


def test_images_that_were_made_are_taken_from_the_results(folder: Path, limbs: TwoLimbs) -> None:
    """Of echoes and DICOM, `segment` keeps fat and water beside the mask."""
    own, inputs = folder / NAMES[0], {"dicom": {"file": "gone", "sha256": "0"}}
    results = json.loads((own / "run.json").read_text())["results"]
    digests = json.loads((own / "run.json").read_text())["inputs"]
    for name, file in (("fat", limbs.fat), ("water", limbs.water)):
        shutil.copy(file, own / f"{name}.nii.gz")
        results[f"{name}.nii.gz"] = digests[name]["sha256"]
    recorded(own, inputs=inputs, results=results)
    assert [one["name"] for one in Scans(folder).open(NAMES[0]).told["images"]] == ["fat", "water", "fat_fraction"]
    (own / "fat.nii.gz").write_bytes(limbs.water.read_bytes())
    with pytest.raises(InputError, match="is not the image"):
        Scans(folder).open(NAMES[0])


def test_results_of_an_earlier_release_are_listed(folder: Path) -> None:
    own = folder / NAMES[0]
    (own / "measurements.csv").unlink()
    table = "slice,limb,label,voxels,volume_ml,fat_fraction_percent\nall,left,muscle,3,0.5,\nall,right,muscle,0,0,\n"
    (own / "fat_fraction.csv").write_text(table)
    told = json.loads((own / "run.json").read_text())
    for key in ("results", "measured", "region", "limbs"):
        told.pop(key)
    (own / "run.json").write_text(json.dumps(told))
    one = Scans(folder / NAMES[0]).listed()[0]
    assert one.cells["fat fraction (%)"] == "L - · R -" and one.score is None and one.flags == ()
    assert Scans(own).open(NAMES[0]).rows


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("measurements.csv", "slice,limb,label,voxels,quality\nall,left,muscle,many,good\n"),
        ("measurements.csv", "no,table\n1,2\n"),
        ("measurements.csv", "\udcff\x00"),
        ("run.json", '{"inputs": {"fat": 3}, "networks": []}'),
        ("run.json", '{"inputs": {"fat": {"file": 3, "sha256": 3}}, "networks": [], "results": 3}'),
    ],
)
def test_damaged_results_take_no_others_along(file: str, content: str, folder: Path) -> None:
    (folder / NAMES[1] / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    source = Scans(folder)
    assert [one.name for one in source.listed()] == [NAMES[0], NAMES[2]]
    assert source.failed()[NAMES[1]].startswith(f"{folder / NAMES[1]}: cannot be read (")


def test_the_order_is_the_same_whatever_is_said() -> None:
    def one(name: str, score: float | None, *flags: str) -> Listed:
        return Listed(name=name, cells={}, flags=flags, score=score)

    masks = [
        one("a", 0.9),
        one("b", None),
        one("c", 0.2, "left_out"),
        one("d", 0.8, "cut"),
        one("e", 0.7, "off_level", "left_out"),
        one("f", 0.4, "doubtful"),
        one("g", 0.1, "doubtful", "cut"),
    ]
    assert "".join(mask.name for mask in sorted(masks, key=lambda mask: mask.order)) == "gfedcab"
    assert len({mask.id for mask in masks}) == len(masks) and one("a", None).id == masks[0].id
