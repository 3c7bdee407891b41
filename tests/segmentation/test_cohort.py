"""Scans of a study's own cohort: recognised by what they hold, and segmented by networks that have not seen them."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.studies.layout import StudyFolder

from .conftest import fat_of


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said of subjects."""
    return [line for line in capsys.readouterr().err.splitlines() if "subject" in line]


def _as_it_is(fat: Path, other: Path) -> Path:
    return fat


def _unpacked_double(fat: Path, other: Path) -> Path:
    volume = read_volume(fat)
    write_volume(other, volume.data, volume.geometry, np.float64)
    return other


def _packed_again(fat: Path, other: Path) -> Path:
    other.write_bytes(gzip.compress(gzip.decompress(fat.read_bytes()), 1))
    return other


@pytest.mark.parametrize("copied", [_as_it_is, _unpacked_double, _packed_again, shutil.copy])
@pytest.mark.parametrize(("number", "subject", "muscle"), [(0, "s/3", True), (1, "s0", False), (4, "s/3", True)])
def test_a_scan_of_the_cohort_is_told_and_segmented_out_of_fold(
    study: StudyFolder, cohort: Path, tmp_path: Path, capsys, copied, number: int, subject: str, muscle: bool
) -> None:
    scan = read_scan(fat=copied(fat_of(cohort, number), tmp_path / "other.nii.gz"))
    found = segment(scan, model=study.path, region="thigh", limbs="both")
    assert len(found.networks) == 4
    said = f"subject {subject!r} is of the model's own cohort; 2 of 4 networks have seen it; "
    assert told(capsys) == [f"{said}--out-of-fold takes the others"]
    unseen = segment(scan, model=Segmenter.load(study.path), region="thigh", limbs="both", out_of_fold=True)
    assert unseen.networks == tuple(study.run(int(muscle), inner).checkpoints.best for inner in (0, 1))
    assert unseen.mask[10:30].any() == unseen.mask[12, 12].all() == muscle
    assert told(capsys) == ["2 of 4 networks have not seen the subject, and segment"]


def test_images_in_memory_are_recognised(study: StudyFolder, cohort: Path, capsys) -> None:
    segment(read_scan(fat=nib.load(fat_of(cohort, 2))), model=study.path, region="thigh", limbs="both")
    assert "subject 's1' is of the model's own cohort" in capsys.readouterr().err


def test_a_run_that_has_seen_the_subject_is_told_and_one_that_has_not_is_not(
    study: StudyFolder, cohort: Path, capsys
) -> None:
    scan = read_scan(fat=fat_of(cohort, 1))
    segment(scan, model=study.run(1, 0).path, region="thigh", limbs="both")
    assert told(capsys) == ["subject 's0' is of the model's own cohort; 1 of 1 networks have seen it"]
    segment(scan, model=study.run(0, 1).path, region="thigh", limbs="both")
    assert told(capsys) == []
    segment(scan, model=study.run(0, 1).checkpoints.best, region="thigh", limbs="both", out_of_fold=True)
    with pytest.raises(InputError, match="out_of_fold: no finished run tests subject 's0'"):
        segment(scan, model=study.run(1, 0).path, region="thigh", limbs="both", out_of_fold=True)


@pytest.mark.parametrize("why", ["another scan", "no record", "a lone checkpoint"])
def test_what_is_not_known_is_not_told_and_cannot_be_out_of_fold(
    study: StudyFolder, cohort: Path, tmp_path: Path, capsys, why: str
) -> None:
    fat, model = fat_of(cohort, 1), study.path
    if why == "another scan":
        volume = read_volume(fat)
        fat = tmp_path / "new.nii.gz"
        write_volume(fat, volume.data + np.float32(0.25), volume.geometry, np.float32)
    elif why == "no record":
        study.cohort.unlink()
    else:
        model = tmp_path / "alone.ckpt"
        shutil.copy(study.run(0, 0).checkpoints.best, model)
    scan = read_scan(fat=fat)
    segment(scan, model=model, region="thigh", limbs="both")
    assert told(capsys) == []
    with pytest.raises(InputError, match="out_of_fold: the scan is not known to be of the cohort that the model was"):
        segment(scan, model=model, region="thigh", limbs="both", out_of_fold=True)


def test_the_verb_takes_the_option(study: StudyFolder, cohort: Path, tmp_path: Path, capsys) -> None:
    asked = ["--fat", str(fat_of(cohort, 3)), "--region", "thigh", "--model", str(study.path), "--limbs", "both"]
    main(["segment", *asked, "--out-of-fold", "--out", str(tmp_path / "out")])
    assert (read_volume(tmp_path / "out" / "mask.nii.gz").data[12, 12] == 1).all()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [Path(one["file"]).parts[-3] for one in record["networks"]] == ["outer1_inner0", "outer1_inner1"]
