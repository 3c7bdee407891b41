"""From a path to the images of one scan: named files, four-dimensional ones, DICOM; and what is refused."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

import musclesense as ms
from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.intake.found import Found, find, read, read_given
from musclesense.intake.shown import Shown

from ..segmentation.conftest import TwoLimbs

TIMES = (3.45, 4.6, 5.75)
PAIRS = {name: (f"{name}_magnitude", f"{name}_phase") for name in ("te345", "te460", "te575")}
AFFINE = np.diag([-2.0, -2.0, 8.0, 1.0])


def put(folder: Path, *names: str, header: Mapping[str, Any] | None = None, volumes: int = 1) -> Path:
    """Write images of noise; those of several volumes hold their number, counted from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        noise = np.random.default_rng(len(name)).integers(0, 3000, (6, 5, 4)).astype(np.int16)
        many = [np.where(noise > 2500, 100, volume + 1).astype(np.int16) for volume in range(volumes)]
        data = noise if volumes == 1 else np.stack(many, axis=-1)
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
        if header is not None:
            (folder / f"{name}.json").write_text(json.dumps(header))
    return folder


def taken(found: Found) -> dict[str, Any]:
    def name(one: Shown) -> str:
        stem = one.file.name.removesuffix(".nii.gz")
        return stem if one.volume is None else f"{stem}:{one.volume}"

    return {
        key: tuple(map(name, image)) if isinstance(image, tuple) else name(image) for key, image in found.images.items()
    }


def left_out(found: Found) -> list[str]:
    return [one.file.name.removesuffix(".nii.gz") for one in found.others]


@pytest.mark.parametrize(
    ("names", "images", "others"),
    [
        (["fat", "water", "mask"], {"fat": "fat", "water": "water"}, ["mask"]),
        (["S1_F", "S1_W", "S1_in", "S1_opp"], {"fat": "S1_F", "water": "S1_W"}, ["S1_in", "S1_opp"]),
        (["fat"], {"fat": "fat"}, []),
        (["S1_F"], {"image": "S1_F"}, []),  # F may be anything
        (["t1"], {"image": "t1"}, []),
        (["t1", "t1_mask"], {"image": "t1"}, ["t1_mask"]),
        (["sub-1_water"], {"image": "sub-1_water"}, []),
        (["inphase", "outphase"], {"image": "inphase"}, ["outphase"]),
        (["out_of_phase"], {"image": "out_of_phase"}, []),
        (["te56", "te16"], {"image": "te16"}, ["te56"]),
        (["gre_e1"], {"image": "gre_e1"}, []),
        (
            ["Dixon345", "Dixon460", "Dixon575"],
            {"image": "Dixon460", "te345": "Dixon345", "te460": "Dixon460", "te575": "Dixon575"},
            [],
        ),
        (
            ["fat", "water", "Dixon345", "Dixon460", "Dixon575", "fat_fraction"],
            {"fat": "fat", "water": "water", "te345": "Dixon345", "te460": "Dixon460", "te575": "Dixon575"},
            ["fat_fraction"],
        ),
        ([name for pair in PAIRS.values() for name in pair], PAIRS, []),
        ([*(name for pair in PAIRS.values() for name in pair), "fat", "fat_mask"], PAIRS, ["fat", "fat_mask"]),
        (
            [*(name for pair in PAIRS.values() for name in pair), "fat", "water"],
            {"fat": "fat", "water": "water", **{name: pair[0] for name, pair in PAIRS.items()}},
            [pair[1] for pair in PAIRS.values()],
        ),
    ],
)
def test_a_folder_is_taken_by_its_names(
    names: list[str], images: dict[str, Any], others: list[str], tmp_path: Path
) -> None:
    found = find(put(tmp_path / "scan", *names))
    assert taken(found) == images and sorted(left_out(found)) == sorted(others)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("unit", [0.001, 1.0])
def test_echoes_are_ordered_by_their_times_and_not_by_their_names(
    order: Sequence[int], unit: float, tmp_path: Path
) -> None:
    for number, at in enumerate(order, 1):
        for part in ("mag", "phase"):
            put(tmp_path, f"sub-1_echo-{number}_part-{part}_MEGRE", header={"EchoTime": TIMES[at] * unit})
    echoes = taken(find(tmp_path))
    for name, time in zip(("te345", "te460", "te575"), TIMES, strict=True):
        number = order.index(TIMES.index(time)) + 1
        assert echoes[name] == tuple(f"sub-1_echo-{number}_part-{part}_MEGRE" for part in ("mag", "phase"))


