"""A mask that somebody corrected: as editors save it, measured, and compared with the automatic one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import musclesense as ms
from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, Volume, read_volume
from musclesense.imaging.turning import laid
from musclesense.segmentation.corrected import CHANGE_COLUMNS
from musclesense.segmentation.measured import CHANGES, FILES
from musclesense.segmentation.scan import Scan, read_scan

from .conftest import TwoLimbs, found_in

SPACES = {"left-posterior-superior": (-1, -1, 1), "right-anterior-superior": (1, 1, 1), "LAS": (-1, 1, 1)}


@pytest.fixture
def scan(limbs: TwoLimbs) -> Scan:
    return read_scan(fat=limbs.fat, water=limbs.water)


@pytest.fixture
def automatic(limbs: TwoLimbs, scan: Scan, tmp_path: Path) -> Path:
    """Results of segment: both limbs but for the first slice of the right one."""
    classes = (limbs.right | limbs.left).astype(np.uint8)
    classes[0][limbs.right[0]] = 0
    found_in(scan, classes).save(tmp_path / "result")
    return tmp_path / "result"


def test_a_path_is_the_scan_as_for_segment(limbs: TwoLimbs, automatic: Path, tmp_path: Path, capsys) -> None:
    mask = str(automatic / "mask.nii.gz")
    main(["measure", str(limbs.fat.parent), "--mask", mask, "--out", str(tmp_path / "path")])
    assert "taken: fat fat.nii.gz; water water.nii.gz" in capsys.readouterr().err
    main(
        [
            "measure",
            "--mask",
            mask,
            "--fat",
            str(limbs.fat),
            "--water",
            str(limbs.water),
            "--out",
            str(tmp_path / "named"),
        ]
    )
    tables = [(tmp_path / name / "measurements.csv").read_bytes() for name in ("path", "named")]
    assert tables[0] == tables[1]
    by_path = ms.measure(mask, str(limbs.fat.parent))
    assert by_path.table.fat_fraction_percent.notna().any()
    asked = ["measure", str(limbs.fat.parent), "--fat", str(limbs.fat), "--mask", mask, "--out", str(tmp_path / "both")]
    with pytest.raises(SystemExit, match="2"):
        main(asked)
    assert capsys.readouterr().err.endswith("error: --fat: does not go with a path, in which images are found\n")


def corrected(automatic: Path, limbs: TwoLimbs) -> NDArray[np.uint16]:
    """Give the mask with the right limb back in its first slice, and the left one out of its last."""
    mask = read_volume(automatic / "mask.nii.gz").data.copy()
    mask[0][limbs.right[0]] = 1
    mask[3][limbs.left[3]] = 0
    return np.asarray(mask, np.uint16)


def write_nrrd(path: Path, data: NDArray[Any], affine: NDArray[np.float64], space: str, **fields: Any) -> Path:
    """Write a NRRD file in a space."""
    own = np.diag([*SPACES[space], 1.0]) @ affine
    header = {"space": space, "space directions": own[:3, :3].T, "space origin": own[:3, 3], **fields}
    nrrd.write(str(path), data, header)
    return path


def _as_nifti(dtype: type, slope: float = 1.0, inter: float = 0.0) -> Callable[..., Path]:
    def save(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Path:
        image = nib.Nifti1Image((data - inter) / slope, affine)  # nibabel stores voxels as they are
        image.header.set_data_dtype(dtype)
        image.header.set_slope_inter(slope, inter)
        nib.save(image, path / "c.nii.gz")
        return path / "c.nii.gz"

    return save


def _rounded(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    rounded = affine.round(4)
    rounded[:3, 3] += 0.05
    nib.save(nib.Nifti1Image(data, rounded), path / "c.nii")
    return path / "c.nii"


def _turned(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    nib.save(nib.as_closest_canonical(nib.Nifti1Image(data, affine)), path / "c.nii.gz")
    return path / "c.nii.gz"


def _nrrd(space: str, **fields: Any) -> Callable[..., Path]:
    return lambda path, data, affine: write_nrrd(path / "c.nrrd", data, affine, space, **fields)


def _cropped(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    """As 3D Slicer does it: the part that is filled alone, with the segment's name."""
    start = np.argwhere(data).min(axis=0)
    stop = np.argwhere(data).max(axis=0) + 1
    part = data[tuple(slice(*ends) for ends in zip(start, stop, strict=True))].astype(np.uint8)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ start
    names = {"Segment0_Name": "Segment_1", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    return write_nrrd(path / "c.seg.nrrd", part, moved, "left-posterior-superior", **names)


def _padded(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ (2, 3, 1)
    nib.save(nib.Nifti1Image(np.pad(data, ((2, 1), (3, 0), (1, 4))), moved), path / "c.nii.gz")
    return path / "c.nii.gz"


AFFINE = np.array([[-1.2, 0, 0.1, 3], [0, 2, 0, 4], [0, 0.2, 5, 6], [0, 0, 0, 1]])


WAYS: dict[str, Callable[..., Path]] = {
    "uint8": _as_nifti(np.uint8),
    "int16": _as_nifti(np.int16),
    "float64": _as_nifti(np.float64),
    "scaled": _as_nifti(np.uint8, 1 / 255, 0),
    "rounded affine": _rounded,
    "other axes": _turned,
    "nrrd, LPS": _nrrd("left-posterior-superior", encoding="gzip"),
    "nrrd, RAS, raw": _nrrd("right-anterior-superior", encoding="raw"),
    "nrrd, LAS, bzip2": _nrrd("LAS", encoding="bzip2"),
    "seg.nrrd of a part": _cropped,
    "with a margin": _padded,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_is_measured_however_an_editor_saved_it(
    way: str,
    scan: Scan,
    automatic: Path,
    limbs: TwoLimbs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = corrected(automatic, limbs)
    folder = tmp_path / "edited"
    folder.mkdir()
    file = WAYS[way](folder, mask, limbs.geometry.affine)
    found = ms.measure(file, scan, automatic=automatic)
    assert np.array_equal(found.mask, mask)
    said = "voxels; the others are taken as background"
    assert (said in capsys.readouterr().err) == (way in ("seg.nrrd of a part", "with a margin"))
    wanted = found_in(scan, (mask > 0).astype(np.uint8)).table.drop(columns="beyond_frame_percent")
    pandas.testing.assert_frame_equal(found.table.drop(columns="beyond_frame_percent"), wanted)
    assert found.changes is not None
    total = found.changes[found.changes["slice"] == "all"].set_index("limb")
    assert total.loc["right", "voxels_added"] == np.count_nonzero(limbs.right[0])
    assert total.loc["left", "voxels_removed"] == np.count_nonzero(limbs.left[3])
    assert total.loc["right", "voxels_removed"] == total.loc["left", "voxels_added"] == 0
    saved = read_volume(found.save(tmp_path / "out") / "mask.nii.gz")
    assert np.array_equal(saved.geometry.affine, read_volume(limbs.fat).geometry.affine)
    assert np.array_equal(saved.data, mask)


@settings(max_examples=20)
@given(
    shift=st.tuples(*(st.integers(-3, 3) for _ in range(3))),
    size=st.tuples(*(st.integers(1, 4) for _ in range(3))),
    value=st.integers(1, 60000),
)
def test_a_part_of_an_image_is_laid_where_it_was(
    shift: tuple[int, int, int], size: tuple[int, int, int], value: int
) -> None:
    """One label anywhere in a volume that starts before or behind the image's first voxel."""
    geometry = Geometry.from_affine((6, 5, 4), AFFINE)
    place = geometry.affine.copy()
    place[:3, 3] += place[:3, :3] @ shift
    data = np.zeros(size, np.uint16)
    data[-1, -1, -1] = value
    found = laid(Volume(data, Geometry.from_affine(size, place)), geometry)
    at = np.add(shift, size) - 1
    if ((at >= 0) & (at < geometry.shape)).all():
        assert geometry.difference(found.geometry) is None
        assert np.argwhere(found.data).tolist() == [at.tolist()] and found.data.max() == value
    else:
        assert geometry.difference(found.geometry) is not None


def test_single_muscles_have_the_names_of_the_automatic_mask(scan: Scan, limbs: TwoLimbs, tmp_path: Path) -> None:
    labels = LabelSet.from_config({"gracilis": [4, 40], "vastus": [9]})
    classes = np.where(limbs.left, 2, limbs.right).astype(np.uint8)
    found_in(scan, classes, labels=labels).save(tmp_path / "result")
    stored = nib.load(tmp_path / "result" / "mask.nii.gz")
    assert (int(stored.header["intent_code"]), bytes(stored.header["aux_file"]).rstrip(b"\0")) == (1002, b"dseg.tsv")
    edited = tmp_path / "result" / "edited.nii.gz"
    nib.save(nib.Nifti1Image(np.where(limbs.left, 9, 40 * limbs.right).astype(np.int16), limbs.geometry.affine), edited)
    found = ms.measure(edited, scan)
    assert {*found.table["label"]} == {"gracilis", "vastus"}
    assert {*np.unique(found.mask)} == {0, 4, 9}
    assert found.changes is not None and not found.changes[["voxels_added", "voxels_removed"]].to_numpy().any()
    # 3D Slicer counts segments anew, and names tell which they are.
    names = {"Segment0_Name": "vastus", "Segment0_LabelValue": "1"}
    names |= {"Segment1_Name": "gracilis", "Segment1_LabelValue": "2"}
    data = np.where(limbs.left, 1, 2 * limbs.right).astype(np.uint8)
    space = "left-posterior-superior"
    file = write_nrrd(tmp_path / "Segmentation.seg.nrrd", data, limbs.geometry.affine, space, **names)
    renumbered = ms.measure(file, scan, automatic=tmp_path / "result")
    assert np.array_equal(renumbered.mask, found.mask)
    assert {*ms.measure(file, scan).table["label"]} == {"gracilis", "vastus"}  # without the automatic one


@pytest.mark.parametrize("names", [("soleus_left", "tibialis_left"), ("soleus_right", "tibialis_left"), ("left", "a")])
def test_segments_of_one_leg_keep_their_names(
    names: tuple[str, str], scan: Scan, limbs: TwoLimbs, tmp_path: Path
) -> None:
    """Nobody draws the other leg, whose labels are empty then."""
    data = np.where(limbs.left, 1, 0).astype(np.uint8)
    data[2:][limbs.left[2:]] = 7
    fields = {f"Segment{at}_Name": name for at, name in enumerate(names)}
    fields |= {"Segment0_LabelValue": "1", "Segment1_LabelValue": "7"}
    file = write_nrrd(tmp_path / "leg.seg.nrrd", data, limbs.geometry.affine, "left-posterior-superior", **fields)
    table = ms.measure(file, scan).table
    whole = table[table["slice"] == "all"].groupby("label")["voxels"].sum()
    assert [whole[name] for name in names] == [np.count_nonzero(data == value) for value in (1, 7)]
    assert whole.sum() == np.count_nonzero(data)


def test_changes_over_all_slices_are_those_of_the_tables(scan: Scan, automatic: Path, limbs: TwoLimbs) -> None:
    """A slice that the edge of the image cuts is in neither; one that it cuts in one mask is in that of the other."""
    mask = read_volume(automatic / "mask.nii.gz").data.copy()
    before = found_in(scan, (mask > 0).astype(np.uint8)).table
    mask[1] = 1  # up to the edge
    for with_cut in (False, True):
        found = ms.measure((mask, limbs.geometry.affine), scan, automatic=automatic, with_cut=with_cut)
        assert found.changes is not None
        total = found.changes[found.changes["slice"] == "all"].set_index("limb")
        now = found.table[found.table["slice"] == "all"].set_index("limb")
        assert total["voxels"].to_dict() == now["voxels"].to_dict()
        assert (
            total["voxels_automatic"].to_dict()
            == before[before["slice"] == "all"].set_index("limb")["voxels"].to_dict()
        )
        assert ((total["voxels_automatic"] + total["voxels_added"] - total["voxels_removed"]) == total["voxels"]).all()
        assert (total["voxels_removed"] > 0).all() != with_cut


def test_labels_are_given_or_counted_where_nobody_knows_them(scan: Scan, limbs: TwoLimbs) -> None:
    values = np.where(limbs.left, 7, 3 * limbs.right).astype(np.int32)
    image = (values, limbs.geometry.affine)
    assert {*ms.measure(image, scan).table["label"]} == {"label_3", "label_7"}
    named = ms.measure(image, scan, labels={"thin": [3], "thick": [7, 8]}).table
    assert {*named["label"]} == {"thin", "thick"}
    alone = ms.measure((7 * limbs.left, limbs.geometry.affine), scan)
    assert {*alone.table["label"]} == {"muscle"} and alone.changes is None
    with pytest.raises(InputError, match=r"mask: value 7 is no label \(3 thin\); correct the mask"):
        ms.measure(image, scan, labels={"thin": [3]})


def _bad(data: NDArray[Any], affine: NDArray[np.float64]) -> dict[str, tuple[Any, str]]:
    """Masks that cannot be measured, and what is said."""
    far, thick = affine.copy(), affine.copy()
    far[:3, 3] += 2
    thick[:3, :3] *= 1.1
    outside = np.pad(data, ((0, 1), (0, 0), (0, 0)))
    outside[-1].flat[0] = 1
    holes = np.where(data, np.nan, 0)
    return {
        "elsewhere": (
            (data, far),
            "mask: affine differs: corners lie up to .* mm apart of the image; draw",
        ),
        "other size": ((data, thick), "mask: affine differs"),
        "half a voxel beside": ((data[:, 1:], affine + 0.5 * affine[:, [1]] * np.eye(4)[3]), "mask: shape .* differs"),
        "labels outside": ((outside, affine), "mask: shape .* differs"),
        "negative": ((-data.astype(int), affine), "mask: label -1 is negative; count labels from 0"),
        "smooth": ((data * 0.4, affine), "mask: holds parts of numbers, as a smoothed mask does"),
        "holes": ((holes, affine), "mask: .* voxels are NaN or infinite"),
        "empty": ((0 * data, affine), "mask: holds no label"),
    }


@pytest.mark.parametrize("kind", list(_bad(np.ones((1, 6, 1)), np.eye(4))))
def test_what_is_no_mask_of_the_scan_is_named(kind: str, scan: Scan, limbs: TwoLimbs) -> None:
    image, said = _bad((limbs.left | limbs.right).astype(np.float64), limbs.geometry.affine)[kind]
    with pytest.raises(InputError, match=f"^{said}"):
        ms.measure(image, scan)


def test_the_command_measures_tells_and_writes(
    automatic: Path, limbs: TwoLimbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _as_nifti(np.float32)(automatic, corrected(automatic, limbs), limbs.geometry.affine)
    images = ["--fat", str(limbs.fat), "--water", str(limbs.water)]
    out = tmp_path / "out"
    main(["measure", "--mask", str(file), *images, "--erode", "4", "--slices", "0:2", "--out", str(out)])
    said = capsys.readouterr()
    assert said.out == f"{out / 'measurements.csv'}\n"
    assert f"changed: 2 of 4 slices, {np.count_nonzero(limbs.right[0])} voxels added, 0 removed" in said.err
    assert "right muscle: fat fraction 20.00 % before, 20.00 % now" in said.err
    assert {path.name for path in out.iterdir()} == {*FILES, CHANGES}
    changes = pandas.read_csv(out / CHANGES)
    assert list(changes.columns) == list(CHANGE_COLUMNS)
    table = pandas.read_csv(out / "measurements.csv")
    assert "eroded_voxels" in table and table["flags"].fillna("").tolist()[-4:-2] == ["left_out", "left_out"]
    record = json.loads((out / "run.json").read_text())
    assert record["measured"] == {"erode_mm": 4.0, "slices": [0, 2], "with_cut": False}
    assert record["corrected"] == {"slices_changed": [0, 3]} and set(record["inputs"]) == {"fat", "water", "mask"}
    main(["measure", "--mask", str(file), *images, "--anonymous", "--out", str(out)])  # replaces its own
    assert str(tmp_path) not in (out / "run.json").read_text()
    before = (automatic / "mask.nii.gz").read_bytes()
    for folder in (automatic, tmp_path / "scan"):
        (tmp_path / "scan" / "mask.nii.gz").write_bytes(b"drawn")
        with pytest.raises(SystemExit):
            main(["measure", "--mask", str(file), *images, "--out", str(folder)])
    assert "holds the automatic mask, which is kept" in capsys.readouterr().err
    assert (automatic / "mask.nii.gz").read_bytes() == before


def test_changes_of_an_earlier_mask_do_not_stay_beside_another(
    automatic: Path, scan: Scan, limbs: TwoLimbs, tmp_path: Path
) -> None:
    image, out = (corrected(automatic, limbs), limbs.geometry.affine), tmp_path / "out"
    for known in (automatic, None, automatic):
        ms.measure(image, scan, automatic=known).save(out)
        assert (out / CHANGES).exists() == (known is not None)
    (out / CHANGES).write_text("my own")
    with pytest.raises(InputError, match=f"{CHANGES}: was changed after it was written here"):
        ms.measure(image, scan).save(out)
    assert (out / CHANGES).read_text() == "my own"


def test_a_mask_that_was_corrected_in_its_place_is_measured(
    automatic: Path, scan: Scan, limbs: TwoLimbs, capsys: pytest.CaptureFixture[str]
) -> None:
    unchanged = ms.measure(automatic / "mask.nii.gz", scan)
    assert unchanged.changes is not None and not unchanged.changes["voxels_added"].any()
    mask = corrected(automatic, limbs)
    nib.save(nib.Nifti1Image(mask, limbs.geometry.affine), automatic / "mask.nii.gz")
    found = ms.measure(automatic / "mask.nii.gz", scan)
    assert found.changes is None and np.array_equal(found.mask, mask)
    assert "mask.nii.gz: was corrected in its place; what was changed is not known" in capsys.readouterr().err


def test_results_of_another_scan_are_not_compared(
    automatic: Path, scan: Scan, limbs: TwoLimbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = limbs.geometry.affine.copy()
    far[:3, 3] += 50
    moved = read_scan(**{name: (image, far) for name, image in scan.channels.items()})  # type: ignore[arg-type]
    found = ms.measure((corrected(automatic, limbs), far), moved, automatic=automatic)
    assert found.changes is None and "what was changed is not known: " in capsys.readouterr().err
    with pytest.raises(InputError, match=r"automatic=.*: holds no results of segment; give their folder"):
        ms.measure(automatic / "mask.nii.gz", scan, automatic=tmp_path)
