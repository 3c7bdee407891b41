"""What masks and images show, against what table and labels say: told, and refused where it must be wrong."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from musclesense.cohort.checks import check
from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.vocabulary import Limbs, Region

SHAPE = (100, 50, 3)
GEOMETRY = Geometry.from_affine(SHAPE, np.diag([-4.0, -4.0, 9.0, 1.0]))
SIDES = LabelSet.from_config({"left": [1], "right": [2]})
RIGHT, LEFT = (25, 25), (75, 25)


def table(folder: Path, masks: Mapping[str, np.ndarray], **limbs: Limbs) -> CohortTable:
    """Rows of an image of two limbs each, or of one at the right where ``limbs`` say so, with masks shifted apart."""
    return table_of(
        folder, {name: np.roll(mask, shift, axis=1) for shift, (name, mask) in enumerate(masks.items())}, limbs
    )


def table_of(
    folder: Path, masks: Mapping[str, np.ndarray], limbs: Mapping[str, Limbs] = MappingProxyType({})
) -> CohortTable:
    """The same with the masks as they are."""
    i, j, _ = np.indices(SHAPE)
    rows = []
    for line, (subject, mask) in enumerate(masks.items(), start=2):
        shown = [RIGHT] if subject.startswith("one") else [RIGHT, LEFT]
        image = sum(100.0 * (np.hypot(i - a, j - b) < 18) for a, b in shown)
        noise = np.random.default_rng(line).normal(0, 2, SHAPE)
        files = {name: folder / f"{subject}_{name}.nii.gz" for name in ("fat", "mask")}
        write_volume(files["fat"], np.abs(image + noise), GEOMETRY, np.float32)
        write_volume(files["mask"], mask, GEOMETRY, np.uint8)
        rows.append(
            Acquisition(
                line=line,
                subject=subject,
                region=Region.THIGH,
                limbs=limbs.get(subject, Limbs.BOTH),
                channels={"fat": files["fat"]},
                mask=files["mask"],
            )
        )
    return CohortTable(folder / "cohort.csv", tuple(rows), "")


def mask(right: int, left: int) -> np.ndarray:
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[18:32, 18:32], drawn[68:82, 18:32] = right, left
    return drawn


@pytest.mark.parametrize(("right", "left", "named"), [(1, 1, "right (2)"), (1, 0, "right (2)"), (2, 2, "left (1)")])
def test_sides_of_masks_that_hold_one_value_are_refused(tmp_path: Path, right: int, left: int, named: str) -> None:
    cohort = table(tmp_path, {"a": mask(right, left), "b": mask(right, left)})
    with pytest.raises(InputError) as caught:
        check(cohort, labels=SIDES, label_column="mask")
    (problem,) = caught.value.problems
    assert f"cohort.csv: no mask holds {named}, but" in problem and "labels=whole_muscle" in problem
    check(cohort, labels=LabelSet.from_config({"muscle": []}), label_column="mask")


def test_sides_that_are_there_and_a_cohort_of_one_limb_are_taken(tmp_path: Path) -> None:
    check(table(tmp_path, {"a": mask(2, 1), "b": mask(2, 0)}), labels=SIDES, label_column="mask")
    one = table(
        tmp_path, {"one": mask(2, 0), "one-more": mask(2, 0)}, **dict.fromkeys(("one", "one-more"), Limbs.RIGHT)
    )
    check(one, labels=SIDES, label_column="mask")
    unsided = LabelSet.from_config({"vastus": [1], "soleus": [7]})
    check(table(tmp_path, {"a": mask(1, 1)}), labels=unsided, label_column="mask")


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_stray_voxels_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int) -> None:
    odd = mask(2, 1)
    odd[40 : 40 + count, 2, 1] = 7
    check(table(tmp_path, {"a": mask(2, 1), "b": odd}))
    (said,) = caplog.messages
    voxels = f"{count} voxel" + "s" * (count > 1)
    assert "line 3: mask " in said and f"label 7 has {voxels} in slice 1, and {count} is usual" in said


def test_of_a_thin_muscle_on_a_coarse_grid_there_is_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks = {name: mask(2, 1) for name in "abc"}
    for name, count in zip("abc", (22, 20, 2), strict=True):
        masks[name][40, :count, 1] = 7
    check(table(tmp_path, masks))
    assert caplog.messages == []


def test_a_label_that_is_much_smaller_than_usual_is_told_of_once_a_slice_and_no_more_than_ten_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = np.zeros(SHAPE, np.uint8)
    odd[20, 20] = 2
    check(table(tmp_path, {"a": mask(2, 2), "b": mask(2, 2), "c": mask(2, 2), "d": odd, "e": odd, "f": odd + 0}))
    assert len(caplog.messages) == 9 and "label 2 has 1 voxel in slice 0, and" in caplog.messages[0]
    caplog.clear()
    check(table(tmp_path, {**{f"a{n}": mask(2, 2) for n in range(5)}, **dict.fromkeys("bcde", odd)}))
    assert len(caplog.messages) == 11 and caplog.messages[-1].endswith("and 2 more of this kind from here on")


def test_values_that_no_label_holds_are_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks = {"a": mask(2, 1), "b": mask(2, 1), "c": mask(2, 1)}
    for name in "bc":
        masks[name][45:55, 18:32] = 7
    cohort = table(tmp_path, masks)
    check(cohort, labels=SIDES, label_column="mask")
    assert caplog.messages == [
        f"{cohort.path}, line 3: mask {cohort.acquisitions[1].mask}: value 7 is in no label and counts as background, "
        "as in 1 more rows"
    ]
    caplog.clear()
    check(cohort, labels=LabelSet.from_config({"muscle": []}), label_column="mask")
    check(cohort, labels=LabelSet.from_config({"left": [1], "right": [2, 7]}), label_column="mask")
    assert caplog.messages == []


@pytest.mark.parametrize("compressed", [True, False])
def test_a_mask_of_another_row_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, compressed: bool) -> None:
    cohort = table_of(tmp_path, {"a": mask(2, 1), "b": mask(2, 1), "c": mask(2, 2), "d": mask(1, 1)})
    own = cohort.acquisitions[1].mask
    assert own is not None
    if not compressed:
        plain = own.with_name("b.nii")
        write_volume(plain, mask(2, 1), GEOMETRY, np.float32)
        cohort = replace(cohort, acquisitions=(cohort.acquisitions[0], replace(cohort.acquisitions[1], mask=plain)))
        own = plain
    check(cohort)
    there = f"{cohort.acquisitions[0].mask} in line 2"
    assert caplog.messages == [
        f"{cohort.path}, line 3: mask {own}: holds the labels of {there}; correct the path if it is wrong"
    ]


def test_of_one_mask_of_two_rows_of_one_scan_and_of_empty_ones_there_is_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = table_of(tmp_path, {"a": mask(2, 1), "b": mask(0, 0), "c": mask(0, 0)})
    first = cohort.acquisitions[0]
    rows = (replace(first, limbs=Limbs.RIGHT), replace(first, limbs=Limbs.LEFT, line=3), *cohort.acquisitions[1:])
    with suppress(InputError):  # empty masks are refused
        check(replace(cohort, acquisitions=rows))
    assert not any("holds the labels" in said for said in caplog.messages)


@pytest.mark.parametrize(
    ("subject", "limbs", "shown"), [("one", Limbs.BOTH, "one limb"), ("a", Limbs.LEFT, "two limbs")]
)
def test_limbs_that_the_image_does_not_show_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subject: str, limbs: Limbs, shown: str
) -> None:
    check(table(tmp_path, {subject: mask(1, 0), "b": mask(1, 1)}, **{subject: limbs}))
    assert caplog.messages == [
        f"{tmp_path / 'cohort.csv'}, line 2: limbs '{limbs}': the image shows {shown}; correct the cell if it is wrong"
    ]


def test_of_limbs_that_are_as_the_table_says_there_is_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(table(tmp_path, {"one": mask(1, 0), "b": mask(1, 1)}, one=Limbs.RIGHT))
    check(table(tmp_path, {"one": mask(1, 0)}, one=Limbs.ONE))
    assert caplog.messages == []
