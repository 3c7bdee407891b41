"""The pages of the list and of one mask."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from musclesense.errors import InputError
from musclesense.serve import shell
from musclesense.serve.review.desk import Desk, Row
from musclesense.serve.review.record import Verdict
from musclesense.serve.safety import Guard
from musclesense.serve.shell import FLAGS, SAID

_SHOWN: Mapping[str, tuple[str, Callable[[Row], bool]]] = {
    "all": ("all", lambda row: True),
    "open": ("not judged", lambda row: row.verdict is Verdict.OPEN),
    "fail": ("failed", lambda row: row.verdict is Verdict.FAIL),
    "pass": ("passed", lambda row: row.verdict is Verdict.PASS),
    "flagged": ("flagged", lambda row: bool(row.listed.flags)),
    "corrected": ("corrected", lambda row: row.listed.corrected is not None),
}
"""Which masks can be chosen: what that is called, and whether one is among them."""


def add(app: FastAPI, desk: Desk, guard: Guard) -> None:
    """Add the pages to the interface for programs."""
    source = desk.source
    kept = f"What is said is kept in {desk.record.path.name} beside them."
    page = shell.add(app, guard, home="All masks", kept=kept)

    @app.get("/", include_in_schema=False)
    def home(show: str = "all") -> Response:
        rows = desk.rows()
        chosen = show if show in _SHOWN else "all"
        return page(
            "list",
            rows=[row for row in rows if _SHOWN[chosen][1](row)],
            choices=[(key, said, sum(map(holds, rows))) for key, (said, holds) in _SHOWN.items()],
            chosen=chosen,
            source=source,
            counts=Counter(row.verdict.value for row in rows),
            place=source.folder.resolve().name,
            failed=source.failed(),
        )

    @app.get("/scans/{name}", include_in_schema=False)
    def mask(name: str) -> Response:
        rows = desk.rows()
        at = next((at for at, row in enumerate(rows) if row.listed.id == name), None)
        if at is None:
            return page("gone", 404, state=None)
        row, around = rows[at], (*rows[at + 1 :], *rows[:at])
        return page(
            "mask",
            row=row,
            seen=row.listed,
            number=at + 1,
            count=len(rows),
            before=rows[at - 1] if at else None,
            after=rows[at + 1] if at + 1 < len(rows) else None,
            unjudged=next((other for other in around if other.verdict is Verdict.OPEN), None),
            source=source,
            flags={flag: FLAGS.get(flag, flag) for flag in row.listed.flags},
            warnings=[],
            remarks=[],
            files=source.files(row.listed.name),
            said_of=SAID,
            **_opened(desk, row),
        )


def _opened(desk: Desk, row: Row) -> dict[str, Any]:
    """Say what is shown of a mask, or why nothing is."""
    try:
        opened = desk.open(row)
    except InputError as error:
        return {"problems": error.problems, "measured": False, "scores": (), "rows": (), "changes": (), "totals": ()}
    rows = opened.rows or ()
    return {
        "problems": (),
        "measured": opened.rows is not None,
        "scores": opened.scores,
        "rows": [{**own, "slice": _number(own["slice"])} for own in rows],
        "totals": [own for own in rows if own["slice"] == "all"],
        "changes": opened.changes,
    }


def _number(text: str) -> str | int:
    return int(text) if text.isdigit() else text
