"""Jobs on disk: a table of them in one file of SQLite, and a folder for each."""

import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from musclesense.storage.records import read_json

OUTCOME, SAID = "outcome.json", "said.json"
"""What a job's process leaves: how it ended, and how far it has come."""
_MOST_STARTS = 2
_REMEMBERED_SECONDS = 30 * 86400
"""For so long it is known of a job that it has expired."""
_TABLE = """
create table if not exists jobs (
    number integer primary key autoincrement, id text unique not null, kind text not null, state text not null,
    parent text, options text not null, created real not null, finished real, starts integer not null default 0
)
"""


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    DELETED = "deleted"

    @property
    def is_gone(self) -> bool:
        """Whether nothing is kept of it."""
        return self in (State.EXPIRED, State.DELETED)


class Kind(StrEnum):
    """What a job does."""

    SEGMENT = "segment"
    MEASURE = "measure"
    """Measures a mask that was painted, of the job that is its parent."""


class FullError(Exception):
    """As many jobs wait as may."""


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        number: Its place among all.
        id: What names it outside; nobody can guess it.
        kind: What it does.
        state: Where it stands.
        parent: The job whose mask it measures.
        options: What is asked for.
        created: When it came, in seconds since 1970.
        finished: When it ended.
        starts: How often it was begun.
    """

    number: int
    id: str
    kind: Kind
    state: State
    parent: str | None
    options: Mapping[str, Any]
    created: float
    finished: float | None
    starts: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """Understand a row of the table."""
        told = dict(row)
        known = {"kind": Kind(told["kind"]), "state": State(told["state"]), "options": json.loads(told["options"])}
        return cls(**told | known)


class Store:
    """Jobs below a folder, which is this user's alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._jobs, self._file = folder / "jobs", folder / "jobs.sqlite"
        self._jobs.mkdir(exist_ok=True, mode=0o700)
        with self._open() as table:
            table.execute("pragma journal_mode=wal")
            table.execute(_TABLE)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=30)) as table, table:
            table.row_factory = sqlite3.Row
            yield table

    def _rows(self, query: str, *values: Any) -> list[Job]:
        with self._open() as table:
            return [Job.of(row) for row in table.execute(query, values).fetchall()]

    def new_folder(self) -> tuple[str, Path]:
        """Make the folder of a job to come, and its name."""
        name = secrets.token_hex(16)
        folder = self.folder(name)
        folder.mkdir(mode=0o700)
        return name, folder

    def folder(self, name: str) -> Path:
        """Give the folder of a job, whose name this class made."""
        return self._jobs / name

    def add(self, name: str, kind: Kind, options: Mapping[str, Any], *, most: int, parent: str | None = None) -> None:
        """Let a job wait.

        Raises:
            FullError: ``most`` wait already.
        """
        with self._open() as table:
            added = table.execute(
                "insert into jobs (id, kind, state, parent, options, created) select ?, ?, ?, ?, ?, ? "
                "where (select count(*) from jobs where state = 'queued') < ?",
                (name, kind, State.QUEUED, parent, json.dumps(dict(options)), time.time(), most),
            )
        if not added.rowcount:
            raise FullError

    def find(self, name: str) -> Job | None:
        """Find a job by its name."""
        return next(iter(self._rows("select * from jobs where id = ?", name)), None)

    def latest(self, job: Job, *states: State) -> Job:
        """Give the last measurement of a corrected mask of a job that is done or in a state, or the job itself."""
        states = (State.DONE, *states)
        query = f"select * from jobs where parent = ? and state in ({', '.join('?' * len(states))}) order by number"
        return [job, *self._rows(query, job.id, *states)][-1]

    def ahead(self, job: Job) -> int:
        """Count the jobs that are begun before one that waits."""
        with self._open() as table:
            query = "select count(*) from jobs where state = 'queued' and (kind = 'measure') * 1e12 - number > ?"
            return int(table.execute(query, ((job.kind is Kind.MEASURE) * 1e12 - job.number,)).fetchone()[0])

    def claim(self) -> Job | None:
        """Take the job that is next: a person waits for each measurement, so these are first."""
        query = (
            "update jobs set state = 'running', starts = starts + 1 where number = (select number from jobs "
            "where state = 'queued' order by kind = 'measure' desc, number limit 1) returning *"
        )
        return next(iter(self._rows(query)), None)

    def finish(self, name: str, state: State) -> None:
        """Write down that a job which ran has ended; one that was deleted meanwhile stays so.

        The images of one that failed are gone before it is said to have failed.
        """
        if state is State.FAILED:
            self._keep_reason(name)
        with self._open() as table:
            query = "update jobs set state = ?, finished = ? where id = ? and state = 'running'"
            table.execute(query, (state, time.time(), name))

    def _keep_reason(self, name: str) -> None:
        """Remove all of a job that failed but why it did: the images are of no more use, and may name a patient."""
        for place in self.folder(name).glob("*"):
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            elif place.name not in (OUTCOME, SAID):
                place.unlink(missing_ok=True)

    def let_wait(self, name: str) -> None:
        """Let a job that ran wait again, as if it had not begun."""
        with self._open() as table:
            query = "update jobs set state = 'queued', starts = starts - 1 where id = ? and state = 'running'"
            table.execute(query, (name,))

    def end(self, name: str, state: State) -> None:
        """Remove all that is kept of a job and of the measurements of its masks; ``state`` says why."""
        for job in self._rows("select * from jobs where id = ? or parent = ?", name, name):
            with self._open() as table:
                query = "update jobs set state = ?, options = '{}', finished = ? where number = ?"
                table.execute(query, (state, time.time(), job.number))
            shutil.rmtree(self.folder(job.id), ignore_errors=True)

    def forget_older(self, job: Job) -> None:
        """Remove earlier measurements of the same scan's mask, which the last one takes the place of."""
        query = "select * from jobs where parent = ? and number < ? and state in ('done', 'failed')"
        for other in self._rows(query, job.parent, job.number):
            if other.id != job.options.get("base"):
                self.end(other.id, State.DELETED)

    def recover(self) -> list[Job]:
        """Put in order what an earlier server left; gives the jobs that wait again or have failed.

        A job that had ended is done. Another waits again, once: it may be what ended the server.
        """
        known = {job.id for job in self._rows("select * from jobs where state not in ('expired', 'deleted')")}
        for folder in self._jobs.iterdir():
            if folder.name not in known:  # an upload that did not come to its end
                shutil.rmtree(folder, ignore_errors=True)
        begun = self._rows("select * from jobs where state = 'running'")
        for job in begun:
            outcome = self.folder(job.id) / OUTCOME
            if outcome.is_file():
                self.finish(job.id, State(read_json(outcome, remedy="submit the scan again")["state"]))
            elif job.starts >= _MOST_STARTS:
                self.finish(job.id, State.FAILED)
            else:
                with self._open() as table:
                    table.execute("update jobs set state = 'queued' where number = ?", (job.number,))
        return begun

    def expire(self, seconds: float) -> None:
        """Remove what is older than so many seconds, and forget what was removed long ago."""
        now = time.time()
        query = "select * from jobs where state in ('done', 'failed') and parent is null and finished < ?"
        for job in self._rows(query, now - seconds):
            self.end(job.id, State.EXPIRED)
        with self._open() as table:
            query = "delete from jobs where state in ('expired', 'deleted') and finished < ?"
            table.execute(query, (now - _REMEMBERED_SECONDS,))
