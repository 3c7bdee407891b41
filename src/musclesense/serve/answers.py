"""What the programs' interface answers, as its description (OpenAPI) says it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from musclesense.serve.settings import Settings
from musclesense.serve.store import OUTCOME, SAID, Job, State, Store
from musclesense.serve.work import RESULT, TOLD
from musclesense.storage.records import read_json

FILES = {
    "mask.nii.gz": "application/gzip",
    "mask.dcm": "application/dicom",
    "measurements.csv": "text/csv",
    "changes.csv": "text/csv",
    "qc.html": "text/html",
    "qc.png": "image/png",
    "run.json": "application/json",
    "dseg.tsv": "text/tab-separated-values",
    "labels-itk-snap.txt": "text/plain",
    "labels-slicer.ctbl": "text/plain",
    **{f"{name}.nii.gz": "application/gzip" for name in ("fat", "water", "image", "fat_fraction")},
}
"""What can be downloaded, and its kind."""
_NO_WORD = "the job was ended: the server went down twice while it ran"


class Note(BaseModel):
    """A remark on a scan."""

    level: str = Field(description="info or warning")
    text: str


class Status(BaseModel):
    """Where a job stands."""

    id: str = Field(description="names the job; whoever knows it can see the result")
    state: State
    ahead: int | None = Field(None, description="of a job that waits: how many are begun before it")
    step: str | None = Field(None, description="of a job that runs: what is done now")
    done: int | None = Field(None, description="slices that are segmented")
    of: int | None = Field(None, description="slices in all")
    problems: list[str] = Field([], description="of a job that failed: why")
    notes: list[Note] = []
    files: list[str] = Field([], description="of a job that is done: what can be downloaded")
    corrected: str | None = Field(None, description="the last measurement of a mask that was painted, a job of its own")
    expires: datetime | None = Field(None, description="when all of it is removed")


class Result(BaseModel):
    """What was found in a scan."""

    region: str
    region_sure: float | None = Field(description="how sure that is, from 0 to 1")
    limbs: str
    rows: list[dict[str, str | float | int | None]] = Field(description="the rows of measurements.csv")
    changes: list[dict[str, str | float | int | None]] = Field(
        description="of a painted mask: the totals of changes.csv"
    )


def status_of(job: Job, store: Store, settings: Settings) -> Status:
    """Say where a job stands."""
    folder = store.folder(job.id)
    told: dict[str, Any] = {"id": job.id, "state": job.state}
    if job.state is State.QUEUED:
        told["ahead"] = store.ahead(job)
    elif job.state is State.RUNNING:
        told |= _read(folder / SAID)
    elif not job.state.is_gone:
        told |= {"problems": [_NO_WORD]} if job.state is State.FAILED else {"files": files_of(folder)}
        told |= {name: value for name, value in _read(folder / OUTCOME).items() if name != "state"}
        told["expires"] = _expires(job, store, settings)
        latest = store.latest(job)
        told["corrected"] = None if latest is job else latest.id
    return Status(**told)


def _expires(job: Job, store: Store, settings: Settings) -> datetime | None:
    """Tell when a job is removed: with its scan, where it measures a mask of one."""
    scan = (store.find(job.parent) if job.parent else None) or job
    return None if scan.finished is None else datetime.fromtimestamp(scan.finished + 3600 * settings.keep_hours, UTC)


def files_of(folder: Path) -> list[str]:
    """Name what can be downloaded of a job."""
    return [name for name in FILES if (folder / RESULT / name).is_file()]


def result_of(folder: Path) -> Result:
    """Give the result of a job that is done."""
    return Result(**_read(folder / TOLD))


def _read(file: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = read_json(file, remedy="") if file.is_file() else {}
    return content
