"""Frames become the images of one scan; what does not make one is listed and refused."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pydicom", reason="reads DICOM")

import pydicom
from tests.dicom.making import (
    SLICES,
    STEP,
    Series,
    of_type,
    pixels,
    position,
    siemens,
    vendor_dixon,
    write_classic,
)

from musclesense.dicom.frames import Frame, read_frames
from musclesense.dicom.stacks import Stack, stacks_of
from musclesense.errors import InputError

ONE = Series(3, pixels(1), of_type("M"))


def stacks(folder: Path, many: Sequence[Series], *chosen: int) -> list[Stack]:
    for series in many:
        write_classic(folder, series)
    return stacks_of(read_frames(folder).frames, folder, chosen)


def refused(folder: Path, many: Sequence[Series], *chosen: int) -> list[str]:
    with pytest.raises(InputError) as caught:
        stacks(folder, many, *chosen)
    assert all(problem.startswith((f"{folder}: ", "series=")) for problem in caught.value.problems)
    assert not any("Doe" in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{folder}: ") for problem in caught.value.problems]


def test_slices_are_put_in_the_order_in_which_they_lie(tmp_path: Path) -> None:
    (stack,) = stacks(tmp_path, [ONE])
    assert [list(frame.position) for frame in stack.frames] == [position(place) for place in range(SLICES)]
    assert stack.shape == (40, 24, SLICES) and str(stack) == "series 3, magnitude at 2.46 ms"


@pytest.mark.parametrize("order", [1, -1])
def test_echoes_are_in_the_order_of_their_times_whatever_series_and_file(order: int, tmp_path: Path) -> None:
    times = [11.5, 2.3, 9.2, 4.6, 6.9][::order]
    many = [Series(9 - number, pixels(number), of_type("M", te=te)) for number, te in enumerate(times)]
    assert [stack.echo_ms for stack in stacks(tmp_path, many)] == [2.3, 4.6, 6.9, 9.2, 11.5]


@pytest.mark.parametrize("missing", range(1, SLICES - 1))
def test_a_missing_slice_is_told(missing: int, tmp_path: Path) -> None:
    places = [place for place in range(SLICES) if place != missing]
    first, last = refused(tmp_path, [replace(ONE, stored=ONE.stored[1:], places=places)])
    assert first == "series 3, magnitude at 2.46 ms: a slice is missing: its 5 slices lie 8 to 16 mm apart"
    assert last == "export the scan again, whole, into a folder of its own"


@pytest.mark.parametrize("missing", [0, SLICES - 1])
def test_a_slice_that_one_image_lacks_at_its_end_is_told(missing: int, tmp_path: Path) -> None:
    fat, water, *_ = vendor_dixon()
    places = [place for place in range(SLICES) if place != missing]
    lines = refused(tmp_path, [fat, replace(water, stored=water.stored[1:], places=places)])
    assert "series 21, water at 2.46 ms: 5 slices of 40x24" in lines


@given(st.lists(st.floats(-0.01, 0.01), min_size=SLICES, max_size=SLICES))
def test_positions_may_be_rounded(shifts: list[float]) -> None:
    header = pydicom.Dataset()
    header.Rows, header.Columns, header.ImageType = 24, 40, ["ORIGINAL", "PRIMARY", "M"]
    header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    frames = []
    for place, shift in enumerate(shifts):
        header.ImagePositionPatient = [0, 0, round(place * STEP + shift * STEP, 4)]
        frames.append(Frame(Path("a"), place, copy.deepcopy(header)))
    (stack,) = stacks_of(frames, Path("a"))
    assert stack.shape[2] == SLICES


@pytest.mark.parametrize("count", [1, 2, SLICES])
def test_slices_at_one_position_are_told(count: int, tmp_path: Path) -> None:
    again = Series(3, pixels(5)[:count], of_type("M"), places=range(count))
    kept = replace(ONE, stored=ONE.stored[:count], places=range(count)) if count < SLICES else ONE
    first, *_ = refused(tmp_path, [kept, again])
    assert first.startswith("series 3, magnitude at 2.46 ms: several slices lie at one position")


def test_slices_of_several_directions_are_no_image(tmp_path: Path) -> None:
    turned = replace(ONE, stored=pixels(2), places=range(10, 16))
    turned.tags = {**ONE.tags, "ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]}
    first, *_ = refused(tmp_path, [ONE, turned])
    assert first == "series 3, magnitude at 2.46 ms: holds slices of several sizes or directions"


@pytest.mark.parametrize(
    "other",
    [
        Series(8, pixels(9), of_type("M")),
        Series(8, pixels(9), of_type("M", te=9.2, RepetitionTime=700.0)),
        Series(8, pixels(9), of_type("M", te=9.2, FlipAngle=70.0)),
        Series(8, pixels(9), of_type("M", te=9.2, ScanningSequence="SE")),
        Series(8, pixels(9), of_type("M", te=None)),
        Series(8, pixels(9), of_type("M", te=9.2), places=range(20, 20 + SLICES)),
        Series(8, pixels(9), of_type("M", te=9.2, FrameOfReferenceUID="1.2.3")),
        Series(8, pixels(9), of_type("P", PixelSpacing=[1.5, 1.3])),
        Series(8, pixels(9)[:, :20], of_type("P")),
    ],
)
def test_two_scans_in_a_folder_are_listed_and_one_can_be_chosen(other: Series, tmp_path: Path) -> None:
    lines = refused(tmp_path, [ONE, other])
    assert lines[0] == "holds images of several scans, which do not go together:"
    assert [line[:8] for line in sorted(lines[1:3])] == ["series 3", "series 8"]
    assert "choose the series of one scan, such as --series 3" in lines[3]
    for chosen in (3, 8):
        (stack,) = stacks(tmp_path, [], chosen)
        assert stack.first.series == chosen


def test_a_series_that_is_not_there_is_named(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, [ONE, replace(ONE, number=8)], 3, 5)
    assert line == f"series=5: not in {tmp_path}, which has series 3, 8; give one of these"


def test_images_of_two_persons_are_refused_without_their_names(tmp_path: Path) -> None:
    fat, water, *_ = vendor_dixon()
    (line,) = refused(tmp_path, [fat, replace(water, patient="Doe^John")])
    assert line == "holds images of several persons; give a folder of one examination of one person"


def test_tags_that_do_not_agree_are_told(tmp_path: Path) -> None:
    first, *_ = refused(tmp_path, [Series(3, pixels(1), of_type("FAT", "WATER"))])
    assert first == "series 3, fat at 2.46 ms: its tags do not tell what it shows (fat, water)"


def test_maps_and_localizers_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    maps = [Series(30, pixels(7), of_type("DIXON", "FAT_FRACTION")), Series(1, pixels(8), of_type("LOCALIZER"))]
    assert len(stacks(tmp_path, [*vendor_dixon(), *maps])) == 4
    assert f"{2 * SLICES} slices of maps, localizers or projections are left out" in caplog.text
    (line,) = refused(tmp_path, [], 30)
    assert line.startswith("holds maps, localizers or projections alone")


def test_anonymised_images_may_have_identifiers_of_their_own(tmp_path: Path) -> None:
    for series in siemens():
        write_classic(tmp_path, series)
    for number, file in enumerate(sorted(tmp_path.iterdir())):
        slice_ = pydicom.dcmread(file)
        slice_.StudyInstanceUID = slice_.FrameOfReferenceUID = f"1.2.{number}"
        slice_.save_as(file)
    assert len(stacks(tmp_path, [])) == 6


def test_images_that_the_scanner_computed_need_not_say_how_they_were_measured(tmp_path: Path) -> None:
    many = [*vendor_dixon(RepetitionTime=None, FlipAngle=0.0), *siemens()]
    assert len(stacks(tmp_path, many)) == 10


def test_one_slice_is_an_image(tmp_path: Path) -> None:
    (stack,) = stacks(tmp_path, [replace(ONE, stored=ONE.stored[:1], places=[0])])
    assert stack.shape == (40, 24, 1)


def test_a_spin_echo_is_known(tmp_path: Path) -> None:
    many = [Series(3, pixels(n), of_type("M", te=te, ScanningSequence="SE")) for n, te in enumerate((10.0, 20.0))]
    assert all(stack.is_spin_echo for stack in stacks(tmp_path, many))
    assert not np.any([stack.is_spin_echo for stack in stacks(tmp_path / "other", [ONE])])
