"""What routes do with jobs: take an upload or a painted mask, find a job, say where it stands."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from musclesense.serve import view
from musclesense.serve.answers import Status, status_of
from musclesense.serve.jobs import Jobs
from musclesense.serve.settings import Settings
from musclesense.serve.store import FullError, Job, Kind, State, Store
from musclesense.serve.uploads import RefusedError, receive
from musclesense.serve.work import EXAMPLES, PAINTED, SHOWN, UPLOAD
from musclesense.vocabulary import Limbs, Region

CHOICES = {"region": tuple(Region), "limbs": ("auto", *Limbs), "example": EXAMPLES, "dicom_seg": ("yes",)}
"""What the fields of the form may be."""
NUMBERS: Mapping[str, type[int] | type[float]] = {"series": int, "echo_times": float}
"""Fields of numbers, apart by spaces."""
_UPLOADS_AT_ONCE, _UPLOADS_WAITING = 4, 100
_STALLED_SECONDS = 60.0
_FREE_FACTOR = 8
"""So many times an upload must find room on the disk: it is unpacked, kept, shown and given back."""

_CHANGED = "The mask was corrected in another window meanwhile. Load the page again; what is painted here is lost then."


class Desk:
    """What routes need: the jobs, where they are, and how they are served."""

    def __init__(self, settings: Settings, jobs: Jobs | None = None) -> None:
        self.settings, self.store = settings, Store(settings.data)
        self.jobs = jobs or Jobs(self.store, settings)
        self._uploads, self._turns = 0, asyncio.Semaphore(_UPLOADS_AT_ONCE)

    def job(self, name: str, *, done: bool = False) -> Job:
        """Find a job, or answer that there is none."""
        job = self.store.find(name)
        if job is None:
            raise HTTPException(404, "There is no such job.")
        if job.state.is_gone:
            raise HTTPException(410, f"The job is {job.state}, with all that was kept of it.")
        if done and job.state is not State.DONE:
            raise HTTPException(409, f"The job is {job.state}; wait until it is done.")
        return job

    async def submit(self, request: Request) -> str:
        """Take an upload when it is its turn, and let it wait for a process; gives the name of its job."""
        if self._uploads >= _UPLOADS_WAITING:
            raise HTTPException(503, "Many uploads are under way; try again in a minute.", {"Retry-After": "60"})
        self._uploads += 1
        try:
            async with self._turns:
                return await self._take(request)
        finally:
            self._uploads -= 1

    async def _take(self, request: Request) -> str:
        most = self.settings.upload_bytes
        if int(request.headers.get("content-length") or 0) > most:
            raise HTTPException(413, f"The upload is larger than {self.settings.upload_mb} MiB.")
        if shutil.disk_usage(self.settings.data).free < _FREE_FACTOR * int(
            request.headers.get("content-length") or most
        ):
            raise HTTPException(507, "The server's disk is full; try again later.")
        name, folder = self.store.new_folder()
        try:
            fields = await receive(
                _steady(request.stream()), request.headers.get("content-type", ""), folder / UPLOAD, most
            )
            return self._queue(name, Kind.SEGMENT, _understood(fields, any((folder / UPLOAD).glob("[0-9]*"))))
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, RefusedError):
                raise HTTPException(error.status, error.said) from None
            if isinstance(error, ClientDisconnect):
                raise HTTPException(400, "The upload was cut off; send it again.") from None
            raise

    async def paint(self, job: Job, request: Request, on: str | None = None) -> str:
        """Take painted slices of a mask, and let them be measured; gives the name of that job.

        Args:
            job: Whose mask it is.
            request: Holds the slices.
            on: The job whose mask was shown; None: the last one.
        """
        base = self.store.latest(job)
        if on and on != self.store.latest(job, State.QUEUED, State.RUNNING).id:
            raise HTTPException(409, _CHANGED)
        edits = await edits_of(request, view.read_view(self.store.folder(job.id) / SHOWN))
        name, folder = self.store.new_folder()
        (folder / PAINTED).write_bytes(edits)
        try:
            return self._queue(name, Kind.MEASURE, {"base": base.id}, parent=job.id)
        except HTTPException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _queue(self, name: str, kind: Kind, options: dict[str, Any], parent: str | None = None) -> str:
        try:
            self.store.add(name, kind, options, most=self.settings.queue, parent=parent)
        except FullError:
            said = f"{self.settings.queue} scans wait already; try again later."
            raise HTTPException(503, said, {"Retry-After": "300"}) from None
        self.jobs.wake()
        return name

    def shown(self, job: Job) -> Path:
        """Give the folder of what the page shows of a scan."""
        return self.store.folder(job.parent or job.id) / SHOWN

    def status(self, job: Job) -> Status:
        """Say where a job stands."""
        return status_of(job, self.store, self.settings)


async def edits_of(request: Request, told: Mapping[str, Any]) -> bytes:
    """Take painted slices of the mask of a view, or answer that they are none."""
    one, edits = 4 + told["rows"] * told["columns"], bytearray()
    async for piece in _steady(request.stream()):
        edits += piece
        if len(edits) > told["slices"] * one:
            raise HTTPException(413, "This is more than the mask of the scan.")
    if not edits or len(edits) % one:
        raise HTTPException(422, "These are no whole slices of the scan.")
    return bytes(edits)


async def _steady(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on the pieces of a body, which must not stop coming: few can come at once."""
    while True:
        try:
            piece = await asyncio.wait_for(anext(body), _STALLED_SECONDS)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "The upload stopped; send it again.") from None
        yield piece


def _understood(fields: dict[str, str], with_files: bool) -> dict[str, Any]:
    """Check what was chosen."""
    for key, value in fields.items():
        if value and value not in CHOICES.get(key, (value,)):
            raise RefusedError(422, f"{key}: give one of {', '.join(CHOICES[key])}.")
    if with_files == bool(fields.get("example")):
        raise RefusedError(422, "Choose the images of one scan, or the example.")
    return {key: _numbers(key, value) if key in NUMBERS else value or None for key, value in fields.items()}


def _numbers(key: str, said: str) -> list[float]:
    """Understand numbers as people write them: ``3.45 4.60``, ``3.45, 4.60``, ``3,45; 4,60``."""
    try:
        return [NUMBERS[key](one.replace(",", ".")) for one in re.split(r"[;\s]+|,\s+", said) if one]
    except ValueError:
        raise RefusedError(422, f"{key.replace('_', ' ')}: give numbers, such as 3 4; not {said}") from None
