"""Which of a study's networks have seen the subject of a scan: its images are compared with the study's cohort."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import ArgumentError, InputError
from musclesense.imaging.digests import voxel_digest
from musclesense.imaging.nifti import Volume
from musclesense.imaging.reader import read_image
from musclesense.messages import log
from musclesense.segmentation.scan import Scan
from musclesense.studies.content import read_content, voxels_in
from musclesense.studies.layout import RunFolder, StudyFolder


@dataclass(frozen=True)
class Seen:
    """A scan of a study's own cohort.

    Attributes:
        subject: Whose it is.
        unseen: Numbers of the networks that test the subject, and so have not seen it.
        networks: How many there are.
    """

    subject: str
    unseen: tuple[int, ...]
    networks: int


def look_up(scan: Scan, weights: Sequence[Path]) -> Seen | None:
    """Find a scan in the cohort of the study that trained networks; None where it is not there, or is not known.

    Raises:
        InputError: The study's records cannot be used.
    """
    runs = [run for run in map(RunFolder.of, weights) if run is not None]
    if len(runs) < len(weights) or len({run.path.parent for run in runs}) != 1:
        return None
    study = StudyFolder(runs[0].path.parent)
    subject = _subject_of(scan, study)
    if subject is None:
        return None
    tested = next(outer for outer, test in enumerate(NestedFolds.load(study.folds).outer) if subject in test)
    return Seen(subject, testing(runs, tested), len(runs))


def testing(runs: Sequence[RunFolder], outer: int) -> tuple[int, ...]:
    """Give the numbers of the runs that test the subjects of an outer fold, and so have not seen them."""
    folds = [run.folds for run in runs]
    return tuple(number for number, fold in enumerate(folds) if fold is not None and fold[0] == outer)


def unseen_by(scan: Scan, weights: Sequence[Path]) -> tuple[int, ...]:
    """Give the numbers of the networks that have not seen the subject of a scan.

    Raises:
        InputError: The scan is not of the cohort that they were trained on, or all of them have seen it.
    """
    seen = look_up(scan, weights)
    if seen is None:
        said = "{out_of_fold}: the scan is not known to be of the cohort that the model was trained on; leave it out"
        raise ArgumentError(said, out_of_fold="")
    if not seen.unseen:
        said = f"{{out_of_fold}}: no finished run tests subject {seen.subject!r}; train the runs of its outer fold"
        raise ArgumentError(said, out_of_fold="")
    return seen.unseen


def tell(scan: Scan, weights: Sequence[Path]) -> None:
    """Warn of networks that were trained on the subject of a scan, or were chosen by it."""
    seen = look_up(scan, weights)
    if seen and len(seen.unseen) < seen.networks:
        others = seen.networks - len(seen.unseen)
        said = (
            f"subject {seen.subject!r} is of the model's own cohort; {others} of {seen.networks} networks have seen it"
        )
        log.warning(f"{said}; --out-of-fold takes the others" if seen.unseen else said)


def _subject_of(scan: Scan, study: StudyFolder) -> str | None:
    """Find whose images a scan holds, be they in memory, in files, or separated from files."""
    rows = read_content(study) or []
    if not rows:
        return None
    volumes = [Volume(data, scan.geometry) for data in scan.channels.values()]
    for file in scan.files.values():
        with suppress(InputError):  # of DICOM or several echoes, which no table names
            volumes.append(read_image(file, ""))
    shown = {voxel_digest(volume) for volume in volumes}
    for row in rows:
        if shown & voxels_in(row):
            return str(row["subject"])
    return None
