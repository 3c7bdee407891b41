"""On how many threads the runs of a study train on a CPU: sums depend on it in their last digits, and scores on these.

So all runs of a study train on one number, one after another or side by side. The command that begins the study
decides; ``OMP_NUM_THREADS`` is obeyed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.storage.locks import locked
from musclesense.storage.records import read_json, write_json
from musclesense.studies.layout import StudyFolder
from musclesense.studies.study import FORMAT


def agree(study: StudyFolder, *, side_by_side: int = 1) -> None:
    """Decide on how many threads each run of a study trains, and say where that is another number than before or here.

    Args:
        study: Which may have begun with a number.
        side_by_side: Runs that share this machine's cores; below 0 as many as there are cores, as joblib has it.
    """
    asked = bool(os.environ.get("OMP_NUM_THREADS"))
    usual = torch.get_num_threads()
    if side_by_side != 1 and not asked:
        from joblib import cpu_count  # the cores that joblib would divide among its workers

        usual = max(1, cpu_count() // side_by_side if side_by_side > 0 else 1)
    with locked(study.threads):
        before = _recorded(study)
        if before is None or asked:
            _record(study, usual)
    if before is not None and before != usual:
        log.info(
            f"{study.path}: OMP_NUM_THREADS={usual}, and earlier runs trained on {before} threads; "
            "scores may differ a little"
            if asked
            else f"{study.path}: trains on {before} threads, as its runs before; OMP_NUM_THREADS={usual} would be this "
            "machine's number, and scores may then differ a little"
        )


@contextmanager
def agreed(study: StudyFolder) -> Iterator[None]:
    """Let PyTorch compute on as many threads as the study's runs do, during the block; the first run decides."""
    before = torch.get_num_threads()
    with locked(study.threads):
        if (number := _recorded(study)) is None:
            _record(study, number := before)
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _recorded(study: StudyFolder) -> int | None:
    """Give the number of a study; None where it has none, or none that can be read."""
    try:
        number = read_json(study.threads, remedy="remove it")["threads"]
    except (InputError, KeyError, TypeError):
        return None
    return number if type(number) is int and 0 < number <= 4096 else None


def _record(study: StudyFolder, number: int) -> None:
    write_json(study.threads, {"format": FORMAT, "threads": number})
