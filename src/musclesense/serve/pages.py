"""The page: every state of it is written here, in HTML; its scripts add progress, the viewer and painting."""

from importlib.util import find_spec

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from musclesense.serve import shell
from musclesense.serve.answers import result_of
from musclesense.serve.desk import Desk
from musclesense.serve.safety import Guard
from musclesense.serve.shell import FLAGS, SAID
from musclesense.serve.store import Job, Kind, State
from musclesense.serve.work import EXAMPLES
from musclesense.vocabulary import Limbs, Region


def add(app: FastAPI, desk: Desk, guard: Guard) -> None:
    """Add the page to the interface for programs."""
    kept = f"{desk.settings.keep_hours:g} hours"
    page = shell.add(
        app,
        guard,
        home="New scan",
        kept=f"Uploads and results are removed after {kept}, or when you delete them.",
    )

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        most = desk.settings.upload_mb
        seg = find_spec("highdicom") is not None
        return page("home", most=most, regions=tuple(Region), limbs=tuple(Limbs), examples=EXAMPLES, dicom_seg=seg)

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
            rows=result.rows,
            changes=result.changes,
            totals=[row for row in result.rows if row["slice"] == "all"],
            flags={flag: said for flag, said in FLAGS.items() if flag in flags},
            warnings=[note.text for note in status.notes if note.level == "warning"],
            remarks=[note.text for note in status.notes if note.level != "warning"],
            downloads=[(one, desk.status(one).files) for one in ([found] if latest is found else [latest, found])],
            said_of=SAID,
        )

    def _gone(found: Job | None) -> HTMLResponse:
        code = 410 if found and found.state.is_gone else 404
        return page("gone", code, state=found.state if found else None, keep=kept)

    @app.post("/jobs/{name}/delete", include_in_schema=False)
    def delete(name: str) -> Response:
        desk.jobs.end(desk.job(name).id, State.DELETED)
        return RedirectResponse(f"/jobs/{name}", 303)
