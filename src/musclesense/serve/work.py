"""What a job's own process does: a scan is segmented, or a mask that was painted is measured.

Whatever happens here, the server reads how it ended from a file, and goes on where there is none.
"""

import logging
import os
import re
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.serve.store import OUTCOME, SAID, Kind, State
from musclesense.storage.processes import end_with_parent
from musclesense.storage.records import write_json

UPLOAD, INPUT, RESULT, SHOWN, KEPT, PAINTED, TOLD = (
    *("upload", "input", "result", "shown", "kept", "painted.bin", "result.json"),
)
"""Within a job's folder: what came, its images, what is given back, what the page shows, what is measured again."""
EXAMPLES = ("thigh", "calf")
_EXAMPLE_SUBJECT, _EXAMPLE_SLICES, _EXAMPLE_SEED = 13, 5, 7
_SLICES = re.compile(r"segment: (\d+) of (\d+) slices")
_NICE = 5


@dataclass(frozen=True)
class Task:
    """A job as its process needs it.

    Attributes:
        folder: Of the job.
        kind: What is to be done.
        options: What the visitor asks for.
        most: Bytes of all files of the upload, unpacked.
        model: As of ``segment``.
        device: Likewise.
        scan: Folder of the job whose mask is measured.
        base: Folder of the job whose mask was painted on.
    """

    folder: Path
    kind: Kind
    options: Mapping[str, Any]
    most: int
    model: str | None = None
    device: str = "auto"
    scan: Path | None = None
    base: Path | None = None


def run(task: Task) -> None:
    """Do a task, and write down how it ended."""
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(_NICE)  # the page answers first
    with _saying(task.folder) as said:
        try:
            _DO[task.kind](task, said)
            outcome = {"state": State.DONE, "notes": said.notes}
        except InputError as error:
            outcome = _failed([_in_words(said.cleaned(one)) for one in error.at_command_line], said.notes)
        except MemoryError:
            outcome = _failed(["the scan needs more memory than this machine has; give fewer slices"], said.notes)
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]  # and not what it says, which may be of the upload
            log.error(f"a job failed: {type(error).__name__} in {Path(at.filename).name}, line {at.lineno}")
            outcome = _failed(["this scan could not be segmented; the fault is the program's"], said.notes)
    write_json(task.folder / OUTCOME, outcome)


def _in_words(problem: str) -> str:
    """Name what the form names, where a problem names options.

    >>> _in_words("times are not known; give --echo-times MS MS")
    'times are not known; give echo times MS MS'
    """
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", " "), problem)


