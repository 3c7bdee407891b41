"""Two people of one machine and one ``runs/``: with rights for both, and without."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import PROJECT
from ..shared.waiting import wait_until

pytestmark = pytest.mark.faults

FIRST, SECOND, GROUP, NO_GROUP = 54321, 54322, 54320, 65534
SWEEP = ("-m", "outer=0", "inner=0..1", "experiment=smoke", "study=shared", "trainer.max_epochs=4")
NO_RIGHTS = "cannot be written (Permission denied); give a writable place with free space"

Somebody = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def somebody() -> Somebody:
    """Say as whom a command is started: a user of one's own group, of another group, too, or of none."""

    def of(user: int, *groups: int, umask: int = 0o022) -> dict[str, Any]:
        return {"user": user, "group": NO_GROUP, "extra_groups": groups, "umask": umask}

    if os.geteuid() != 0:
        pytest.skip("only root can start commands of several users")
    reads = [sys.executable, "-c", f"import lightning, musclesense; open({str(PROJECT / 'train.py')!r})"]
    try:
        closed = subprocess.run(reads, capture_output=True, **of(SECOND)).returncode != 0
    except PermissionError:  # the interpreter itself lies in a folder of root's
        closed = True
    if closed:
        pytest.skip("this Python, or the project, is closed to other users")
    return of


@pytest.fixture
def common(undisturbed: Any) -> Iterator[Path]:
    """A folder that all users reach, with ``runs`` and ``data`` of a group; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "runs").mkdir()
    undisturbed.lend_phantom(folder)
    for path in (folder / "runs", folder / "data", *folder.glob("data/**/*")):
        os.chown(path, FIRST, GROUP)
        path.chmod(0o2770 if path.is_dir() else 0o660)
    yield folder
    shutil.rmtree(folder)


def errors(stderr: str) -> list[str]:
    assert "Traceback" not in stderr, stderr
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def test_what_one_has_begun_another_of_the_group_ends(
    common: Path, somebody: Somebody, start: Any, train: Any, row: Any
) -> None:
    first, second = (somebody(user, GROUP, umask=0o002) for user in (FIRST, SECOND))
    process = start(common, *SWEEP, **first)
    wait_until((common / "runs/shared/outer0_inner0/checkpoints/last.ckpt").exists, process, every=0.002)
    process.kill()
    process.communicate()
    done = train(common, *SWEEP, **second)
    assert done.returncode == 0, done.stderr
    assert errors(done.stderr) == []
    assert len(list(common.glob("runs/shared/*/done.json"))) == 2
    written = {path: path.stat() for folder in ("runs", "data") for path in (common / folder).rglob("*")}
    assert {state.st_uid for state in written.values()} == {FIRST, SECOND}
    assert {state.st_gid for state in written.values()} == {GROUP}, "the first can go on, too"
    assert all(state.st_mode & 0o060 == 0o060 for state in written.values())
    row("two users of one group", "1", "what the first had begun, the second ended")


@pytest.mark.parametrize(
    ("who", "umask", "named"),
    [
        ("another of the group, where the first wrote for nobody else", 0o022, "runs/shared"),
        ("another of the group, where the first let nobody else in", 0o077, "runs/shared"),
        ("somebody of another group", 0o002, "runs"),
    ],
)
def test_who_has_no_rights_is_told_of_the_folder(
    common: Path, somebody: Somebody, train: Any, row: Any, who: str, umask: int, named: str
) -> None:
    own = ("inner=0", "trainer.max_epochs=1")
    done = train(common, *SWEEP[:2], *own, *SWEEP[3:5], **somebody(FIRST, GROUP, umask=umask))
    assert done.returncode == 0, done.stderr
    before = {path: path.stat().st_mtime_ns for path in (common / "runs").rglob("*")}
    groups = () if "of another" in who else (GROUP,)
    elsewhere = tempfile.mkdtemp(dir=common)
    os.chown(elsewhere, SECOND, NO_GROUP)
    second = somebody(SECOND, *groups)
    refused = train(common, *SWEEP[:5], "trainer.max_epochs=1", f"data={elsewhere}", **second)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert errors(refused.stderr) == [f"error: {named}: {NO_RIGHTS}"]
    assert {path: path.stat().st_mtime_ns for path in (common / "runs").rglob("*")} == before
    assert list(Path(elsewhere).iterdir()) == []
    verb = [sys.executable, "-m", "musclesense", "report", "runs/shared"]
    reported = subprocess.run(verb, cwd=common, capture_output=True, text=True, **second)
    (line,) = errors(reported.stderr)
    assert reported.returncode == 2 and line.startswith("error: runs/shared") and "Permission denied" in line, line
    row(f"no rights: {who}", "1", f"exit code 2, one line that names {named}; nothing written")
