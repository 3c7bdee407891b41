"""nnU-Net's masks scored as a study of ours."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import study_table
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.nnunet.predictions import import_predictions
from musclesense.nnunet.record import Record
from musclesense.studies.reading import read_study
from musclesense.studies.study import RunStatus


@pytest.fixture
def dataset(write_cohort, export_cohort, tmp_path: Path) -> Path:
    export_cohort(write_cohort(tmp_path / "cohort", labelled=(0, 2)), tmp_path / "Dataset001_A")
    return tmp_path / "Dataset001_A"


@pytest.fixture
def masks(dataset: Path, tmp_path: Path) -> Path:
    """Masks that are the truth, but that whatever is left is called right in the first."""
    for number, file in enumerate(sorted((dataset / "labelsTs").iterdir())):
        truth = read_volume(file)
        predicted = np.where(truth.data == 1, 2, truth.data) if number == 0 else truth.data
        write_volume(tmp_path / "masks" / file.name, predicted, truth.geometry, np.uint8)
    return tmp_path / "masks"


def test_masks_are_scored_as_a_run_that_the_report_shows(dataset, masks, tmp_path) -> None:
    study = tmp_path / "runs" / "nnunet"
    for inner in (0, 3):
        assert import_predictions(dataset, masks, study, inner=inner) == study / f"outer1_inner{inner}"
    with (study / "outer1_inner3" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    tested = [scan for scan in Record.load(dataset).scans if scan.part == "Ts"]
    assert len(rows) == 2 * 2 * len(tested)  # slices, sides
    left, right, *others = rows
    assert (left["label"], left["slice"], left["inner"], left["dice"]) == ("left", "0", "3", "0.0")
    first = read_volume(tested[0].truth(dataset, 0)).data
    lefts, rights = np.count_nonzero(first == 1), np.count_nonzero(first == 2)
    assert float(right["dice"]) == pytest.approx(2 * rights / (2 * rights + lefts))
    assert {row["dice"] for row in others} == {"1.0"}
    voxel_ml = 1.25 * 1.5 * 10 / 1000
    assert float(right["volume_true_ml"]) == pytest.approx(rights * voxel_ml)
    assert float(right["fat_fraction_true_mask"]) > 0  # from the table's fat and water
    read = read_study(study)
    assert [run.name for run in read.with_status(RunStatus.FINISHED)] == ["outer1_inner0", "outer1_inner3"]
    write_report(study)
    shown = study_table(study)
    assert "nnunet" in shown and all(f"{scan.acquisition.region}  " in shown for scan in tested)


def test_a_run_is_not_scored_twice_and_studies_are_not_mixed(dataset, masks, export_cohort, tmp_path) -> None:
    study = tmp_path / "nnunet"
    import_predictions(dataset, masks, study, inner=0)
    before = (study / "outer1_inner0" / "cases.csv").read_bytes()
    with pytest.raises(InputError, match="outer1_inner0: exists already"):
        import_predictions(dataset, masks, study, inner=0)
    with pytest.raises(InputError, match="inner=5: no such fold"):
        import_predictions(dataset, masks, study, inner=5)
    assert (study / "outer1_inner0" / "cases.csv").read_bytes() == before
    (study / "study.yaml").write_text("model: {}\n")
    with pytest.raises(InputError, match=r"study\.yaml: another study"):
        import_predictions(dataset, masks, study, inner=1)


def test_masks_that_cannot_be_the_test_scans_are_refused(dataset, masks, tmp_path) -> None:
    study = tmp_path / "nnunet"
    file = sorted(masks.iterdir())[0]
    mask = read_volume(file)
    write_volume(file, mask.data + 2, mask.geometry, np.uint8)
    with pytest.raises(InputError, match="holds other labels than 0 to 2"):
        import_predictions(dataset, masks, study, inner=0)
    moved = mask.geometry.affine.copy()
    moved[:3, 3] += 1
    write_volume(file, mask.data, mask.geometry.moved(mask.geometry.shape, moved), np.uint8)
    with pytest.raises(InputError, match=f"{file.name}: affine differs"):
        import_predictions(dataset, masks, study, inner=0)
    file.unlink()
    with pytest.raises(InputError, match=f"{file.name}: no such mask; predict all of imagesTs"):
        import_predictions(dataset, masks, study, inner=0)
    assert not study.exists()


def test_a_table_that_has_changed_since_is_refused(dataset, masks, tmp_path) -> None:
    table = tmp_path / "cohort" / "cohort.csv"
    table.write_text(table.read_text() + "\n")
    with pytest.raises(InputError, match=r"cohort\.csv: has changed since it was exported"):
        import_predictions(dataset, masks, tmp_path / "nnunet", inner=0)


# Past failures: tracebacks, a scan left out in silence, and files left by a refusal


def refusal(dataset: Path, masks: Path, study: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        import_predictions(dataset, masks, study, inner=0)
    return caught.value.problems


def change_record(dataset: Path, **changed: object) -> None:
    """Change the record as a whole, or its first scan of the test set."""
    path = dataset / "musclesense.json"
    content = json.loads(path.read_text())
    scan = next(scan for scan in content["scans"] if scan["part"] == "Ts")
    for name, value in changed.items():
        (scan if name in scan else content)[name] = value
    path.write_text(json.dumps(content))


def test_a_record_of_another_table_is_refused(dataset, masks, tmp_path) -> None:
    table, study = tmp_path / "cohort" / "cohort.csv", tmp_path / "nnunet"
    sound = Record.load(dataset)
    scan = next(scan for scan in sound.scans if scan.part == "Ts")
    line = f"{table}, line {scan.acquisition.line}: is not the scan that was exported; export it again"
    for changed in ({"group": "other"}, {"column": "compartments"}):
        change_record(dataset, **changed)
        assert refusal(dataset, masks, study) == (line,)
        sound.save(dataset)
    change_record(dataset, part="Tr")
    line = f"{dataset}/folds.json: other folds than those of musclesense.json"
    assert refusal(dataset, masks, study) == (f"{line}; give a folder that 'musclesense export-nnunet' wrote",)
    assert not study.exists()


def test_labels_that_have_moved_since_are_refused(dataset, masks, tmp_path) -> None:
    scan = next(scan for scan in Record.load(dataset).scans if scan.part == "Ts")
    file = tmp_path / "cohort" / f"scan{scan.acquisition.line - 2}" / "mask.nii.gz"
    mask = read_volume(file)
    write_volume(file, mask.data[:, :, :2], mask.geometry.moved((5, 6, 2), mask.geometry.affine), np.uint16)
    line = f"{file}: shape 5x6x2 differs from 5x6x4, of the scan that was exported; export it again"
    assert refusal(dataset, masks, tmp_path / "nnunet") == (line,)


def test_a_study_whose_name_is_too_long_is_refused(dataset, masks, tmp_path) -> None:
    study = tmp_path / ("x" * 300)
    line = f"{study}/outer1_inner0: cannot be written (File name too long); give a shorter name"
    assert refusal(dataset, masks, study) == (line,)


def test_a_folder_under_the_name_of_the_run_is_refused_before_the_study_is_written(dataset, masks, tmp_path) -> None:
    run = tmp_path / "nnunet" / "outer1_inner0"
    run.mkdir(parents=True)
    assert refusal(dataset, masks, run.parent) == (f"{run}: exists already; remove it or give another name",)
    assert list(run.parent.iterdir()) == [run]


def test_a_study_that_is_no_text_is_refused(dataset, masks, tmp_path) -> None:
    (tmp_path / "nnunet").mkdir()
    (tmp_path / "nnunet" / "study.yaml").write_bytes(b"\xff")
    (line,) = refusal(dataset, masks, tmp_path / "nnunet")
    assert line.startswith(f"{tmp_path}/nnunet/study.yaml: cannot be read (")


def scores(study: Path, run: str) -> list[dict[str, str]]:
    with (study / run / "cases.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "inner"} for row in csv.DictReader(file)]


def test_a_data_set_that_was_moved_is_scored_by_its_own_labels_or_a_given_table(
    dataset, masks, tmp_path, caplog
) -> None:
    study, elsewhere = tmp_path / "nnunet", tmp_path / "elsewhere"
    import_predictions(dataset, masks, study, inner=0)
    (tmp_path / "cohort").rename(elsewhere)
    moved = dataset.rename(tmp_path / "Dataset007_B")
    assert caplog.messages == []
    import_predictions(moved, masks, study, inner=1)
    (said,) = caplog.messages
    assert said.endswith(f"cohort.csv: not there; {moved} is scored by its own labels, without fat fractions")
    import_predictions(moved, masks, study, inner=2, table=elsewhere / "cohort.csv")
    whole, bare, again = (scores(study, f"outer1_inner{inner}") for inner in range(3))
    assert again == whole
    fractions = [name for name in whole[0] if "fat_fraction" in name]
    assert len(fractions) == 4 and all(whole[1][name] for name in fractions[:2])
    assert bare == [row | dict.fromkeys(fractions, "") for row in whole]
    assert len(read_study(study).with_status(RunStatus.FINISHED)) == 3


def test_another_table_is_refused_wherever_it_lies(dataset, masks, tmp_path) -> None:
    (tmp_path / "other.csv").write_text((tmp_path / "cohort" / "cohort.csv").read_text() + "\n")
    with pytest.raises(InputError, match=r"other\.csv: has changed since it was exported"):
        import_predictions(dataset, masks, tmp_path / "nnunet", inner=0, table=tmp_path / "other.csv")


def test_own_labels_that_cannot_be_are_refused(dataset, masks, tmp_path) -> None:
    (tmp_path / "cohort").rename(tmp_path / "elsewhere")
    file = sorted((dataset / "labelsTs").iterdir())[0]
    truth = read_volume(file)
    write_volume(file, truth.data + 2, truth.geometry, np.uint8)
    with pytest.raises(InputError, match="holds other labels than 0 to 2"):
        import_predictions(dataset, masks, tmp_path / "nnunet", inner=0)
    assert not (tmp_path / "nnunet").exists()
