"""What is measured in a mask, against plain sums over its voxels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.measuring import COLUMNS, ERODED_COLUMNS, Measuring
from musclesense.segmentation.scan import Scan, from_images
from musclesense.vocabulary import Limbs

MUSCLE = LabelSet.from_config({"muscle": []})
ZOOMS = (1.5, 2.0, 8.0)


def measured(classes: NDArray[Any], labels: LabelSet = MUSCLE, **how: Any) -> MeasuredMask:
    """Measure classes of (i, j, slices) in one limb whose fat fraction rises from voxel to voxel."""
    geometry = Geometry.from_affine(classes.shape, np.diag([*ZOOMS, 1.0]))
    fraction = (np.arange(classes.size) % 97).reshape(classes.shape).astype(np.float32)
    body = np.zeros(classes.shape, bool)
    body[3:-3, 3:-3] = True
    body |= classes > 0
    fat, water = fraction * body, (100 - fraction) * body
    scan = Scan({"fat": fat, "water": water}, fraction, geometry, {})
    return MeasuredMask(scan, classes.astype(np.uint8), labels, Limbs.LEFT, Measuring.asked(**how))


def block(*places: tuple[slice, slice], slices: int | None = None) -> NDArray[np.uint8]:
    """Classes of one slice for each place, in an image of 30 x 24 voxels."""
    classes = np.zeros((30, 24, slices or len(places)), np.uint8)
    for number, (i, j) in enumerate(places):
        classes[i, j, number] = 1
    return classes


INNER = (slice(5, 20), slice(4, 15))


def test_a_slice_has_area_volume_and_fat_fractions() -> None:
    made = measured(block(INNER))
    row, total = made.rows
    inside = made.scan.fat_fraction[made.classes > 0].astype(float)  # type: ignore[index]
    assert (row["voxels"], row["counted_slices"], row["flags"]) == (165, 1, "")
    assert row["area_cm2"] == pytest.approx(165 * 1.5 * 2 / 100)
    assert row["volume_ml"] == pytest.approx(165 * 1.5 * 2 * 8 / 1000)
    wanted = {"": inside.mean(), "_median": np.median(inside), "_sd": inside.std()}
    for kind, value in wanted.items():
        assert row[f"fat_fraction{kind}_percent"] == total[f"fat_fraction{kind}_percent"] == pytest.approx(value)
    assert (total["slice"], total["largest_area_slice"], total["area_cm2"]) == ("all", 0, None)
    assert total["largest_area_cm2"] == row["area_cm2"] and row["largest_area_cm2"] is None
    assert row["beyond_frame_percent"] is None  # no network, no frame


@given(
    sizes=st.lists(st.integers(0, 14), min_size=1, max_size=5),
    chosen=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_totals_are_sums_of_the_slices_asked_for(sizes: list[int], chosen: tuple[int, int]) -> None:
    last = len(sizes) - 1
    first, end = sorted(min(one, last) for one in chosen)
    made = measured(block(*((slice(5, 5 + size), slice(4, 15)) for size in sizes)), slices=(first, end))
    *rows, total = made.rows
    within = sizes[first : end + 1]
    assert total["voxels"] == 11 * sum(within) and total["counted_slices"] == len(within)
    assert [row["counted_slices"] for row in rows] == [int(first <= n <= end) for n in range(len(sizes))]
    assert [row["flags"] for row in rows] == ["" if first <= n <= end else "left_out" for n in range(len(sizes))]
    largest = max(within)
    assert total["largest_area_slice"] == (first + within.index(largest) if largest else None)
    assert [row["voxels"] for row in rows] == [11 * size for size in sizes]


@pytest.mark.parametrize("edge", [(slice(0, 9), slice(4, 9)), (slice(22, 30), slice(4, 9)), (slice(5, 9), slice(0, 3))])
@pytest.mark.parametrize("with_cut", [False, True])
def test_what_the_edge_cuts_is_flagged_and_counted_when_asked(edge: tuple[slice, slice], with_cut: bool) -> None:
    made = measured(block(INNER, edge), with_cut=with_cut)
    whole, cut, total = made.rows
    assert (whole["flags"], cut["flags"].split()[0], total["flags"].split()[0]) == ("", "cut", "cut")
    assert total["voxels"] == 165 + with_cut * cut["voxels"]
    assert (cut["counted_slices"], total["counted_slices"]) == (int(with_cut), 1 + with_cut)
    assert cut["area_cm2"] > 0


def test_ends_of_the_stack_cut_nothing() -> None:
    assert {row["flags"] for row in measured(block(INNER, INNER, INNER)).rows} == {""}


def test_one_label_is_cut_and_another_is_not() -> None:
    classes = block((slice(0, 9), slice(4, 9)))
    classes[12:20, 4:9] = 2
    first, second, *totals = measured(classes, LabelSet.from_config({"a": [1], "b": [5]})).rows
    assert first["flags"].split()[0] == "cut" and "cut" not in second["flags"].split()
    assert [row["voxels"] for row in totals] == [0, 40]


@given(layers=st.integers(1, 4))
def test_an_erosion_by_whole_voxels_takes_layers_off(layers: int) -> None:
    classes = block((slice(5, 20), slice(4, 20)))
    geometry_mm = 2.0 * layers
    row, total = measured(classes, erode=geometry_mm).rows
    mask = classes[:, :, 0] > 0
    depth = ndimage.distance_transform_edt(mask, sampling=ZOOMS[:2])
    assert row["eroded_voxels"] == total["eroded_voxels"] == np.count_nonzero(depth > geometry_mm + 1e-9)
    inner = slice(4 + layers, 20 - layers)
    assert row["eroded_voxels"] <= np.count_nonzero(mask[:, inner])
    assert row["voxels"] == np.count_nonzero(mask)


def test_columns_of_an_erosion_are_there_when_asked_for() -> None:
    classes = block(INNER)
    assert tuple(measured(classes).table.columns) == COLUMNS
    with_erosion = measured(classes, erode=1).table
    assert tuple(with_erosion.columns) == COLUMNS + ERODED_COLUMNS
    tiny = measured(classes, erode=99).table
    assert tiny.eroded_voxels.tolist() == [0, 0] and tiny.eroded_fat_fraction_percent.isna().all()


def test_voxels_without_a_fat_fraction_are_left_out_of_means() -> None:
    made = measured(block(INNER))
    assert made.scan.fat_fraction is not None
    made.scan.fat_fraction[5] = np.nan
    row = made.rows[0]
    inside = made.scan.fat_fraction[6:20, 4:15, 0].astype(float)
    assert row["fat_fraction_percent"] == pytest.approx(inside.mean()) and row["voxels"] == 165


@pytest.mark.parametrize("dark", [0, 2, 11])
def test_voxels_without_signal_count_as_the_fat_fraction_image_has_them(dark: int) -> None:
    fat, water = np.full((30, 24, 1), 30, np.int16), np.full((30, 24, 1), 70, np.int16)
    for image in (fat, water):
        image[:3] = image[5:20, 4 : 4 + dark] = 0
    affine = np.diag([*ZOOMS, 1.0])
    scan = from_images({"fat": (fat, affine), "water": (water, affine)})
    row, _ = MeasuredMask(scan, block(INNER), MUSCLE, Limbs.LEFT).rows
    assert row["voxels"] == 165 and row["fat_fraction_percent"] == pytest.approx(30 * (11 - dark) / 11)


def test_without_water_areas_are_known_alone() -> None:
    made = measured(block(INNER))
    plain = MeasuredMask(
        Scan({"fat": made.scan.channels["fat"]}, None, made.geometry, {}), made.classes, MUSCLE, Limbs.LEFT
    )
    row = plain.rows[0]
    assert row["area_cm2"] > 0
    assert row["fat_fraction_percent"] is row["subcutaneous_fat_cm2"] is row["intermuscular_fat_ml"] is None


def test_fat_of_a_limb_is_counted_once_a_slice(tmp_path: Path) -> None:
    i, j = np.ogrid[-30:31, -30:31]
    away = np.hypot(i * 1.5, j * 1.5)[:, :, None].repeat(3, axis=2)
    muscle, body = away < 25, away < 37
    fraction = np.where(muscle, 10.0, 90.0).astype(np.float32)
    signal = np.where(body, 200.0, 0.0).astype(np.float32)
    fat, water = signal * fraction / 100, signal * (100 - fraction) / 100
    geometry = Geometry.from_affine((61, 61, 3), np.diag([1.5, 1.5, 10.0, 1.0]))
    scan = Scan({"fat": fat, "water": water}, fraction, geometry, {})
    *rows, total = MeasuredMask(scan, muscle.astype(np.uint8), MUSCLE, Limbs.ONE, Measuring(slices=(0, 1))).rows
    area_cm2 = np.pi * (37**2 - 25**2) / 100
    assert [row["subcutaneous_fat_cm2"] for row in rows] == pytest.approx([area_cm2] * 3, rel=0.05)
    assert total["subcutaneous_fat_ml"] == pytest.approx(2 * rows[0]["subcutaneous_fat_ml"])
    assert rows[0]["subcutaneous_fat_ml"] == pytest.approx(rows[0]["subcutaneous_fat_cm2"])  # 10 mm
    assert total["subcutaneous_fat_cm2"] is None and total["intermuscular_fat_ml"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"erode": 0}, "erode=0: is no erosion"),
        ({"erode": -1.5}, "erode=-1.5: is no erosion"),
        ({"erode": float("nan")}, "erode=nan: is no erosion"),
        ({"erode": 1000.0}, r"erode=1000\.0: is no erosion"),
        ({"slices": "2-8"}, "slices=2-8: is no range of slices; give FIRST:LAST"),
        ({"slices": "a:b"}, "slices=a:b: is no range"),
        ({"slices": "1:2:3"}, "slices=1:2:3: is no range"),
        ({"slices": (1,)}, "slices=1: is no range"),
        ({"slices": 1}, "slices=1: is no range"),
        ({"slices": (0.9, 1.5)}, r"slices=0\.9:1\.5: is no range"),
        ({"slices": "5:2"}, "slices=5:2: holds no slice"),
        ({"slices": "-3:2"}, "slices=-3:2: holds no slice"),
        ({"slices": (1, 9)}, "slices=1:9: the image has slices 0 to 1; give some of them"),
    ],
)
def test_what_cannot_be_asked_for_is_named(asked: dict[str, Any], said: str) -> None:
    geometry = measured(block(INNER, INNER)).geometry
    with pytest.raises(InputError, match=f"^{said}"):
        Measuring.asked(**asked).require_slices(geometry)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [("0:0", (0, 0)), (" 1 : 4 ", (1, 4)), ([2, 3], (2, 3)), (None, None), (np.array([1, 4]), (1, 4))],
)
def test_ranges_are_understood(given_: Any, wanted: Any) -> None:
    assert Measuring.asked(slices=given_).slices == wanted


def test_the_table_is_read_back_by_pandas(tmp_path: Path) -> None:
    made = measured(block(INNER, (slice(0, 4), slice(4, 9))), erode=2)
    made.save(tmp_path / "out", {"inputs": {}, "networks": []})
    read = pandas.read_csv(tmp_path / "out" / "measurements.csv", keep_default_na=True)
    assert list(read.columns) == list(made.measuring.columns)
    assert read["flags"].fillna("").tolist() == made.table["flags"].tolist()
    numbers = [name for name in made.table if made.table[name].dtype == float]
    np.testing.assert_allclose(read[numbers], made.table[numbers], atol=0.06)
    old = (tmp_path / "out" / "fat_fraction.csv").read_bytes()
    assert old == (tmp_path / "out" / "measurements.csv").read_bytes()
