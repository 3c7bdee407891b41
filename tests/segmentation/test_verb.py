"""``musclesense segment`` from files to files: voxels, sides, fat fractions, and refusals that write nothing."""

import csv
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.networks import shipped
from musclesense.segmentation.export import export_bundle
from musclesense.segmentation.result import FILES
from musclesense.segmentation.segmenter import Segmenter
from musclesense.vocabulary import Region

from ..shared.networks import write_checkpoint
from .conftest import (
    LEFT_MM,
    LEFT_PERCENT,
    RIGHT_MM,
    RIGHT_PERCENT,
    TwoLimbs,
    leg_scan,
    odd_geometry,
    write_limbs,
    write_run,
)


def segment(limbs: TwoLimbs, model: Path, out: Path, *more: str, region: str = "thigh") -> None:
    images = ["--fat", str(limbs.fat), "--water", str(limbs.water)]
    main(["segment", *images, "--region", region, "--model", str(model), "--out", str(out), *more])


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "fat_fraction.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_mask_lies_in_the_very_voxels(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    segment(limbs, run, tmp_path / "out")
    image, mask = nib.load(limbs.fat), nib.load(tmp_path / "out" / "mask.nii.gz")
    assert mask.shape == image.shape
    assert np.array_equal(mask.affine, image.affine)
    for field in ("qform_code", "sform_code", "pixdim", "xyzt_units", "quatern_b", "quatern_c", "quatern_d"):
        assert np.array_equal(mask.header[field], image.header[field]), field
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == (1, 2)
    assert mask.get_data_dtype() == np.uint16
    found, true = np.asarray(mask.dataobj) > 0, limbs.right | limbs.left
    assert 2 * np.sum(found & true) / (found.sum() + true.sum()) > 0.97


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ILA", "PSR", "SAL"])
def test_left_and_right_are_the_subjects_own(codes: str, run: Path, tmp_path: Path) -> None:
    limbs = write_limbs(tmp_path / "scan", odd_geometry(codes))
    segment(limbs, run, tmp_path / "out")
    totals = {row["limb"]: row for row in rows_of(tmp_path / "out") if row["slice"] == "all"}
    thickness_mm, slices = 10, 4
    for side, radius, percent in (("right", RIGHT_MM, RIGHT_PERCENT), ("left", LEFT_MM, LEFT_PERCENT)):
        volume = np.pi * radius**2 * thickness_mm * slices / 1000
        assert float(totals[side]["volume_ml"]) == pytest.approx(volume, rel=0.05)
        assert float(totals[side]["fat_fraction_percent"]) == pytest.approx(
            percent, rel=0.06
        )  # voxels of air along the edge


