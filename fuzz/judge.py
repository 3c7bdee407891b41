"""What an outcome is: a right result, a clean refusal, or a failure of the project."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from fuzz.case import Case, Verdict
from fuzz.sandbox import MOST_SECONDS, Outcome

RIGHT, REFUSED = "right", "refused"
_MOST_LINES = 1001
_LONGEST_LINE = 3000
_NOT_FOR_USERS = re.compile(r"Traceback|object at 0x|<class '|Warning:|^error: *$")

Listing = Mapping[str, tuple[int, int]]


def listing(folder: Path) -> Listing:
    """Give every path below a folder with its type, size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        # The time of a folder changes when a draft in it comes and goes.
        time = 0 if path.is_dir() else state.st_mtime_ns
        found[str(path.relative_to(folder))] = (state.st_mode, time)
    return found


def judge(case: Case, outcome: Outcome, folder: Path, before: Listing) -> str:
    """Give `RIGHT`, `REFUSED`, or what is wrong in a few words.

    Args:
        case: What was asked.
        outcome: What became of it.
        folder: Where it ran.
        before: What was in it before.
    """
    if outcome.timed_out:
        return f"took more than {MOST_SECONDS:g} s"
    if outcome.code == 0:
        if outcome.err and (wrong := _unclear(outcome.err, error=False)):
            return f"noise on stderr beside a result: {wrong}"
        if case.verdict is Verdict.REFUSE:
            return "taken, and must be refused"
        if case.untold is not None and case.untold in outcome.err:
            return f"the notes beside a result hold {case.untold!r}"
        if case.told is not None and (case.told not in outcome.err or bool(case.told) != bool(outcome.err)):
            return f"the notes beside a result must hold {case.told!r}"
        wrong = case.right(folder, outcome.out)
        return RIGHT if wrong is None else f"wrong result: {wrong}"
    if outcome.code != 2:
        return f"exit code {outcome.code}: {_last_line(outcome.err)}"
    if wrong := _unclear(outcome.err):
        return wrong
    if outcome.out:
        return "half a result on stdout beside a refusal"
    if (after := listing(folder)) != before:
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        return f"left {', '.join(changed[:3])} after a refusal"
    if case.verdict is Verdict.ACCEPT:
        return "refused, and must be taken"
    if case.names not in outcome.err:
        return f"refused without naming {case.names}"
    return REFUSED


def _unclear(err: str, *, error: bool = True) -> str | None:
    """Say what is wrong with the lines of a refusal, or with the notes beside a result."""
    if not err.endswith("\n"):
        return "no line on stderr with exit code 2" if error else "half a line"
    lines = err[:-1].split("\n")
    if len(lines) > _MOST_LINES:
        return f"{len(lines)} lines of errors"
    told = [line.startswith("error: ") for line in lines]
    if sorted(told) != told or told[-1] != error:  # notes come first
        return f"a line on stderr that is {'no' if error else 'an'} error line: {lines[-1][:80]!r}"
    for line in lines:
        if len(line) > _LONGEST_LINE:
            return f"an error line of {len(line)} characters"
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line):
            return "control characters in an error line"
        if _NOT_FOR_USERS.search(line):
            return f"an error line that is not for users: {line[:120]!r}"
    return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "nothing said"
