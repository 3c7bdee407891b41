"""What jobs of tests do. Their processes import this, so it imports little."""

import os
import time

from musclesense.serve.store import OUTCOME, State
from musclesense.serve.work import RESULT, Task
from musclesense.storage.records import write_json


def at_once(task: Task) -> None:
    """A job that has nothing to do."""
    (task.folder / RESULT).mkdir()
    (task.folder / RESULT / "mask.nii.gz").write_bytes(b"a mask")
    rows = [{"slice": "all", "limb": "left", "label": "muscle", "flags": "cut", "counted_slices": 1}]
    numbers = ("volume_ml", "fat_fraction_percent", "fat_fraction_sd_percent", "largest_area_cm2")
    rows[0] |= dict.fromkeys((*numbers, "largest_area_slice", "subcutaneous_fat_ml", "intermuscular_fat_ml"), 1.25)
    told = {"region": "thigh", "region_sure": 0.9, "limbs": "both", "rows": rows, "changes": []}
    write_json(task.folder / "result.json", told)
    notes = [{"level": "warning", "text": "a warning <b>"}, {"level": "info", "text": "a remark"}]
    write_json(task.folder / OUTCOME, {"state": State.DONE, "notes": notes})


def fails(task: Task) -> None:
    """A job whose scan cannot be used."""
    write_json(task.folder / OUTCOME, {"state": State.FAILED, "problems": ["image-001.nii.gz: <i>"], "notes": []})


def crashes(task: Task) -> None:
    """A job that takes its process along."""
    os._exit(9)


def hangs(task: Task) -> None:
    """A job that does not end by itself."""
    (task.folder / "begun").touch()
    time.sleep(10**6)
