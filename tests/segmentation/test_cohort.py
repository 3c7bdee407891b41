"""Scans of a study's own cohort: recognised by what they hold, and segmented by networks that have not seen them."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas
import pytest
import yaml

from musclesense.cli.main import main
from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.errors import InputError
from musclesense.imaging.digests import image_digest
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.segmentation.cohort import segment_cohort
from musclesense.segmentation.measuring import COLUMNS, ERODED_COLUMNS
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.studies.content import write_content
from musclesense.studies.layout import StudyFolder
from musclesense.vocabulary import Limbs, Region

from .conftest import write_run

FOLDS = (("s0", "s1"), ("s2", "s/3"))
"""Whom each outer fold tests."""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A table of four subjects with a thigh each, of another order than the folds; ``s/3`` has two visits."""
    geometry = Geometry.from_affine((40, 24, 2), np.diag([-9.0, -9.0, 10.0, 1.0]))
    rows = []
    for number, (subject, session) in enumerate((("s/3", "a"), ("s0", ""), ("s1", ""), ("s2", ""), ("s/3", "b"))):
        folder = tmp_path / "work" / "cohort" / f"scan{number}"
        i, j = np.mgrid[:40, :24]
        body = np.hypot(i - 12, j - 12) < 9 - 0.2 * number
        body |= np.hypot(i - 30, j - 12) < 8
        noise = np.random.default_rng(number).normal(0, 3, (40, 24, 2))
        write_volume(folder / "fat.nii.gz", 100 * body[..., None] + 20 + noise, geometry, np.float32)
        write_volume(folder / "mask.nii.gz", np.repeat(body[..., None], 2, axis=2), geometry, np.uint8)
        rows.append(
            Acquisition(
                line=2 + number,
                subject=subject,
                session=session,
                region=Region.THIGH,
                limbs=Limbs.BOTH,
                channels={"fat": folder / "fat.nii.gz"},
                mask=folder / "mask.nii.gz",
            )
        )
    write_table(tmp_path / "work" / "cohort" / "cohort.csv", rows)
    return tmp_path / "work" / "cohort" / "cohort.csv"


@pytest.fixture
def study(cohort: Path) -> StudyFolder:
    """A study whose networks of outer fold 0 find nothing, and those of outer fold 1 muscle everywhere."""
    folder, table = StudyFolder(cohort.parents[1] / "runs" / "mine"), read_table(cohort)
    for outer, bias in ((0, -9.0), (1, 9.0)):
        for inner in (0, 1):
            write_run(folder.run(outer, inner).path, channels=["fat"], weight=0, bias=bias)
    inner_folds = ((("s2",), ("s/3",)), (("s0",), ("s1",)))
    NestedFolds(table=table.digest, seed=0, outer=FOLDS, inner=inner_folds).save(folder.folds)
    config = {"format": 2, "cohort": {"path": str(cohort)}, "labels": {"column": "mask"}, "data": "data"}
    folder.settings.write_text(yaml.safe_dump(config))
    files = [{"fat": row.channels["fat"], "mask": row.mask} for row in table.acquisitions]
    images = [{name: (file, image_digest(file)) for name, file in own.items() if file} for own in files]
    write_content(folder, table.acquisitions, images)
    return folder


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said of subjects."""
    return [line for line in capsys.readouterr().err.splitlines() if "subject" in line]


def fat_of(cohort: Path, number: int) -> Path:
    return cohort.parent / f"scan{number}" / "fat.nii.gz"


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


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_cohort_is_segmented_out_of_fold(
    study: StudyFolder, cohort: Path, tmp_path: Path, capsys, old: bool
) -> None:
    """Of an old study, the table's bytes say that the cohort is its own."""
    if old:
        study.cohort.unlink()
    main(["segment-cohort", str(study.path), str(tmp_path / "masks")])
    assert capsys.readouterr().out == f"{tmp_path / 'masks' / 'cohort.csv'}\n"
    made, given = read_table(tmp_path / "masks" / "cohort.csv").acquisitions, read_table(cohort).acquisitions
    assert [row.subject for row in made] == ["s/3", "s0", "s1", "s2", "s/3"]
    for row, of_cohort in zip(made, given, strict=True):
        assert row.mask is not None and row.mask.resolve().is_relative_to((tmp_path / "masks").resolve())
        mask = read_volume(row.mask)
        assert mask.data.any() == (mask.data[12, 12] == 1).all() == (row.subject in FOLDS[1])
        assert mask.geometry.difference(read_volume(of_cohort.channels["fat"]).geometry) is None
        assert image_digest(row.channels["fat"]) == image_digest(of_cohort.channels["fat"])