@pytest.mark.parametrize("parts", [("mag", "phase"), ("real", "imag")])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_file_of_several_echoes_is_parted(parts: tuple[str, str], order: Sequence[int], tmp_path: Path) -> None:
    times = [TIMES[at] / 1000 for at in order]
    for part in parts:
        put(tmp_path, f"sub-1_part-{part}_MEGRE", header={"EchoTime": times}, volumes=3)
    found = find(tmp_path)
    assert found.real_imaginary == (parts[0] == "real")
    for at, name in enumerate(("te345", "te460", "te575")):
        pair = found.images[name]
        assert isinstance(pair, tuple) and [one.volume for one in pair] == [order.index(at)] * 2
        data = np.asarray(pair[0].image.dataobj)  # type: ignore[union-attr]
        assert data.shape == (6, 5, 4) and data.min() == order.index(at) + 1


def test_without_times_of_several_echoes_they_are_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "many", "sub-1_MEGRE", volumes=3)
    put(tmp_path / "files", "gre_e1", "gre_e2", "gre_e3", "gre_e1_ph", "gre_e2_ph", "gre_e3_ph")
    for folder in ("many", "files"):
        with pytest.raises(InputError, match=r"the echo times of .* are not known; give echo_times"):
            find(tmp_path / folder)
        with pytest.raises(InputError, match="has 3 numbered echoes; give the time of each"):
            find(tmp_path / folder, TIMES[:2])
        with pytest.raises(InputError, match="an echo time is a positive number"):
            find(tmp_path / folder, (3.45, 4.6, -1))
    assert taken(find(tmp_path / "many", TIMES)) == {
        "image": "sub-1_MEGRE:1",
        "te345": "sub-1_MEGRE:0",
        "te460": "sub-1_MEGRE:1",
        "te575": "sub-1_MEGRE:2",
    }
    assert taken(find(tmp_path / "files", (5.75, 3.45, 4.6)))["te345"] == ("gre_e2", "gre_e2_ph")
    with pytest.raises(InputError, match="echo_times: goes with the path of a scan"):
        read_given(None, echo_times=TIMES)
    with pytest.raises(InputError, match="series: goes with the path of a scan"):
        read_given(None, series=[3])


def test_other_echo_times_are_not_separated_and_that_is_said(tmp_path: Path, caplog) -> None:
    for number, time in enumerate((2.3, 4.6, 6.9), 1):
        for part in ("mag", "phase"):
            put(tmp_path, f"s_echo-{number}_part-{part}", header={"EchoTime": time / 1000})
    assert taken(find(tmp_path)) == {"image": "s_echo-2_part-mag", "te460": "s_echo-2_part-mag"}
    assert "fat and water are not separated, which takes all echoes at 3.45, 4.60, 5.75 ms" in caplog.text


@pytest.mark.parametrize(("tesla", "separated"), [(3, True), (2.89362, True), (1.5, False), (7.0, False), ("?", True)])
def test_echoes_of_another_field_are_not_separated_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tesla: float | str, separated: bool
) -> None:
    """Fat turns by half a turn between these echo times at 3 T alone."""
    for number, time in enumerate(TIMES, 1):
        for part in ("mag", "phase"):
            header = {"EchoTime": time / 1000, "MagneticFieldStrength": tesla}
            put(tmp_path, f"s_echo-{number}_part-{part}", header=header)
    assert isinstance(find(tmp_path).images["te345" if separated else "image"], tuple) is separated
    said = f"which takes all echoes at 3.45, 4.60, 5.75 ms at 3 T, and these are of {tesla}".removesuffix(".0")
    assert (said in caplog.text) is not separated


def test_json_of_a_converter_tells_what_names_do_not(tmp_path: Path) -> None:
    for name, word in (("vibe_5", "FAT"), ("vibe_6", "WATER"), ("vibe_7", "IN_PHASE"), ("vibe_8", "FAT_FRACTION")):
        put(tmp_path, name, header={"ImageType": ["DERIVED", "PRIMARY", "DIXON", word], "EchoTime": 0.00123})
    found = find(tmp_path)
    assert taken(found) == {"fat": "vibe_5", "water": "vibe_6"} and left_out(found) == ["vibe_7", "vibe_8"]


