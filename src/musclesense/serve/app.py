"""The interface for programs: submit, status, result, delete; `pages` puts the page upon it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response

from musclesense.errors import InputError
from musclesense.serve import pages, shell, view
from musclesense.serve.answers import FILES, Result, Status, result_of
from musclesense.serve.desk import CHOICES, NUMBERS, Desk
from musclesense.serve.jobs import Jobs
from musclesense.serve.safety import Guard
from musclesense.serve.settings import Settings
from musclesense.serve.store import Kind, State
from musclesense.serve.uploads import ROLES
from musclesense.serve.work import RESULT, SHOWN
from musclesense.version import __version__

Name = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="of the job")]
Base = Annotated[str | None, Query(description="as the view says: the mask that was painted on; it must be the last")]
_FILE = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = {
    "type": "object",
    "properties": {name: _FILE for name in ROLES}
    | {key: {"type": "string", "enum": [*map(str, values)]} for key, values in CHOICES.items()}
    | {key: {"type": "string", "description": "numbers, apart by spaces"} for key in NUMBERS},
}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}
_PAINTED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_GONE: dict[int | str, dict[str, Any]] = {
    404: {"description": "no such job"},
    410: {"description": "expired or deleted"},
}


def application(settings: Settings, jobs: Jobs | None = None) -> Guard:
    """Make the application.

    Args:
        settings: How it is served.
        jobs: Other ones than those that segment, for tests.
    """
    desk = Desk(settings, jobs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.jobs.start()
        yield
        await anyio.to_thread.run_sync(desk.jobs.stop)

    app = FastAPI(
        title="Musclesense",
        version=__version__,
        summary="Segment the muscle of a scan of calves or thighs.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    guard = Guard(app, settings)
    _add_routes(app, desk)
    pages.add(app, desk, guard)
    return guard


def _add_routes(app: FastAPI, desk: Desk) -> None:
    @app.post(
        "/api/jobs", status_code=202, openapi_extra=_BODY, responses={413: {}, 415: {}, 422: {}, 503: {}, 507: {}}
    )
    async def submit(request: Request) -> Status:
        """Submit the images of one scan: NIfTI, NRRD, DICOM, or a zip; or ask for a simulated example.

        Fields of the form: ``files``, or where the image is known ``fat``, ``water`` and ``image``; ``region`` and
        ``limbs`` where they are not to be found in the images; ``series`` of DICOM to take; ``echo_times`` in ms,
        where no file tells them; ``example`` instead of files.
        """
        return desk.status(desk.job(await desk.submit(request)))

    @app.get("/api/jobs/{name}", responses=_GONE)
    def status(name: Name) -> Status:
        """Ask where a job stands."""
        return desk.status(desk.job(name))

    @app.delete("/api/jobs/{name}", status_code=204, responses=_GONE)
    def delete(name: Name) -> None:
        """Remove a job with all that is kept of it, at once."""
        desk.jobs.end(desk.job(name).id, State.DELETED)

    @app.get("/api/jobs/{name}/result", responses=_GONE | {409: {"description": "not done"}})
    def result(name: Name) -> Result:
        """Get the measurements of a job that is done."""
        return result_of(desk.store.folder(desk.job(name, done=True).id))

    @app.get(
        "/api/jobs/{name}/files/{file}",
        response_class=FileResponse,
        responses=_GONE | {409: {"description": "not done"}},
    )
    def file(name: Name, file: str) -> FileResponse:
        """Download a file of the result; the status names them."""
        place = desk.store.folder(desk.job(name, done=True).id) / RESULT / (file if file in FILES else "-")
        if not place.is_file():
            raise HTTPException(404, "The result has no such file.")
        return shell.download(place, f"{name[:6]}-{file}")

    @app.post(
        "/api/jobs/{name}/painted",
        status_code=202,
        openapi_extra=_PAINTED,
        responses=_GONE | {409: {}, 413: {}, 422: {}, 503: {}},
    )
    async def painted(name: Name, request: Request, base: Base = None) -> Status:
        """Let a painted mask be measured, as a job of its own.

        The body: of each painted slice its number (4 bytes, little endian) and a byte for each voxel of the view.
        """
        job = desk.job(name, done=True)
        if job.kind is not Kind.SEGMENT:
            raise HTTPException(409, "Paint on the mask of the scan, not on that of a measurement.")
        return desk.status(desk.job(await desk.paint(job, request, base)))

    @app.get("/api/jobs/{name}/view", responses=_GONE)
    def shown(name: Name) -> dict[str, Any]:
        """Get what the page shows: size, images, labels."""
        job = desk.job(name, done=True)
        return {**view.read_view(desk.shown(job)), "base": desk.store.latest(job).id}

    @app.get("/api/jobs/{name}/view/{image}/{number}", response_class=Response, responses=_GONE)
    def slice_(name: Name, image: str, number: int) -> Response:
        """Get a slice of the view: 2 bytes a voxel in little endian, or of ``mask`` one."""
        job = desk.job(name, done=True)
        folder = desk.shown(job)
        told = view.read_view(folder)
        if image not in ("mask", *(one["name"] for one in told["images"])) or not 0 <= number < told["slices"]:
            raise HTTPException(404, "The scan has no such slice.")
        if image == "mask":
            folder = desk.store.folder(desk.store.latest(job).id) / SHOWN
        return Response(view.slice_of(folder, image, number), media_type="application/octet-stream")

    @app.exception_handler(InputError)
    async def unusable(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "This could not be read."}, 422)
