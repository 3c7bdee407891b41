"""What both pages have: their look, the files beside them, signing in, and how a refusal is shown."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from musclesense.serve.answers import FILES as KINDS
from musclesense.serve.safety import COOKIE, Guard
from musclesense.storage import niivue
from musclesense.storage.pages import page_template

_PACKAGE = "musclesense.serve"
_LONGEST_FORM = 4096
Page = Callable[..., HTMLResponse]
FLAGS = {
    "doubtful": "the mask is likely wrong there",
    "cut": "the edge of the image cuts muscle; totals leave that out",
    "limb_cut": "the edge of the image cuts fat of the limb; totals of fat leave that out",
    "left_out": "the slice was not asked for",
    "off_level": "the slice shows another part of the body than the region; totals leave it out",
}
"""What the flags of a table mean to a reader."""
SAID = {
    "mask.nii.gz": "the mask, in the voxels of the scan (NIfTI)",
    "mask.dcm": "the mask as DICOM-SEG, which holds the patient's name and number",
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
"""What the files of a result hold."""


def add(app: FastAPI, guard: Guard, *, home: str, kept: str) -> Page:
    """Add what both pages have; gives what makes a page of a template's name, a status and what is shown.

    Args:
        app: The interface for programs.
        guard: What wraps it.
        home: What the first page is called.
        kept: What becomes of the data, for the foot of each page.
    """
    viewer = niivue.is_packed()
    if viewer:
        app.mount("/static/niivue", StaticFiles(directory=niivue.FOLDER), name="niivue")
    app.mount("/static", StaticFiles(directory=str(files(_PACKAGE) / "static")), name="static")

    def page(name: str, code: int = 200, **shown: object) -> HTMLResponse:
        text = page_template(_PACKAGE, f"templates/{name}.html").render(home=home, kept=kept, niivue=viewer, **shown)
        return HTMLResponse(text, code)

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

    return page


def download(place: Path, name: str) -> FileResponse:
    """Give a file of a result to be saved under a name."""
    # A page of its own scripts, which must reach nothing of this one even if it is opened here.
    own = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads"} if place.suffix == ".html" else {}
    return FileResponse(place, media_type=KINDS[place.name], filename=f"musclesense-{name}", headers=own)
