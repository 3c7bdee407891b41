"""The cases of a study: who tests them, how well, and how what was found goes with what was drawn."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from musclesense.cohort.table import Acquisition
from musclesense.errors import InputError
from musclesense.serve.review import cases
from musclesense.serve.review.cases import Cases
from musclesense.studies.layout import StudyFolder
from musclesense.studies.overlays import KeptSlice, read_index, read_overlay
from musclesense.studies.reading import read_study


def test_every_tested_scan_is_listed_with_its_dice(study: Path) -> None:
    source = Cases(study)
    known = read_study(study)
    listed = {one.name: one for one in source.listed()}
    assert {name.rpartition("line")[2] for name in listed} == {str(case.line) for case in known.cases}
    for one in listed.values():
        own = [case for case in known.cases if one.name.endswith(f"-line{case.line}")]
        networks = len({(case.outer, case.inner) for case in own})
        mean = fmean(case.dice for case in own if case.dice is not None)
        assert one.cells["networks"] == str(networks) and one.cells["Dice"] == f"{mean:.3f}"
        assert one.score == pytest.approx(mean)  # of one slice
    assert [one.name for one in sorted(listed.values(), key=lambda one: one.order)] == [
        one.name for one in sorted(listed.values(), key=lambda one: one.score or 0)
    ]


def test_found_and_drawn_are_laid_over_each_other(study: Path) -> None:
    source = Cases(study)
    run = StudyFolder(study).run(0, 0)
    line, number = read_index(run)[0]
    name = next(one.name for one in source.listed() if one.name.endswith(f"-line{line}"))
    opened = source.open(name)
    truth = read_overlay(run, line, number).truth > 0
    mask = opened.arrays["mask"][0]
    assert ((mask == 1) | (mask == 3) == truth).all() and (mask == 2).any()
    assert (opened.arrays["image"][0] // 257 == read_overlay(run, line, number).image).all()
    assert opened.told["step"] > 0
    assert opened.told["numbers"] == [number] and len(opened.told["labels"]) == 3
    assert opened.scores[0][3] == "Dice" and len(opened.scores) == 1 + len(
        [case for case in read_study(study).cases if case.line == line]
    )


def test_agreement_of_labels_is_that_of_most_networks() -> None:
    def kept(found: list[int]) -> KeptSlice:
        truth = np.array([[0, 1, 1, 2, 0, 2]], np.uint8)
        return KeptSlice(line=2, slice=0, image=truth, truth=truth, prediction=np.array([found], np.uint8))

    three = [kept([0, 1, 0, 1, 1, 2]), kept([0, 1, 0, 1, 1, 2]), kept([1, 0, 1, 2, 0, 2])]
    assert cases._agreement(three).tolist() == [[0, 1, 3, 4, 2, 1]]
    assert cases._agreement(three[:1] + three[2:]).tolist() == [[0, 3, 3, 4, 3 - 3, 1]]  # as many: the lower class
    assert np.round(cases._share(three)[0] / 65535, 2).tolist() == [0.33, 0.67, 0.33, 1.0, 0.67, 1.0]


def test_a_study_without_a_finished_run_is_refused(study: Path) -> None:
    for run in StudyFolder(study).finished_runs():
        run.done.unlink()
    with pytest.raises(InputError, match="no run is finished"):
        Cases(study)


def test_without_its_pictures_the_scores_remain(study: Path) -> None:
    for run in StudyFolder(study).finished_runs():
        run.overlays.unlink()
    source = Cases(study)
    assert source.listed()
    with pytest.raises(InputError, match="no network kept pictures"):
        source.open(source.listed()[0].name)


def test_images_are_named_by_the_table_where_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("subject,region,fat\nS1,calf,a.nii.gz\n")
    found = cases._images_of(tmp_path / "cohort.csv")
    assert isinstance(found[2], Acquisition) and found[2].channels["fat"].name == "a.nii.gz"
    assert cases._images_of(tmp_path / "none.csv") == cases._images_of(None) == {}
