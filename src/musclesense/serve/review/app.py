"""The list of masks over HTTP: what is said of them, what they look like, and lists to take along."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from musclesense.errors import InputError
from musclesense.serve import shell
from musclesense.serve.review import pages
from musclesense.serve.review.desk import Desk, Row
from musclesense.serve.review.listed import ChangedError, Source
from musclesense.serve.review.record import Verdict, as_yaml
from musclesense.serve.safety import Guard
from musclesense.serve.settings import Settings
from musclesense.storage.records import csv_text
from musclesense.version import __version__

Name = Annotated[str, InPath(pattern="^[0-9a-f]{16}$", description="of the mask")]
_NONE: dict[int | str, dict[str, Any]] = {404: {"description": "no such mask"}}
_CHANGED = "This mask has changed since it was shown here; load the page again. What is painted here is lost by that."


class Said(BaseModel):
    """What somebody says of a mask."""

    by: str = Field(description="who says it")
    mask_sha256: str = Field(description="of the mask that was seen")
    verdict: Verdict | None = Field(None, description="pass, fail or nothing; left out: as it was")
    comment: str | None = Field(None, description="left out: as it was")


class Mask(BaseModel):
    """A mask of the list, and what was said of it."""

    id: str
    scan: str
    verdict: Verdict = Field(description="of the mask as it is now")
    before: Verdict = Field(description="of a mask that was there before, where nothing is said of this one")
    comment: str
    by: str
    at: str
    flags: list[str]
    score: float | None = Field(description="quality, or Dice of a study's case, of the worst part")
    mask_sha256: str
    corrected: dict[str, str] | None = Field(description="by whom and when")

    @classmethod
    def of(cls, row: Row) -> "Mask":
        """Say what a row of the list holds."""
        seen, entry = row.listed, row.entry
        return cls(
            id=seen.id,
            scan=seen.name,
            verdict=row.verdict,
            before=row.before,
            comment=entry.comment,
            by=entry.by,
            at=entry.at,
            flags=list(seen.flags),
            score=seen.score,
            mask_sha256=seen.mask_sha256,
            corrected=None if seen.corrected is None else dict(seen.corrected),
        )


def application(source: Source, settings: Settings) -> Guard:
    """Make the application."""
    desk = Desk(source)
    app = FastAPI(
        title="Musclesense review",
        version=__version__,
        summary="Look through the masks of many scans.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    guard = Guard(app, settings)
    _add_lists(app, desk)
    _add_masks(app, desk)
    pages.add(app, desk, guard)

    @app.exception_handler(InputError)
    async def unusable(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, InputError)
        return JSONResponse({"detail": "; ".join(error.problems)}, 422)

    return guard


def _add_lists(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/scans")
    def masks() -> list[Mask]:
        """List all masks: doubtful ones first, then flagged ones, among them the worst."""
        return [Mask.of(row) for row in desk.rows()]

    @app.get("/api/review.csv", response_class=Response)
    def table() -> Response:
        """Get what was said as a table."""
        rows = [row.as_cells() for row in desk.rows()]
        return _attached(csv_text(Row.COLUMNS, rows), "text/csv; charset=utf-8", "review.csv")

    @app.get("/api/review.yml", response_class=Response)
    def failed() -> Response:
        """Get the images whose masks failed, as scripts for manual correction take them."""
        images = (row.listed.image or row.listed.name for row in desk.rows() if row.verdict is Verdict.FAIL)
        return _attached(as_yaml(images), "application/yaml", "review.yml")


def _attached(text: str, kind: str, name: str) -> Response:
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _add_masks(app: FastAPI, desk: Desk) -> None:
    @app.post("/api/scans/{name}/review", responses=_NONE | {409: {"description": "the mask is another one by now"}})
    def say(name: Name, said: Said) -> Mask:
        """Say something of a mask; what is left out stays as it was."""
        row = desk.row(name)
        if said.mask_sha256 != row.listed.mask_sha256:
            raise HTTPException(409, _CHANGED)
        words = {key: value for key in ("verdict", "comment") if (value := getattr(said, key)) is not None}
        desk.record.say(row.listed.name, said.by, row.listed.mask_sha256, **words)
        return Mask.of(desk.row(name))

    @app.get("/api/scans/{name}/view", responses=_NONE)
    def shown(name: Name) -> dict[str, Any]:
        """Get what the page shows: size, images, labels."""
        return {**desk.open(desk.row(name)).told}

    @app.get("/api/scans/{name}/view/{image}/{number}", response_class=Response, responses=_NONE)
    def slice_(name: Name, image: str, number: int) -> Response:
        """Get a slice of the view: 2 bytes a voxel in little endian, or of ``mask`` one."""
        arrays = desk.open(desk.row(name)).arrays
        if image not in arrays or not 0 <= number < len(arrays[image]):
            raise HTTPException(404, "The scan has no such slice.")
        return Response(arrays[image][number].tobytes(), media_type="application/octet-stream")

    @app.post("/api/scans/{name}/painted", responses=_NONE | {409: {"description": "the mask is another one by now"}})
    async def painted(name: Name, by: str, base: str, request: Request) -> dict[str, str]:
        """Save a painted mask beside the automatic one, and measure it; the body as of `serve`."""
        return await desk.paint(desk.row(name), by, base, request)

    @app.get("/api/scans/{name}/files/{which}/{file}", response_class=FileResponse, responses=_NONE)
    def file(name: Name, which: str, file: str) -> FileResponse:
        """Download a file of a mask; its page names them."""
        listed = desk.row(name).listed
        there = {place.name: place for place in desk.source.files(listed.name).get(which.capitalize(), ())}
        if file not in there:
            raise HTTPException(404, "The scan has no such file.")
        return shell.download(there[file], f"{which}-{file}")

    @app.exception_handler(ChangedError)
    async def changed(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": _CHANGED}, 409)
