"""A study whose cohort, place or records were changed a little: it goes on, or what was changed is refused."""

import gzip
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds
from musclesense.cohort.folds import NestedFolds
from musclesense.metrics.case import COLUMNS
from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.writing import write_done, write_epochs
from musclesense.training import inputs
from musclesense.training.composition import compose

_WORDS = (
    *("experiment=smoke", "trainer=cpu", "channels=[fat]", "grid.rows=8", "grid.columns=16"),
    *("folds.outer=2", "folds.inner=2", "loader.batch_size=2"),
)
_STUDY = StudyFolder(Path())
_RUN = _STUDY.run(0, 1)


@dataclass
class _Work:
    """A study and its cohort below one folder, which a change may move."""

    folder: Path
    draw: Draw
    named: tuple[str, ...]

    @property
    def table(self) -> Path:
        return next((self.folder / "cohort").glob("*.csv"))

    @property
    def study(self) -> StudyFolder:
        return StudyFolder(next((self.folder / "runs").glob(f"*/{_STUDY.settings.name}")).parent)

    @property
    def run(self) -> RunFolder:
        return self.study.run(0, 0)

    def words(self) -> tuple[str, ...]:
        places = (f"cohort.path={self.table}", f"runs={self.folder}/runs", f"data={self.folder}/data")
        return (*_WORDS, *places, *self.named, "inner=1")

    def image(self, *names: str) -> Path:
        return self.table.parent / f"s{self.draw.below(sound.SUBJECTS)}" / f"{self.draw.one_of(names)}.nii.gz"


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Begin a study with one finished run, change something, and go on or report."""
    work = _Work(folder / "work", draw, named=("study=mine",) if draw.chance(0.3) else ())
    _begin(work, seeds)
    report, kept = draw.chance(0.35), draw.chance(0.4)
    change = draw.one_of(_ACCEPTED[report] if kept else tuple(_REFUSED[report]))
    change(work)
    return Case(
        arguments=("report", str(work.study.path)) if report else work.words(),
        changes=change.__name__,
        verdict=Verdict.ACCEPT if kept else Verdict.REFUSE,
        train=not report,
        names="" if kept else _REFUSED[report][change],
    )


def _begin(work: _Work, seeds: Seeds) -> None:
    (work.folder / "cohort").mkdir(parents=True)
    rows = sound.write_cohort(work.folder / "cohort", seeds)
    for row in rows:
        row["fat_fraction"] = row["fat"]
    (work.folder / "cohort" / "cohort.csv").write_text(sound.table_text(rows))
    inputs.prepare(compose(*work.words()))
    run, folds = work.run, NestedFolds.load(work.study.folds)
    run.path.mkdir()
    scored = [sound.scores(0, 0, subject, index) for index, subject in enumerate(folds.outer[0])]
    write_csv(run.cases, tuple(COLUMNS), scored)
    names = ("epoch", "train_loss", "val_loss", "val_dice", "learning_rate", "seconds")
    write_epochs(run, [dict.fromkeys(names, 0.5) | {"epoch": epoch} for epoch in range(3)])
    shutil.copy(work.study.settings, run.config)
    write_done(run, outer=0, inner=0, scores={"dice": 0.9}, best_epoch=2, epochs=3)


def _resave(path: Path, change: Callable[[NDArray[np.int16]], object], dtype: type = np.int16) -> None:
    image = nib.load(path)
    data = np.asanyarray(image.dataobj).copy()
    change(data)
    header = image.header.copy()
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(data.astype(dtype), image.affine, header), path)


def _edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


def _rows(work: _Work, change: Callable[[list[str]], list[str]]) -> None:
    _edit(work.table, lambda text: "\n".join(change(text.splitlines())) + "\n")


def _nothing(work: _Work) -> None:
    pass


def _times(work: _Work) -> None:
    for path in work.folder.rglob("*"):
        path.touch()


def _another_number_type(work: _Work) -> None:
    _resave(work.image("fat", "mask"), lambda data: None, work.draw.one_of((np.int32, np.float32, np.float64)))


def _another_compression(work: _Work) -> None:
    path = work.image("fat", "mask")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), work.draw.below(10), mtime=work.draw.below(999)))


def _all_moved(work: _Work) -> None:
    work.folder = work.folder.rename(work.folder.with_name("moved here"))


def _cohort_copied(work: _Work) -> None:
    shutil.copytree(work.folder / "cohort", work.folder / "copy")
    shutil.rmtree(work.folder / "cohort")
    (work.folder / "copy").rename(work.folder / "cohort")


def _table_renamed(work: _Work) -> None:
    work.table.rename(work.table.with_name("patients.csv"))


def _image_renamed(work: _Work) -> None:
    path = work.image("mask")
    path.rename(path.with_name("drawn.nii.gz"))
    old = f"{path.parent.name}/mask.nii.gz"
    _edit(work.table, lambda text: text.replace(old, f"{path.parent.name}/drawn.nii.gz"))


def _column_added(work: _Work) -> None:
    _rows(work, lambda lines: [lines[0] + ",scanner", *(f"{line},A" for line in lines[1:])])


def _unused_image_changed(work: _Work) -> None:
    _resave(work.image("water"), lambda data: np.add(data, 3, out=data))


def _caches_lost(work: _Work) -> None:
    shutil.rmtree(work.folder / "data")


def _voxel_of_image(work: _Work) -> None:
    def change(data: NDArray[np.int16]) -> None:
        data[tuple(work.draw.below(length) for length in data.shape)] += 1 + work.draw.below(5)

    _resave(work.image("fat"), change)


def _voxel_of_mask(work: _Work) -> None:
    def change(data: NDArray[np.int16]) -> None:
        data[tuple(np.argwhere(data)[work.draw.below(int(np.count_nonzero(data)))])] = 0

    _resave(work.image("mask"), change, np.uint8)


def _images_exchanged(work: _Work) -> None:
    one, other = (work.table.parent / f"s{number}" / "fat.nii.gz" for number in work.draw.random.permutation(2))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _row_removed(work: _Work) -> None:
    gone = 1 + work.draw.below(sound.SUBJECTS)
    _rows(work, lambda lines: lines[:gone] + lines[gone + 1 :])


def _rows_exchanged(work: _Work) -> None:
    at = 1 + work.draw.below(sound.SUBJECTS - 1)
    _rows(work, lambda lines: [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])


def _cell_changed(work: _Work) -> None:
    old, new = work.draw.one_of(((",1,", ",2,"), ("control", "healthy"), ("S1,", "S9,"), (",calf,", ",thigh,")))
    at = next(n for n, line in enumerate(work.table.read_text().splitlines()) if old in line)
    _rows(work, lambda lines: [line.replace(old, new, 1) if n == at else line for n, line in enumerate(lines)])


def _folds_edited(work: _Work) -> None:
    content = json.loads(work.study.folds.read_text())
    if work.draw.chance(0.3):
        content["seed"] += 1
    else:
        first, second = content["outer"][0]["validation"]
        first[0], second[0] = second[0], first[0]
    work.study.folds.write_text(json.dumps(content, indent=2))


def _record_damaged(work: _Work) -> None:
    content = work.study.cohort.read_bytes()
    work.study.cohort.write_bytes(content[: work.draw.below(len(content))] + b"?")


def _configuration_changed(work: _Work) -> None:
    _edit(work.study.settings, lambda text: text.replace("seed: 0", "seed: 5", 1))


def _study_moved(work: _Work) -> None:
    work.study.path.rename(work.study.path.with_name("elsewhere"))


def _run_copied(work: _Work) -> None:
    name = work.draw.one_of(("_backup", ".old", " copy", "_2"))
    shutil.copytree(work.run.path, work.study.path / f"{work.run.name}{name}")


def _notes_added(work: _Work) -> None:
    (work.run.path / "notes.txt").write_text("looks good")


def _digit_of_scores(work: _Work) -> None:
    path = work.draw.one_of((work.run.cases, work.run.metrics))
    _edit(path, lambda text: text[::-1].replace("5", "4", 1)[::-1])


def _record_lost(work: _Work) -> None:
    work.study.cohort.unlink()


def _run_of_another_fold(work: _Work) -> None:
    shutil.copytree(work.run.path, work.study.run(work.draw.below(2), 1).path)


def _run_configured_otherwise(work: _Work) -> None:
    _edit(work.run.config, lambda text: text.replace("rows: 8", "rows: 16", 1))


_Change = Callable[[_Work], None]
_ACCEPTED: Mapping[bool, Sequence[_Change]] = {
    False: (
        *(_nothing, _times, _another_number_type, _another_compression, _all_moved, _cohort_copied, _table_renamed),
        *(_image_renamed, _column_added, _unused_image_changed, _caches_lost, _run_copied),
    ),
    True: (_nothing, _times, _all_moved, _study_moved, _run_copied, _notes_added, _caches_lost),
}
"""What is changed before a study goes on, and before a report, without a word."""
_REFUSED: Mapping[bool, Mapping[_Change, str]] = {
    False: {
        _voxel_of_image: "fat.nii.gz: changed",
        _voxel_of_mask: "mask.nii.gz: changed",
        _images_exchanged: "fat.nii.gz: changed",
        _row_removed: "cohort.csv: lacks",
        _rows_exchanged: "cohort.csv, line ",
        _cell_changed: "cohort.csv",
        _folds_edited: f"{_STUDY.folds.name}: changed",
        _record_damaged: f"{_STUDY.cohort.name}: ",
    },
    True: {
        _folds_edited: f"{_STUDY.folds.name}: changed",
        _record_damaged: f"{_STUDY.cohort.name}: ",
        _record_lost: f"{_STUDY.cohort.name}: ",
        _digit_of_scores: ".csv: is not the file that the run wrote",
        _run_of_another_fold: f"{_RUN.cases}: holds cases of run 0-0",
        _run_configured_otherwise: f"{_RUN.config.name}: grid.rows differs",
        _configuration_changed: f"{_RUN.config.name}: seed differs",
    },
}
"""What is refused then, and what names it."""