def test_fat_fractions_are_means_over_the_mask(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    segment(limbs, run, tmp_path / "out")
    mask = read_volume(tmp_path / "out" / "mask.nii.gz").data > 0
    fat, water = (read_volume(file).data.astype(float) for file in (limbs.fat, limbs.water))
    fraction = np.divide(100 * fat, fat + water, out=np.zeros_like(fat), where=fat + water > 0)
    rows = rows_of(tmp_path / "out")
    assert [(row["slice"], row["limb"]) for row in rows] == [
        (number, limb) for number in ("0", "1", "2", "3", "all") for limb in ("right", "left")
    ]
    near = {"right": limbs.right, "left": limbs.left}
    for row in rows:
        # The slice axis is stored first. Only voxels near the own limb can be in its half.
        part = np.s_[:] if row["slice"] == "all" else np.s_[int(row["slice"])]
        other = near["left" if row["limb"] == "right" else "right"]
        half = np.zeros_like(mask)
        columns = np.flatnonzero(near[row["limb"]].any(axis=(0, 2)))
        assert not other[:, columns].any()
        half[:, max(columns[0] - 5, 0) : columns[-1] + 6] = True
        inside = (mask & half)[part]
        assert int(row["voxels"]) == inside.sum()
        assert float(row["fat_fraction_percent"]) == pytest.approx(fraction[part][inside].mean(), abs=0.006)


def test_one_limb_is_not_parted(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    segment(limbs, run, tmp_path / "out", "--limbs", "left")
    rows = rows_of(tmp_path / "out")
    assert {row["limb"] for row in rows} == {"left"}
    assert int(rows[-1]["voxels"]) == np.count_nonzero(read_volume(tmp_path / "out" / "mask.nii.gz").data)


def test_one_limb_is_found_and_said(
    limbs: TwoLimbs, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment(limbs, run, tmp_path / "both")
    assert all(line.startswith("quality: ") for line in capsys.readouterr().err.splitlines())
    for name in ("fat", "water"):
        file = getattr(limbs, name)
        write_volume(file, np.where(limbs.left, 0, read_volume(file).data), limbs.geometry, np.float32)
    segment(limbs, run, tmp_path / "one")
    assert "limbs: taken as right, since" in capsys.readouterr().err
    both, one = (rows_of(tmp_path / name)[-1] for name in ("both", "one"))
    assert {row["limb"] for row in rows_of(tmp_path / "one")} == {"right"}
    assert int(one["voxels"]) == np.count_nonzero(read_volume(tmp_path / "one" / "mask.nii.gz").data)
    total = {row["limb"]: row for row in rows_of(tmp_path / "both") if row["slice"] == "all"}
    percent = float(total["right"]["fat_fraction_percent"])
    assert float(one["fat_fraction_percent"]) == pytest.approx(percent, abs=0.5) and both["limb"] == "left"
    assert json.loads((tmp_path / "one" / "run.json").read_text())["limbs"] == "right"


def test_how_often_a_network_looks_is_chosen_and_recorded(limbs: TwoLimbs, tmp_path: Path) -> None:
    given = ["segment", "--fat", str(limbs.fat), "--water", str(limbs.water), "--region", "thigh", "--device", "cpu"]
    records = {}
    for name, flags in {"fast": ["--fast"], "default": []}.items():
        main([*given, *flags, "--out", str(tmp_path / name)])
        records[name] = json.loads((tmp_path / name / "run.json").read_text())
    assert [(one["flip"], one["scales"]) for one in records.values()] == [(False, [1.0]), (True, [1.0, 1.3])]
    assert {*records["fast"]["versions"]} == {"musclesense", "python", "numpy", "onnxruntime"}


@pytest.mark.parametrize("flags", [["--best"], ["--fast", "--best"], ["--best", "--nothing"]])
def test_looking_more_often_was_taken_out_and_is_answered(
    limbs: TwoLimbs, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["segment", "--fat", str(limbs.fat), *flags, "--out", str(tmp_path / "o")])
    assert capsys.readouterr().err == "error: --best: gave no better masks and was taken out; leave it out\n"
    with pytest.raises(InputError, match="effort=best: unknown; give fast or default"):
        Segmenter.load("any_scanner_fat", effort="best")
    assert not (tmp_path / "o").exists()


def test_without_water_there_is_a_mask_but_no_fat_fraction(limbs: TwoLimbs, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "fat_only.ckpt", channels=["fat"])
    main(["segment", "--fat", str(limbs.fat), "--region", "thigh", "--model", str(model), "--out", str(tmp_path / "o")])
    rows = rows_of(tmp_path / "o")
    assert {row["fat_fraction_percent"] for row in rows} == {""}
    assert all(int(row["voxels"]) > 0 for row in rows)
    assert matplotlib.image.imread(tmp_path / "o" / "qc.png").std() > 0.05


def test_the_record_says_what_made_the_mask(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    write_run(run.parent / "outer0_inner1")
    segment(limbs, run.parent, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["versions"]) == {"musclesense", "python", "torch", "numpy"}
    assert (record["region"], record["limbs"], record["phase_unit"]) == ("thigh", "both", None)
    assert record["channels"] == ["fat", "water"]
    assert set(record["inputs"]) == {"fat", "water"}
    assert len(record["networks"]) == 2
    for entry in (*record["inputs"].values(), *record["networks"]):
        assert entry["sha256"] == hashlib.sha256(Path(entry["file"]).read_bytes()).hexdigest()


def test_without_a_model_a_network_of_the_package_segments(
    limbs: TwoLimbs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(write_checkpoint(tmp_path / "pair.ckpt"), tmp_path / "weights" / "pair")
    export_bundle(write_checkpoint(tmp_path / "fat.ckpt", channels=["fat"]), tmp_path / "weights" / "of_fat")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    images = ["--fat", str(limbs.fat), "--water", str(limbs.water), "--region", "thigh"]
    for name, given, model in (("a", images, "pair"), ("b", ["--fat", str(limbs.fat), *images[4:]], "of_fat")):
        main(["segment", *given, "--out", str(tmp_path / name)])
        assert f"model: {model}, which takes " in capsys.readouterr().err
        main(["segment", *given, "--out", str(tmp_path / f"{name}_named"), "--model", model])
        assert "model:" not in capsys.readouterr().err
        masks = [(tmp_path / out / "mask.nii.gz").read_bytes() for out in (name, f"{name}_named")]
        (network,) = json.loads((tmp_path / name / "run.json").read_text())["networks"]
        assert masks[0] == masks[1] and network["name"] == model
    for given, said in (
        (
            ["--image", str(limbs.fat), "--region", "thigh"],
            "takes image alone (of_fat takes fat; pair takes fat, water)",
        ),
        (["--fat", str(limbs.fat), "--region", "calf"], "trained on calf; give --model NAME|PATH"),
        ([*images, "--model", "pairs"], "pairs: no such model; give of_fat, pair, a study's folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["segment", *given, "--out", str(tmp_path / "none")])
        out, err = capsys.readouterr()
        assert stopped.value.code == 2 and said in err and err.count("\n") == 1 and not out
        assert not (tmp_path / "none").exists()


def test_magnitudes_go_with_the_fat_image(limbs: TwoLimbs, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["fat", "te575"])
    echo = tmp_path / "te575.nii.gz"
    write_volume(echo, 100.0 * (limbs.right | limbs.left), limbs.geometry, np.float32)
    segment(limbs, model, tmp_path / "out", "--te575", str(echo))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert list(record["inputs"]) == ["fat", "water", "te575"]


def test_echoes_with_phases_are_separated(tmp_path: Path) -> None:
    """Fat turns by -pi, 0 and pi against water; phases are stored as 12-bit codes."""
    geometry = odd_geometry()
    limbs = write_limbs(tmp_path / "scan", geometry)
    fat, water = (read_volume(file).data.astype(float) for file in (limbs.fat, limbs.water))
    arguments = []
    for name, sign in (("te345", -1), ("te460", 1), ("te575", -1)):
        signal = water + sign * fat
        phase = np.where(signal < 0, 2048, 4000)
        for kind, data in (("mag", np.abs(signal)), ("phase", phase)):
            write_volume(tmp_path / f"{name}_{kind}.nii.gz", data, geometry, np.float32)
        arguments += [f"--{name}", *(str(tmp_path / f"{name}_{kind}.nii.gz") for kind in ("mag", "phase"))]
    model = write_checkpoint(tmp_path / "best.ckpt", channels=["te460"])
    out = tmp_path / "out"
    main(["segment", *arguments, "--region", "thigh", "--model", str(model), "--out", str(out)])
    record = json.loads((out / "run.json").read_text())
    assert record["phase_unit"] == "12bit"
    assert len(record["inputs"]) == 6
    totals = {row["limb"]: row for row in rows_of(out) if row["slice"] == "all"}
    assert {limb: int(row["voxels"]) > 100 for limb, row in totals.items()} == {"right": True, "left": True}
    told = tmp_path / "told"
    main(
        ["segment", *arguments, "--phase-unit", "12bit", "--region", "thigh", "--model", str(model), "--out", str(told)]
    )
    assert all((told / name).read_bytes() == (out / name).read_bytes() for name in FILES)
    main(["separate", *arguments, "--out", str(tmp_path / "parts")])
    fraction = read_volume(tmp_path / "parts" / "fat_fraction.nii.gz").data
    mask = read_volume(out / "mask.nii.gz").data > 0
    whole = sum(int(row["voxels"]) * float(row["fat_fraction_percent"]) for row in totals.values()) / mask.sum()
    assert whole == pytest.approx(fraction[mask].mean(), abs=0.01)


def test_a_second_time_the_results_are_replaced_byte_for_byte(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    segment(limbs, run, tmp_path / "out")
    first = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    (tmp_path / "out" / "mask.nii.gz").write_bytes(b"")
    segment(limbs, run, tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == first


def write_leg(file: Path, region: Region, levels: Sequence[float]) -> list[str]:
    """Write phantom slices of a leg; gives the arguments that take them, without a region."""
    scan = leg_scan(region, levels)
    write_volume(file, scan.channels["image"], scan.geometry, np.float32)
    return ["--fat", str(file)]


def fat_checkpoint(folder: Path) -> Path:
    return write_checkpoint(folder / "fat.ckpt", channels=["fat"], regions=("calf", "thigh"))


@pytest.mark.parametrize(("region", "levels"), [(Region.CALF, (0.4, 0.5, 0.6)), (Region.THIGH, (0.5, 0.6))])
def test_the_region_is_found_and_said_with_how_sure(
    region: Region, levels: Sequence[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, model = write_leg(tmp_path / "fat.nii.gz", region, levels), fat_checkpoint(tmp_path)
    main(["segment", *images, "--model", str(model), "--out", str(tmp_path / "found")])
    err = capsys.readouterr().err
    assert f"region: {region}, found in the images (" in err and "% sure)" in err
    record = json.loads((tmp_path / "found" / "run.json").read_text())
    assert record["region"] == region
    assert 0.6 <= record["region_sure"] <= 1
    assert record["off_level"] == {}
    main(["segment", *images, "--region", region, "--model", str(model), "--out", str(tmp_path / "given")])
    assert "region" not in capsys.readouterr().err
    for name in ("mask.nii.gz", "measurements.csv"):
        assert (tmp_path / "given" / name).read_bytes() == (tmp_path / "found" / name).read_bytes()


def test_a_model_of_another_region_than_found_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = write_leg(tmp_path / "fat.nii.gz", Region.CALF, (0.4, 0.5))
    model = write_checkpoint(tmp_path / "fat.ckpt", channels=["fat"], regions=("thigh",))
    with pytest.raises(SystemExit) as stopped:
        main(["segment", *images, "--model", str(model), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "--region calf: the model was trained on thigh" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_of_no_region_are_refused_unless_one_is_given(
    limbs: TwoLimbs, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--fat", str(limbs.fat), "--water", str(limbs.water), "--model", str(run), "--out", str(tmp_path / "out")]
    said = refused(capsys, *asked)
    assert "--region: not found: most slices show " in said and "give --region calf or thigh" in said
    assert not (tmp_path / "out").exists()
    main(["segment", *asked, "--region", "thigh"])
    assert (tmp_path / "out" / "mask.nii.gz").exists()


def test_another_region_than_the_images_show_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_leg(tmp_path / "fat.nii.gz", Region.CALF, (0.4, 0.5, 0.6))
    out = tmp_path / "out"
    main(["segment", *images, "--region", "thigh", "--model", str(fat_checkpoint(tmp_path)), "--out", str(out)])
    assert "region: given as thigh, but most slices show the calf (" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["region"] == "thigh"
    assert "off_level" not in (out / "measurements.csv").read_text()


def test_slices_beyond_the_region_are_flagged_and_totals_leave_them_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_leg(tmp_path / "fat.nii.gz", Region.THIGH, (0.0, 0.03, 0.35, 0.45, 0.55, 0.65))
    out = tmp_path / "out"
    main(["segment", *images, "--model", str(fat_checkpoint(tmp_path)), "--out", str(out)])
    assert "measurements: the knee is seen in slice 0, 1; totals leave that out" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["off_level"] == {"0": "knee", "1": "knee"}
    rows = rows_of(out)
    for row in rows:
        if row["slice"] != "all":
            assert ("off_level" in row["flags"].split()) is (row["slice"] in ("0", "1"))
            assert int(row["counted_slices"]) == (row["slice"] not in ("0", "1"))
    for limb in ("right", "left"):
        own = [row for row in rows if row["limb"] == limb]
        counted = sum(int(row["voxels"]) for row in own if row["slice"] in ("2", "3", "4", "5"))
        assert int(own[-1]["voxels"]) == counted
        assert (own[-1]["counted_slices"], own[-1]["flags"]) == ("4", "off_level")
    again = tmp_path / "again"
    main(["measure", *images, "--mask", str(out / "mask.nii.gz"), "--out", str(again)])
    for row in rows:  # no network, no frame, no score
        row["beyond_frame_percent"] = row["quality"] = ""
        row["flags"] = " ".join(flag for flag in row["flags"].split() if flag != "doubtful")
    assert rows_of(again) == rows


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["segment", *arguments])
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


def test_refusals_are_one_line_and_write_nothing(
    limbs: TwoLimbs, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fat, water, out = str(limbs.fat), str(limbs.water), tmp_path / "out"
    model = ["--model", str(run)]
    asked = ["--region", "thigh", "--out", str(out)]
    elsewhere = tmp_path / "elsewhere.nii.gz"
    moved = limbs.geometry.moved(limbs.geometry.shape, limbs.geometry.affine + 20 * np.eye(4)[:, [0]] * np.eye(4)[3])
    write_volume(elsewhere, read_volume(limbs.water).data, moved, np.int16)
    empty = tmp_path / "empty.nii.gz"
    write_volume(empty, np.zeros(limbs.geometry.shape), limbs.geometry, np.int16)
    hollow = tmp_path / "hollow.nii.gz"
    write_volume(hollow, np.full(limbs.geometry.shape, np.nan), limbs.geometry, np.float32)
    truncated = tmp_path / "truncated.ckpt"
    truncated.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes()[:2000])
    more = write_checkpoint(tmp_path / "more.ckpt", channels=["fat", "water", "te345", "te575"])
    for arguments, said in (
        (["--fat", "nowhere.nii.gz", *asked, *model], "nowhere.nii.gz: no such file"),
        (["--fat", fat, *asked, "--model", str(tmp_path / "no")], "no such model"),
        (["--fat", fat, *asked, "--model", str(tmp_path)], "holds no finished run"),
        (["--fat", fat, *asked, "--model", str(truncated)], "truncated.ckpt: not a usable checkpoint"),
        (["--fat", fat, *asked, "--model", fat], "not a usable checkpoint"),
        (
            ["--fat", fat, "--region", "calf", "--out", str(out), *model],
            "--region calf: the model was trained on thigh",
        ),
        (["--fat", fat, *asked, *model], "add --water FILE"),
        (["--fat", fat, "--water", water, *asked, "--model", str(more)], "add --te345 FILE --te575 FILE"),
        (["--fat", fat, "--water", str(elsewhere), *asked, *model], "elsewhere.nii.gz: affine differs"),
        (["--fat", fat, "--water", str(empty), *asked, *model], "empty.nii.gz: is 0 everywhere"),
        (["--fat", fat, "--water", str(hollow), *asked, *model], "voxels are NaN or infinite"),
        (["--water", water, *asked, *model], "--water: goes with --fat"),
        (
            ["--fat", fat, "--water", water, *asked, *model, "--device", "gold"],
            "--device gold: there is no such device",
        ),
        (["--fat", fat, "--te345", water, water, *asked, *model], "--te345: two files beside --fat"),
        (["--te345", fat, water, *asked, *model], "give --te460 MAG PHASE --te575 MAG PHASE, or --fat FILE"),
        ([*asked, *model], "give --te345 MAG PHASE"),
        (["--fat", fat, "--water", water, "--region", "thigh", "--out", fat, *model], "cannot be written"),
        (["--fat", fat, "--water", water, "--region", "thigh", "--out", f"{fat}/x", *model], "cannot be written"),
        (["--fat", fat, "--region", "hip", "--out", str(out), *model], "argument --region"),
        (["--fat", fat, "--region", "thigh", "--out", str(out), "--model"], "argument --model"),
    ):
        assert said in refused(capsys, *arguments), arguments
    assert not out.exists()


def test_a_mask_of_another_origin_is_not_replaced(
    limbs: TwoLimbs, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = limbs.fat.parent / "mask.nii.gz"
    shutil.copy(limbs.fat, drawn)
    before = drawn.read_bytes()
    images = ("--fat", str(limbs.fat), "--water", str(limbs.water))
    said = refused(capsys, *images, "--region", "thigh", "--model", str(run), "--out", str(drawn.parent))
    assert "mask.nii.gz: exists and was not made by this command" in said
    assert drawn.read_bytes() == before
    assert len(list(drawn.parent.iterdir())) == 3


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from musclesense.errors import InputError

    with pytest.raises(InputError, match="no such file"):
        main(["segment", "--fat", "no", "--region", "calf", "--model", "no", "--out", str(tmp_path), "--debug"])


def test_an_anonymous_record_names_no_file(limbs: TwoLimbs, run: Path, tmp_path: Path) -> None:
    segment(limbs, run, tmp_path / "named")
    segment(limbs, run, tmp_path / "anonymous", "--anonymous")
    named, anonymous = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("named", "anonymous"))
    assert str(limbs.fat) in json.dumps(named)
    assert str(tmp_path) not in json.dumps(anonymous) and "fat.nii" not in json.dumps(anonymous)
    assert {one["sha256"] for one in anonymous["inputs"].values()} == {
        one["sha256"] for one in named["inputs"].values()
    }
    segment(limbs, run, tmp_path / "anonymous")  # a record without names is a record
