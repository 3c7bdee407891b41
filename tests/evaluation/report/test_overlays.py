"""Contours, and which cases are shown."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from musclesense.errors import InputError
from musclesense.evaluation.report.overlays import BOTH, PREDICTION, TRUTH, draw, overlays
from musclesense.studies.reading import read_study

StudyWriter = Callable[..., Path]


def marked(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (pixels == np.array(colour, dtype=np.uint8)).all(axis=2)


def test_contours_lie_on_the_masks_and_meet_in_their_own_colour() -> None:
    image = np.full((100, 320), 80, dtype=np.uint8)
    truth, prediction = np.zeros_like(image), np.zeros_like(image)
    truth[10:30, 10:30] = 1
    prediction[10:30, 10:50] = 1
    pixels = draw(image, truth, prediction)
    assert pixels.shape == (200, 640, 3)
    # The left edges run together, the right edges apart; each contour is two pixels inside its own mask.
    row = pixels[40]
    assert [tuple(row[column]) for column in (19, 20, 21, 22)] == [(80,) * 3, BOTH, BOTH, (80,) * 3]
    assert [tuple(row[column]) for column in (57, 58, 59, 60)] == [(80,) * 3, TRUTH, TRUTH, (80,) * 3]
    assert [tuple(row[column]) for column in (97, 98, 99, 100)] == [(80,) * 3, PREDICTION, PREDICTION, (80,) * 3]
    assert not marked(pixels, TRUTH)[~np.kron(truth, np.ones((2, 2))).astype(bool)].any()


def test_labels_that_touch_are_kept_apart_and_the_aspect_is_kept() -> None:
    labels = np.zeros((40, 80), dtype=np.uint8)
    labels[:, :40], labels[:, 40:] = 1, 2
    pixels = draw(np.zeros_like(labels), labels, np.zeros_like(labels))
    assert pixels.shape == (320, 640, 3)
    assert marked(pixels, TRUTH)[160, [318, 319, 320, 321]].all()
    assert not marked(pixels, TRUTH)[160, 100]


def test_best_median_and_worst_are_chosen_by_dice(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0), (1, 2)]))
    drawn = overlays(study, "thigh")
    dice = sorted((case.dice or 0.0 for case in study.cases if case.region == "thigh"), reverse=True)
    assert [overlay.rank for overlay in drawn] == ["best", "median", "worst"]
    assert [overlay.dice for overlay in drawn] == [dice[0], dice[2], dice[3]]
    assert {overlay.case.region for overlay in drawn} == {"thigh"}
    assert drawn[0].name == "overlay_thigh_best"


def test_picture_shows_the_masks_of_its_case(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0)]))
    worst = overlays(study, "calf")[-1]
    arrays = np.load(study.runs[0].folder.overlays)
    (index,) = np.flatnonzero(arrays["line"] == worst.case.line)
    expected = draw(arrays["image"][index], arrays["truth"][index], arrays["prediction"][index])
    assert np.array_equal(worst.pixels, expected)
    assert np.array_equal(np.round(imread(io.BytesIO(worst.png()))[:, :, :3] * 255), expected)


def test_cases_without_images_or_dice_are_passed_over(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0), (0, 1)])
    (folder / "outer0_inner0" / "overlays.npz").unlink()
    cases = folder / "outer0_inner1" / "cases.csv"
    lines = cases.read_text().splitlines()
    first = lines[1].split(",")
    first[9] = ""
    cases.write_text("\n".join([lines[0], ",".join(first), *lines[2:]]) + "\n")
    drawn = overlays(read_study(folder), "calf")
    assert {(overlay.case.inner, overlay.case.line) for overlay in drawn} == {(1, int(lines[3].split(",")[2]))}


def test_region_without_images_has_no_overlays(write_study: StudyWriter) -> None:
    assert overlays(read_study(write_study(finished=[])), "calf") == []


def test_broken_images_are_named(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / "outer0_inner0" / "overlays.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match=r"overlays\.npz: cannot be read"):
        overlays(read_study(folder), "calf")


# Past failures, found by `make fuzz`


def rewritten(folder: Path, **changed: np.ndarray | None) -> None:
    path = folder / "outer0_inner0" / "overlays.npz"
    with np.load(path) as kept:
        arrays = dict(kept) | changed
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    "changed",
    [
        {"prediction": np.zeros((3, 160, 320), np.uint8)},
        {"image": np.zeros((4, 160, 320), np.float64)},
        {"truth": np.zeros((4, 160), np.uint8)},
        {"line": np.zeros((4, 1), np.int64)},
        {"line": np.array([{}] * 4, dtype=object)},
        {"slice": None},
    ],
    ids=["short", "floats", "flat", "wide", "pickled", "lost"],
)
def test_arrays_that_do_not_belong_together_are_refused(
    write_study: Callable[..., Path], changed: dict[str, np.ndarray | None]
) -> None:
    folder = write_study(finished=[(0, 0)])
    rewritten(folder, **changed)
    with pytest.raises(InputError, match=r"overlays\.npz: "):
        for region in ("calf", "thigh"):
            overlays(read_study(folder), region)


def test_an_array_that_claims_more_than_is_there_takes_no_memory(write_study: Callable[..., Path]) -> None:
    folder = write_study(finished=[(0, 0)])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(folder / "outer0_inner0" / "overlays.npz", "w") as archive:
        for name in ("line", "slice", "image", "truth", "prediction"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(InputError, match=r"line holds 0 bytes of type int64 and shape \(1000000000000,\)"):
        overlays(read_study(folder), "calf")