def _failed(problems: Sequence[str], notes: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {"state": State.FAILED, "problems": list(problems), "notes": list(notes)}


class _Said(logging.Handler):
    """Writes down what is said, for the page: what is done now, how far it is, and what is to be known."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.notes: list[dict[str, str]] = []
        self._folder, self._told = folder, dict[str, Any]()

    def step(self, step: str) -> None:
        """Say what is done now."""
        self._told = {"step": step}
        self._write()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message; one of progress is shown as such."""
        if found := _SLICES.match(record.getMessage()):
            self._told |= {"done": int(found[1]), "of": int(found[2])}
            self._write()
        elif record.levelno < logging.ERROR:
            self.notes.append({"level": record.levelname.lower(), "text": self.cleaned(record.getMessage())})

    def cleaned(self, text: str) -> str:
        """Give a text without the places of this machine."""
        for place, name in ((f"{self._folder / INPUT}{os.sep}", ""), (self._folder / INPUT, "upload")):
            text = text.replace(str(place), name)
        return text.replace(str(self._folder), "job")

    def _write(self) -> None:
        write_json(self._folder / SAID, self._told)


@contextmanager
def _saying(folder: Path) -> Iterator[_Said]:
    said = _Said(folder)
    console = logging.StreamHandler()
    console.setLevel(logging.ERROR)
    for handler in (said, console):
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield said
    finally:
        for handler in (said, console):
            log.removeHandler(handler)


def _segment(task: Task, said: _Said) -> None:
    said.step("reading the images")
    from musclesense.intake import dicom_seg
    from musclesense.intake.found import read
    from musclesense.segmentation.segmenter import segment
    from musclesense.serve import shown
    from musclesense.serve.unpack import unpack

    for name in (RESULT, SHOWN, KEPT):  # of an attempt that was ended
        shutil.rmtree(task.folder / name, ignore_errors=True)
    place = task.folder / INPUT
    if not place.exists():
        if example := task.options.get("example"):
            _write_example(place, example)
        else:
            unpack(task.folder / UPLOAD, place, task.most)
    shutil.rmtree(task.folder / UPLOAD, ignore_errors=True)
    scan = read(place, task.options.get("echo_times") or (), task.options.get("series") or ())
    if named := bool(task.options.get("dicom_seg")):
        dicom_seg.require_dicom_seg(anonymous=False, scan=scan)
    said.step("segmenting")
    made = segment(
        scan,
        model=task.model,
        region=task.options.get("region"),
        limbs=task.options.get("limbs") or "auto",
        device=task.device,
    )
    said.step("measuring and drawing")
    made.save(task.folder / RESULT, anonymous=True)
    for name, write in (dicom_seg.dicom_seg(made) if named else {}).items():  # it alone tells who is shown
        write(task.folder / RESULT / name)
    shown.write_view(task.folder / SHOWN, made.measured)
    shown.keep(task.folder / KEPT, made.scan)
    record = made.record(anonymous=True)
    told = {name: record[name] for name in ("region", "region_sure", "limbs")}
    write_json(task.folder / TOLD, {**told, "rows": made.rows, "changes": []})
    shutil.rmtree(place)  # with all that its headers tell of a patient


def _measure(task: Task, said: _Said) -> None:
    said.step("reading the mask")
    import numpy as np

    from musclesense.imaging.labels import LabelSet
    from musclesense.segmentation import corrected
    from musclesense.segmentation.measured import read_record
    from musclesense.serve import shown, view
    from musclesense.storage.records import read_json

    assert task.scan is not None and task.base is not None
    shutil.rmtree(task.folder / RESULT, ignore_errors=True)
    scan, record = shown.kept(task.scan / KEPT), read_record(task.scan / RESULT) or {}
    labels = LabelSet.from_config(record["labels"])
    before = np.load(task.base / SHOWN / view.MASK, allow_pickle=False)
    mask = view.painted((task.folder / PAINTED).read_bytes(), before, labels.n_classes)
    said.step("measuring and drawing")
    values = labels.decode(shown.laid_down(mask, scan.geometry))
    made = corrected.measure((values, scan.geometry.affine), scan, automatic=task.scan / RESULT)
    made.save(task.folder / RESULT, anonymous=True)
    (task.folder / SHOWN).mkdir(exist_ok=True)
    np.save(task.folder / SHOWN / view.MASK, mask)
    told = read_json(task.scan / TOLD, remedy="submit the scan again")
    changes = [row for row in made.change_rows or [] if row["slice"] == "all"]
    write_json(task.folder / TOLD, {**told, "rows": made.measured.rows, "changes": changes})


def _write_example(out: Path, region: str) -> None:
    """Simulate a patient's scan."""
    import numpy as np

    from musclesense.imaging.nifti import write_volume
    from musclesense.phantom.cohorts.generate import scan_subject
    from musclesense.phantom.cohorts.presets import find_preset
    from musclesense.phantom.cohorts.subjects import list_subjects
    from musclesense.storage.atomic import atomic_folder

    preset = find_preset("demo")
    assert preset.stack is not None
    preset = replace(preset, stack=replace(preset.stack, slices=_EXAMPLE_SLICES))
    sessions = scan_subject(preset, list_subjects(preset)[_EXAMPLE_SUBJECT], _EXAMPLE_SEED)
    scan = next(session.scan for session in sessions if session.region == region)
    with atomic_folder(out) as draft:
        for name in ("fat", "water"):
            write_volume(draft / f"image-001_{name}.nii.gz", scan.volumes()[name], scan.geometry(), np.float32)


_DO = {Kind.SEGMENT: _segment, Kind.MEASURE: _measure}
