"""The page: every state of it is written here, in HTML; its scripts add progress, the viewer and painting."""

from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from musclesense.serve.answers import result_of
from musclesense.serve.desk import Desk
from musclesense.serve.safety import COOKIE, Guard
from musclesense.serve.store import Job, Kind, State
from musclesense.serve.work import EXAMPLES
from musclesense.storage.pages import page_template
from musclesense.vocabulary import Limbs, Region

_PACKAGE = "musclesense.serve"
_LONGEST_FORM = 4096
FLAGS = {
    "cut": "the edge of the image cuts muscle; totals leave that out",
    "limb_cut": "the edge of the image cuts fat of the limb; totals of fat leave that out",
    "left_out": "the slice was not asked for",
    "off_level": "the slice shows another part of the body than the region; totals leave it out",
}
"""What the flags of a table mean to a reader."""
_SAID = {
    "mask.nii.gz": "the mask, in the voxels of the scan (NIfTI)",
    "measurements.csv": "all measurements, by slice and limb",
    "changes.csv": "what was changed in the automatic mask",
    "qc.html": "a page to judge the mask by, in one file",
    "qc.png": "a picture of it",
    "run.json": "how it was made",
    "dseg.tsv": "names of the labels (BIDS)",
    "labels-itk-snap.txt": "names of the labels for ITK-SNAP",
    "labels-slicer.ctbl": "names of the labels for 3D Slicer",
    "fat.nii.gz": "the fat image",
    "water.nii.gz": "the water image",
    "image.nii.gz": "the image",
    "fat_fraction.nii.gz": "the fat fraction of each voxel",
}


def add(app: FastAPI, desk: Desk, guard: Guard) -> None:
    """Add the page to the interface for programs."""
    app.mount("/static", StaticFiles(directory=str(files(_PACKAGE) / "static")), name="static")

    def page(name: str, code: int = 200, **shown: Any) -> HTMLResponse:
        text = page_template(_PACKAGE, f"templates/{name}.html").render(
            keep=f"{desk.settings.keep_hours:g} hours", signs_in=desk.settings.token is not None, **shown
        )
        return HTMLResponse(text, code)

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        most = desk.settings.upload_mb
        return page("home", most=most, regions=tuple(Region), limbs=tuple(Limbs), examples=EXAMPLES)

    @app.post("/jobs", include_in_schema=False)
    async def submit(request: Request) -> Response:
        return RedirectResponse(f"/jobs/{await desk.submit(request)}", 303)

    @app.get("/jobs/{name}", include_in_schema=False)
    def job(name: str) -> Response:
        found = desk.store.find(name)
        if found is None or found.state.is_gone or found.kind is not Kind.SEGMENT:
            return _gone(found)
        status = desk.status(found)
        if found.state is not State.DONE:
            return page("waiting", job=found, status=status)
        latest = desk.store.latest(found)
        result = result_of(desk.store.folder(latest.id))
        flags = {flag for row in result.rows for flag in str(row["flags"]).split()}
        return page(
            "result",
            job=found,
            status=status,
            result=result,
            totals=[row for row in result.rows if row["slice"] == "all"],
            flags={flag: said for flag, said in FLAGS.items() if flag in flags},
            warnings=[note.text for note in status.notes if note.level == "warning"],
            remarks=[note.text for note in status.notes if note.level != "warning"],
            downloads=[(one, desk.status(one).files) for one in ([found] if latest is found else [latest, found])],
            said_of=_SAID,
        )

    def _gone(found: Job | None) -> HTMLResponse:
        return page("gone", 410 if found and found.state.is_gone else 404, state=found.state if found else None)

    @app.post("/jobs/{name}/delete", include_in_schema=False)
    def delete(name: str) -> Response:
        desk.jobs.end(desk.job(name).id, State.DELETED)
        return RedirectResponse(f"/jobs/{name}", 303)

    @app.get("/sign-in", include_in_schema=False)
    def ask() -> Response:
        return page("sign_in", wrong=False)

    @app.post("/sign-in", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _LONGEST_FORM:
                raise HTTPException(413, "This is no token.")
        given = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        if not guard.is_token(given.strip()):
            return page("sign_in", 401, wrong=True)
        answer = RedirectResponse("/", 303)
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, guard.session, httponly=True, samesite="strict", secure=secure, path="/")
        return answer

    @app.exception_handler(Exception)
    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, AnyHTTPException):  # `Guard` writes down what and where
            error = HTTPException(500, "The server could not answer; the fault is the program's.")
        if request.url.path.startswith("/api"):
            return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        if error.status_code in (404, 410):
            return page("gone", error.status_code, state=None)
        return page("refused", error.status_code, said=error.detail)
