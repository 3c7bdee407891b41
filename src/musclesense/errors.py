"""The one family of errors that a user can mend: shown as a line without a traceback, exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Something the user gave cannot be used.

    The message names the file or option, the value and the remedy in one line.
    Several problems found together are kept apart in ``problems``.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DiskError(InputError):
    """A disk that is full or read-only: whatever is written there next would fare no better."""


@contextmanager
def report_input_errors(*, debug: bool) -> Iterator[None]:
    """Turn an `InputError` of the block into its lines on stderr and exit code 2; with ``debug``, let it through."""
    try:
        yield
    except InputError as error:
        if debug:
            raise
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