def test_a_mask_is_known_by_its_values_where_names_do_not_tell(tmp_path: Path) -> None:
    put(tmp_path, "t1")
    nib.save(nib.Nifti1Image(np.eye(6, dtype=np.uint8)[:, :5, None].repeat(4, 2), AFFINE), tmp_path / "ab.nii.gz")
    assert taken(find(tmp_path)) == {"image": "t1"}


def test_folders_below_are_looked_into_where_there_is_no_image(tmp_path: Path) -> None:
    put(tmp_path / "sub-1" / "ses-1" / "anat", "sub-1_ses-1_fat", "sub-1_ses-1_water")
    put(tmp_path / "sub-1" / "ses-1" / "anat" / "derived", "water")
    assert taken(find(tmp_path / "sub-1" / "ses-1" / "anat"))["fat"] == "sub-1_ses-1_fat"
    with pytest.raises(InputError, match=r"several images are water: .*; give the image itself, a folder of this scan"):
        find(tmp_path / "sub-1")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["calf_fat", "thigh_fat"], r"several images are fat: calf_fat\.nii\.gz, thigh_fat\.nii\.gz; give"),
        (["a", "b", "c"], r"names do not tell which of several images is meant: a\.nii\.gz, b\.nii\.gz, c\.nii\.gz"),
        (["a_te345", "b_te345"], r"several images are the magnitude at 3\.45 ms"),
        (["mask", "r2star"], r"holds no image of a scan that its name tells of: mask\.nii\.gz, r2star\.nii\.gz"),
        (["te16", "x_te16"], "several images are the magnitude of one echo"),
    ],
)
def test_what_is_ambiguous_is_listed_and_refused(names: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        find(put(tmp_path, *names))


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no image; give a NIfTI or NRRD image"):
        find(tmp_path)
    with pytest.raises(InputError, match="no such file or folder; correct the path"):
        find(tmp_path / "missing")
    with pytest.raises(InputError, match=r"notes\.txt: not a readable NIfTI file"):
        read(tmp_path / "notes.txt")
    (tmp_path / "scan.json").write_text('{"images": {"a.nii.gz": {}}}')
    with pytest.raises(InputError, match=r"scan\.json: cannot be read \('echo_time_ms'\); import the scan again"):
        find(put(tmp_path, "fat"))


def test_one_image_is_what_its_name_says_or_any_image(tmp_path: Path) -> None:
    put(tmp_path, "sub-1_fat", "thigh_t1")
    assert taken(find(tmp_path / "sub-1_fat.nii.gz")) == {"fat": "sub-1_fat"}
    assert taken(find(tmp_path / "thigh_t1.nii.gz")) == {"image": "thigh_t1"}
    assert [*ms.read_scan(tmp_path / "thigh_t1.nii.gz").channels] == ["image"]
    assert [*ms.read_scan(str(tmp_path / "sub-1_fat.nii.gz")).channels] == ["fat"]


@pytest.mark.parametrize("content", ['{"echo_times_ms": [3.45, 4.6, 5.75]}', "{}", "[]", '"scan"', "1"])
def test_a_scan_json_of_another_program_tells_nothing(tmp_path: Path, content: str) -> None:
    put(tmp_path, "fat", "water", "te345_magnitude", "te345_phase", "compartments", "true_fat_fraction")
    (tmp_path / "scan.json").write_text(content)
    assert taken(find(tmp_path)) == {"fat": "fat", "water": "water", "te345": "te345_magnitude"}


# From a path to a mask


def test_a_folder_gives_the_same_mask_as_its_images(limbs: TwoLimbs, run: Path, tmp_path: Path, capsys) -> None:
    asked = ["--region", "thigh", "--model", str(run), "--out"]
    main(["segment", str(limbs.fat.parent), *asked, str(tmp_path / "found")])
    assert "scan: taken: fat fat.nii.gz; water water.nii.gz" in capsys.readouterr().err
    main(["segment", "--fat", str(limbs.fat), "--water", str(limbs.water), *asked, str(tmp_path / "named")])
    for name in ("mask.nii.gz", "measurements.csv"):
        assert (tmp_path / "found" / name).read_bytes() == (tmp_path / "named" / name).read_bytes()
    inputs = [json.loads((tmp_path / name / "run.json").read_text())["inputs"] for name in ("found", "named")]
    assert inputs[0] == inputs[1]
    made = ms.segment(limbs.fat.parent, model=run, region="thigh")
    assert (made.mask == read_volume(tmp_path / "found" / "mask.nii.gz").data).all()


def test_images_beside_a_path_are_refused(limbs: TwoLimbs, run: Path, tmp_path: Path, capsys) -> None:
    asked = ["--fat", str(limbs.fat), "--region", "thigh", "--model", str(run), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="2"):
        main(["segment", str(limbs.fat.parent), *asked])
    assert capsys.readouterr().err == "error: --fat: does not go with a path, in which images are found\n"
    assert not (tmp_path / "out").exists()


def complex_echoes() -> dict[str, NDArray[np.complex64]]:
    """Echoes of fat and water, the phase of which turns from place to place."""
    rng = np.random.default_rng(1)
    fat, water = rng.uniform(10, 500, (2, 24, 20, 2))
    turn = np.exp(1j * np.linspace(-2, 2, 24))[:, None, None]
    return {
        str(echo): ((water + sign * fat) * turn).astype(np.complex64)
        for echo, sign in zip(ms.Echo, (-1, 1, -1), strict=True)
    }


@pytest.mark.parametrize("stored", ["files", "4-D", "named"])
def test_complex_echoes_are_separated_as_their_parts_are(tmp_path: Path, stored: str, capsys) -> None:
    echoes, folder = complex_echoes(), tmp_path / "scan"
    folder.mkdir()
    pairs: dict[str, Any] = {n: ((np.abs(data), AFFINE), (np.angle(data), AFFINE)) for n, data in echoes.items()}
    wanted = ms.read_scan(**pairs, phase_unit="radians")
    if stored == "4-D":
        nib.save(nib.Nifti1Image(np.stack([*echoes.values()], axis=-1), AFFINE), folder / "s_MEGRE.nii.gz")
        (folder / "s_MEGRE.json").write_text(json.dumps({"EchoTime": [*TIMES]}))
        scan = ms.read_scan(folder)
    else:
        files: dict[str, Any] = {name: folder / f"{name}.nii.gz" for name in echoes}
        for name, data in echoes.items():
            nib.save(nib.Nifti1Image(data, AFFINE), files[name])
        scan = ms.read_scan(folder) if stored == "files" else ms.read_scan(**files)
        assert {*scan.files.values()} == {*files.values()}
    assert scan.phase_unit == "radians"
    for name in ("fat", "water", "te345"):
        np.testing.assert_allclose(scan.channels[name], wanted.channels[name], rtol=1e-3, atol=0.1)
    if stored == "named":
        parts = ms.read_scan(**files, real_imaginary=True)
        np.testing.assert_allclose(parts.channels["fat"], wanted.channels["fat"], rtol=1e-3, atol=0.1)


def test_one_complex_image_is_its_magnitude(tmp_path: Path, capsys) -> None:
    data = complex_echoes()["te460"]
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "scan.nii.gz")
    for scan in (ms.read_scan(tmp_path / "scan.nii.gz"), ms.read_scan(image=tmp_path / "scan.nii.gz")):
        assert [*scan.channels] == ["image"] and scan.files == {"image": tmp_path / "scan.nii.gz"}
        np.testing.assert_allclose(scan.channels["image"], np.abs(data), rtol=1e-5)
    assert "taken: image scan.nii.gz, magnitude" in capsys.readouterr().err


def test_several_echoes_of_a_file_give_what_single_files_give(tmp_path: Path) -> None:
    rng, pairs = np.random.default_rng(0), dict[str, Any]()
    (tmp_path / "many").mkdir()
    for part in ("mag", "phase"):
        data = rng.integers(1, 4000, (12, 12, 2, 3)).astype(np.int16)
        nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "many" / f"s_part-{part}_MEGRE.nii.gz")
        (tmp_path / "many" / f"s_part-{part}_MEGRE.json").write_text(json.dumps({"EchoTime": [*TIMES]}))
        for at, echo in enumerate(ms.Echo):
            file = tmp_path / f"{echo}_{part}.nii.gz"
            nib.save(nib.Nifti1Image(data[..., at], AFFINE), file)
            pairs[str(echo)] = (*pairs.get(str(echo), ()), file)
    many = ms.read_scan(tmp_path / "many", phase_unit="12bit")
    single = ms.read_scan(phase_unit="12bit", **pairs)
    for name in ("fat", "water"):
        np.testing.assert_array_equal(many.channels[name], single.channels[name])
    assert {file.name for file in many.files.values()} == {"s_part-mag_MEGRE.nii.gz", "s_part-phase_MEGRE.nii.gz"}