def test_measurements_of_a_cohort_carry_subject_and_session(study: StudyFolder, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    main(["segment-cohort", str(study.path), str(out), "--erode", "9", "--slices", "0:0", "--with-cut"])
    table = pandas.read_csv(out / "measurements.csv", dtype={"session": str}, keep_default_na=False)
    assert [*table.columns] == ["subject", "session", "region", "group", *COLUMNS, *ERODED_COLUMNS]
    total = table[table["slice"] == "all"]
    visits = total[total["subject"] == "s/3"].groupby(["limb", "session"])["voxels"].sum().unstack()
    assert [*visits.columns] == ["a", "b"] and (visits > 0).all(axis=None)
    assert set(table["counted_slices"]) == {0, 1}
    for row in read_table(out / "cohort.csv").acquisitions:
        assert row.mask is not None
        alone = pandas.read_csv(row.mask.parent / "measurements.csv")
        own = table[(table["subject"] == row.subject) & (table["session"] == row.session)]
        assert own["voxels"].tolist() == alone["voxels"].tolist()
    assert {*table["region"]} == {"thigh"} and {*table["group"]} == {""}
    with pytest.raises(InputError, match=r"measurements\.csv: exists already; give another folder"):
        (out / "cohort.csv").unlink()
        segment_cohort(study.path, out)


def test_a_cohort_that_was_moved_is_given(study: StudyFolder, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "work").rename(tmp_path / "moved")
    moved, table = tmp_path / "moved" / "runs" / "mine", tmp_path / "moved" / "cohort" / "cohort.csv"
    with pytest.raises(InputError, match=r"work/cohort/cohort\.csv: no such cohort table"):
        segment_cohort(moved, tmp_path / "masks")
    assert segment_cohort(moved, tmp_path / "masks", table=table) == tmp_path / "masks" / "cohort.csv"


def _other_image(study: StudyFolder, cohort: Path, out: Path) -> None:
    shutil.copy(fat_of(cohort, 1), fat_of(cohort, 2))


def _other_row(study: StudyFolder, cohort: Path, out: Path) -> None:
    cohort.write_text(cohort.read_text().replace("s2,", "s9,"))


def _no_run(study: StudyFolder, cohort: Path, out: Path) -> None:
    for inner in (0, 1):
        study.run(1, inner).done.unlink()


def _corrected(study: StudyFolder, cohort: Path, out: Path) -> None:
    segment_cohort(study.path, out)
    (out / "cohort.csv").unlink()
    (mask,) = out.glob("00003-s0-thigh/mask.nii.gz")
    volume = read_volume(mask)
    write_volume(mask, 1 - volume.data, volume.geometry, np.uint16)


def _own_table(study: StudyFolder, cohort: Path, out: Path) -> None:
    out.mkdir()
    shutil.copy(cohort, out / "cohort.csv")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_other_image, r"scan2/fat\.nii\.gz: changed since"),
        (_other_row, r"cohort\.csv: lacks subject s2, thigh"),
        (_no_run, r"no finished run of outer=1, which tests 's2'; train it first"),
        (_corrected, r"00003-s0-thigh/mask\.nii\.gz: was changed after it was written here"),
        (_own_table, r"cohort\.csv: exists already; give another folder"),
    ],
)
def test_nothing_is_written_where_not_all_can_be(
    study: StudyFolder, cohort: Path, tmp_path: Path, change, told: str
) -> None:
    out = tmp_path / "masks"
    change(study, cohort, out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=told):
        segment_cohort(study.path, out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
