"""Serve the list of masks of a folder until somebody ends it."""

from pathlib import Path

from musclesense.errors import InputError
from musclesense.intake import batch
from musclesense.messages import log
from musclesense.segmentation.measured import read_record
from musclesense.serve.main import answer, listen
from musclesense.serve.review.app import application
from musclesense.serve.review.cases import Cases
from musclesense.serve.review.listed import Source
from musclesense.serve.review.record import Record
from musclesense.serve.review.scans import Scans
from musclesense.serve.settings import Settings
from musclesense.storage.paths import is_file, require_writable
from musclesense.studies.layout import StudyFolder


def review(settings: Settings) -> None:
    """Serve the list of the masks in ``settings.data``.

    Raises:
        InputError: There are none, what was said of them cannot be read, or the port is taken.
    """
    source = source_of(settings.data)
    require_writable(settings.data)
    Record(settings.data).entries()
    count = len(source.listed())
    with listen(settings) as listening:
        log.info(f"{count} masks; what is said of them is kept in {Record(settings.data).path}; end with Ctrl+C")
        answer(application(source, settings), listening)


def source_of(folder: Path) -> Source:
    """Find the masks of a folder: of a study, of one scan, or of many.

    Raises:
        InputError: There are none.
    """
    if is_file(StudyFolder(folder).settings):
        return Cases(folder)
    if "corrected" in (read_record(folder) or {}):
        raise InputError(f"{folder}: holds a corrected mask; give the folder of the automatic one")
    scans = Scans(folder)
    if not scans.listed() and not is_file(folder / batch.RECORD):
        raise InputError(f"{folder}: holds no results of segment and no study; give a folder that one of them wrote")
    return scans
