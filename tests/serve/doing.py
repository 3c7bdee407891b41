"""What jobs of tests do. Their processes import this, so it imports little."""

import os
import time
from collections.abc import Mapping, Sequence

from musclesense.serve.store import OUTCOME, State
from musclesense.serve.work import RESULT, SHOWN, UPLOAD, Task
from musclesense.storage.processes import end_with_parent
from musclesense.storage.records import write_json

_NOTES = ({"level": "warning", "text": "a warning <b>"}, {"level": "info", "text": "a remark"})


def at_once(task: Task, flags: str = "cut", notes: Sequence[Mapping[str, str]] = _NOTES) -> None:
    """A job that has nothing to do."""
    (task.folder / RESULT).mkdir()
    (task.folder / RESULT / "mask.nii.gz").write_bytes(b"a mask")
    rows = [{"slice": "all", "limb": "left", "label": "muscle", "flags": flags, "counted_slices": 1}]
    numbers = ("volume_ml", "fat_fraction_percent", "fat_fraction_sd_percent", "largest_area_cm2")
    rows[0] |= dict.fromkeys((*numbers, "largest_area_slice", "subcutaneous_fat_ml", "intermuscular_fat_ml"), 1.25)
    told = {"region": "thigh", "region_sure": 0.9, "limbs": "both", "rows": rows, "changes": []}
    write_json(task.folder / "result.json", told)
    write_json(task.folder / OUTCOME, {"state": State.DONE, "notes": [*notes]})


def shows(task: Task, flags: str = "cut", notes: Sequence[Mapping[str, str]] = _NOTES) -> None:
    """A job of a scan of two slices, which the page can show; what is painted on it is taken as it is."""
    import numpy as np

    from musclesense.serve.view import MASK, VIEW

    (task.folder / SHOWN).mkdir()
    for name, kind in ((MASK, "u1"), ("fat.npy", "<u2")):
        np.save(task.folder / SHOWN / name, np.zeros((2, 3, 4), kind))
    image = {"name": "fat", "low": 0, "high": 9, "black": 0, "white": 9}
    labels = [{"name": name, "colour": [230, 160, 0]} for name in ("muscle", "other_muscle")]
    size = {"slices": 2, "rows": 3, "columns": 4, "zooms": [1, 1], "step": -5, "body": [[0, 3], [0, 4]]}
    write_json(task.folder / SHOWN / VIEW, {**size, "images": [image], "labels": labels})
    at_once(task, flags, notes)


def fails(task: Task) -> None:
    """A job whose scan cannot be used."""
    write_json(task.folder / OUTCOME, {"state": State.FAILED, "problems": ["image-001.nii.gz: <i>"], "notes": []})


def crashes(task: Task) -> None:
    """A job that takes its process along."""
    os._exit(9)


def copies(task: Task) -> None:
    """A job whose mask is what was uploaded."""
    at_once(task)
    (task.folder / RESULT / "mask.nii.gz").write_bytes((task.folder / UPLOAD / "000001").read_bytes())


def waits_if_calf(task: Task) -> None:
    """A job that has nothing to do, or of a calf waits until a file says that it may go on."""
    end_with_parent()
    if task.options["example"] == "calf":
        _tell_who(task)
        while not (task.folder.parent / "go").exists():
            time.sleep(0.02)
    at_once(task)


def segments(task: Task) -> None:
    """A scan is segmented, as for any visitor; at the step that a file names it stays until the file is gone."""
    from musclesense.serve import work

    say, hold = work._Said.step, task.folder.parents[1] / "hold"

    def waits(self: work._Said, step: str) -> None:
        say(self, step)
        if hold.exists() and hold.read_text() == step:
            _tell_who(task)
            while hold.exists():
                time.sleep(0.02)

    work._Said.step = waits  # type: ignore[method-assign]
    work.run(task)


def _tell_who(task: Task) -> None:
    """Write down which process does a job."""
    (task.folder / "pid").write_text(str(os.getpid()))
    (task.folder / "pid").rename(task.folder / "begun")


def hangs(task: Task) -> None:
    """A job that does not end by itself."""
    (task.folder / "begun").touch()
    time.sleep(10**6)


def stands(task: Task) -> None:
    """A job that comes to the state that a test asks for, by what it says of limbs."""
    match task.options["limbs"]:
        case "left":
            fails(task)
        case "right":
            hangs(task)
        case "both":
            shows(task, flags="", notes=())
        case _:
            shows(task)
