"""A segmented scan: the table of fat fractions, and what is held and saved."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas
import pytest

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.networks.bundle import read_trained, write_bundle
from musclesense.segmentation.corrected import measure
from musclesense.segmentation.measured import CHANGES
from musclesense.segmentation.result import COLUMNS, FILES, Segmentation, require_place
from musclesense.segmentation.scan import from_images, read_scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.vocabulary import Limbs, Region, Side

from ..shared.networks import write_checkpoint
from .conftest import TwoLimbs, found_in


def test_each_class_has_its_row_and_an_absent_one_is_blank(limbs: TwoLimbs) -> None:
    scan = from_images({"fat": limbs.fat, "water": limbs.water})
    classes = np.zeros(limbs.geometry.shape, dtype=np.uint8)
    classes[limbs.left] = 2
    classes[0][limbs.left[0]] = 0
    rows = found_in(scan, classes, labels=LabelSet.from_config({"gracilis": [1], "vastus": [2]})).rows
    assert [(row["limb"], row["label"]) for row in rows[-4:]] == [
        ("right", "gracilis"),
        ("right", "vastus"),
        ("left", "gracilis"),
        ("left", "vastus"),
    ]
    assert len(rows) == 4 * (4 + 1)
    present = [row for row in rows if row["voxels"]]
    assert {(row["slice"], row["limb"], row["label"]) for row in present} == {
        (number, "left", "vastus") for number in (1, 2, 3, "all")
    }
    assert all(row["fat_fraction_percent"] == pytest.approx(60) for row in present)
    assert {row["fat_fraction_percent"] for row in rows if row not in present} == {None}
    voxel_ml = 1.6 * 2.0 * 10 / 1000
    assert present[-1]["volume_ml"] == pytest.approx(np.count_nonzero(limbs.left[1:]) * voxel_ml)


def test_halves_hold_every_voxel_once(limbs: TwoLimbs) -> None:
    scan = from_images({"fat": limbs.fat})
    halves = found_in(scan, limbs.left.astype(np.uint8)).halves
    assert np.array_equal(halves[Side.RIGHT], ~halves[Side.LEFT])
    assert halves[Side.RIGHT][limbs.right].all() and halves[Side.LEFT][limbs.left].all()
    assert list(found_in(scan, limbs.left.astype(np.uint8), Limbs.RIGHT).halves) == [Side.RIGHT]


@pytest.fixture
def made(limbs: TwoLimbs, tmp_path: Path) -> Segmentation:
    scan = read_scan(fat=limbs.fat, water=limbs.water)
    return segment(scan, model=str(write_checkpoint(tmp_path / "best.ckpt")), region="thigh", device="cpu")


def test_the_table_has_the_numbers_of_the_file(made: Segmentation, tmp_path: Path) -> None:
    assert made.save(tmp_path / "out") == tmp_path / "out"
    written = pandas.read_csv(tmp_path / "out" / "fat_fraction.csv")
    assert list(made.table.columns) == list(written.columns) == list(COLUMNS)
    for name in ("slice", "limb", "label", "voxels"):
        assert made.table[name].astype(str).tolist() == written[name].astype(str).tolist()
    np.testing.assert_allclose(made.table.volume_ml, written.volume_ml, atol=6e-4)
    np.testing.assert_allclose(made.table.fat_fraction_percent, written.fat_fraction_percent, atol=6e-3)
    whole = made.table[made.table.slice == "all"]
    assert whole.voxels.sum() == np.count_nonzero(made.mask)


def test_what_is_not_known_is_nan_in_the_table(limbs: TwoLimbs, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["fat"])
    found = segment(read_scan(fat=limbs.fat), model=model, region="thigh", limbs="left")
    assert found.table.fat_fraction_percent.isna().all() and found.table.fat_fraction_percent.dtype == float
    assert set(found.table.limb) == {"left"}


def test_what_is_saved_is_what_is_held(made: Segmentation, tmp_path: Path) -> None:
    made.save(str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES}
    assert np.array_equal(read_volume(tmp_path / "out" / "mask.nii.gz").data, made.mask)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["format"] == 2
    assert made.mask.shape == made.geometry.shape == made.classes.shape
    assert np.ptp(np.asarray(made.figure())) > 100


def test_images_in_memory_are_segmented_and_saved(limbs: TwoLimbs, made: Segmentation, tmp_path: Path) -> None:
    scan = read_scan(fat=nib.load(limbs.fat), water=nib.load(limbs.water))
    found = segment(scan, model=Segmenter.load(tmp_path / "best.ckpt"), region=Region.THIGH)
    assert np.array_equal(found.mask, made.mask)
    assert json.loads((found.save(tmp_path / "out") / "run.json").read_text())["inputs"] == {}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"region": "hip"}, "region=hip: unknown; give calf or thigh"),
        ({"region": "calf"}, "region=calf: the model was trained on thigh; give another model"),
        ({"limbs": "three"}, "limbs=three: unknown; give both or left or right or one"),
        ({"device": "abacus"}, "device=abacus: there is no such device here"),
        ({"model": "nowhere"}, "nowhere: no such model"),
    ],
)
def test_arguments_that_cannot_be_are_named(asked: dict[str, str], said: str, limbs: TwoLimbs, tmp_path: Path) -> None:
    usual = {"model": write_checkpoint(tmp_path / "best.ckpt"), "region": "thigh"}
    with pytest.raises(InputError, match=f"^{said}"):
        segment(read_scan(fat=limbs.fat, water=limbs.water), **usual | asked)  # type: ignore[arg-type]


def test_a_bundle_segments_as_its_checkpoint(limbs: TwoLimbs, made: Segmentation, tmp_path: Path) -> None:
    trained = read_trained(tmp_path / "best.ckpt")
    write_bundle(tmp_path / "bundle", trained.spec, [trained.network.state_dict()], {})
    found = segment(made.scan, model=tmp_path / "bundle", region="thigh")
    assert np.array_equal(found.mask, made.mask)
    assert found.networks == (tmp_path / "bundle" / "weights.safetensors",)


def _correct(mask: Path) -> None:
    image = nib.load(mask)
    data = np.asanyarray(image.dataobj).copy()
    data[0] = 0
    nib.save(nib.Nifti1Image(data, image.affine, image.header), mask)


def _touch_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("name", ["mask.nii.gz", "fat_fraction.csv", "qc.png"])
@pytest.mark.parametrize("with_digests", [True, False])
def test_a_result_that_somebody_changed_is_kept(
    made: Segmentation, tmp_path: Path, name: str, with_digests: bool
) -> None:
    out = made.save(tmp_path / "out")
    if not with_digests:
        _forget_digests(out)
    (_correct if name == "mask.nii.gz" else _touch_bytes)(out / name)
    later = (out / "run.json").stat().st_mtime_ns + 1
    os.utime(out / name, ns=(later, later))
    before = {path: path.read_bytes() for path in out.iterdir()}
    for refused in (require_place, made.save):
        with pytest.raises(InputError, match=f"{name}: was changed after it was written here; move it away or give"):
            refused(out)
        assert {path: path.read_bytes() for path in out.iterdir()} == before
    (out / name).rename(tmp_path / name)
    made.save(out)
    assert {path.name for path in out.iterdir()} == {*FILES}


def _forget_digests(out: Path) -> None:
    """Let the record be as releases wrote it that knew no digests; it was written last."""
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k not in ("results", "replaced")}))


@pytest.mark.parametrize("with_digests", [True, False])
def test_results_as_they_were_written_are_replaced(made: Segmentation, tmp_path: Path, with_digests: bool) -> None:
    out = made.save(tmp_path / "out")
    if not with_digests:
        _forget_digests(out)
    else:
        for path in out.iterdir():
            os.utime(path, ns=(0, 0))
    made.save(out)
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / "qc.png").unlink()
    (copy / "notes.txt").write_text("looks good")
    made.save(copy)
    assert {path.name for path in copy.iterdir()} == {*FILES, "notes.txt"}


def _from_echoes(made: Segmentation) -> Segmentation:
    """The same, had its images been separated from echoes."""
    return replace(made, scan=replace(made.scan, phase_unit="radians"))


MAPS = tuple(f"{name}.nii.gz" for name in ("fat", "water", "fat_fraction"))
"""What is kept of three echoes."""


def test_maps_and_changes_of_an_earlier_mask_do_not_stay_beside_another(made: Segmentation, tmp_path: Path) -> None:
    out = _from_echoes(made).save(tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {*FILES, *MAPS}
    (out / "notes.txt").write_text("mine")
    (made.save(out) / "mask.nii.gz").rename(tmp_path / "mask.nii.gz")
    assert {path.name for path in out.iterdir()} == {*FILES, "notes.txt"} - {"mask.nii.gz"}
    made.save(tmp_path / "automatic")
    measure(tmp_path / "mask.nii.gz", made.scan, automatic=tmp_path / "automatic").save(out)
    assert (out / CHANGES).is_file()
    with pytest.raises(InputError, match="out: holds a corrected mask, which is kept; give another folder"):
        made.save(out)
    for name in (CHANGES, *FILES):
        (out / name).unlink()
    _from_echoes(made).save(out)
    (out / "water.nii.gz").write_bytes(b"my own")
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=r"water\.nii\.gz: was changed after it was written here"):
        made.save(out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_images_that_the_folder_holds_stay_there(made: Segmentation, limbs: TwoLimbs, tmp_path: Path) -> None:
    """Those of the user, and maps of an earlier call that were given as images."""
    model = tmp_path / "best.ckpt"
    own = segment(read_scan(fat=limbs.fat, water=limbs.water), model=model, region="thigh").save(limbs.fat.parent)
    assert {path.name for path in own.iterdir()} == {*FILES, "fat.nii.gz", "water.nii.gz"}
    out = _from_echoes(made).save(tmp_path / "out")
    maps = {name: (out / name).read_bytes() for name in MAPS}
    of_maps = read_scan(fat=out / "fat.nii.gz", water=out / "water.nii.gz")
    for _ in range(2):
        segment(of_maps, model=model, region="thigh").save(out)
        assert {name: (out / name).read_bytes() for name in MAPS} == maps
    made.save(out)
    assert {path.name for path in out.iterdir()} == {*FILES}


def test_results_of_a_call_that_was_killed_in_the_end_are_replaced(
    made: Segmentation, limbs: TwoLimbs, tmp_path: Path
) -> None:
    """The record is renamed first, and the mask last."""
    out = made.save(tmp_path / "out")
    first = (out / "mask.nii.gz").read_bytes()
    other = segment(
        read_scan(fat=limbs.fat, water=limbs.water), model=tmp_path / "best.ckpt", region="thigh", limbs="left"
    )
    other.classes[0] = 0
    other.save(out)
    assert (out / "mask.nii.gz").read_bytes() != first
    (out / "mask.nii.gz").write_bytes(first)
    made.save(out)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "another program"}', "\0"])
def test_a_record_of_another_program_does_not_give_the_mask_away(
    made: Segmentation, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json: exists and was not made by this command; give another folder"):
        made.save(out)
    (out / "mask.nii.gz").write_bytes(b"drawn by hand")
    with pytest.raises(InputError, match=r"mask\.nii\.gz: exists and was not made by this command"):
        made.save(out)
    assert (out / "mask.nii.gz").read_bytes() == b"drawn by hand"


@pytest.mark.parametrize(("apart", "lost"), [(60, 0), (122, 10), (150, 60)])
def test_what_lies_beyond_the_frame_is_said_and_counted(
    apart: int, lost: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Discs of 80 mm before a frame of 300 x 200 mm; the middles lie ``apart`` mm beside the middle."""
    i, j = np.mgrid[:200, :60]
    away = [np.hypot(2 * (i - 99.5) - side * apart, 2 * (j - 29.5)) for side in (-1, 1)]
    image = 100.0 * (np.min(away, axis=0) < 40)
    affine = np.array([[-2.0, 0, 0, 199], [0, -2, 0, 59], [0, 0, 8, 0], [0, 0, 0, 1]])
    grid = {"spacing_mm": 2.5, "rows": 80, "columns": 120, "fit": "centre"}
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["fat"], grid=grid)
    made = segment(read_scan(fat=(image[..., None], affine)), model=model, region="thigh")
    wanted = 100 * np.mean(np.abs(2 * (i - 99.5))[image > 0] > 150)
    row = made.rows[-1]
    assert row["beyond_frame_percent"] == pytest.approx(wanted, abs=3) and bool(wanted > 1) is (lost > 0)
    said = [message for message in caplog.messages if message.startswith("frame: ")]
    assert len(said) == (lost > 0)
    assert not made.classes[made.beyond].any()
