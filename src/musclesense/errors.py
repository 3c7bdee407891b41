"""The one family of errors that a user can mend: shown as a line without a traceback, exit code 2."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from musclesense.endings import say

_MOST_LINES = 1000
_LONGEST_LINE = 1000
_PACKAGES = {"hydra": "hydra-core", "skimage": "scikit-image", "yaml": "pyyaml"}
"""Packages that are called otherwise than what is imported of them."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the file or option, the value and the remedy in one line.
    Several problems found together are kept apart in ``problems``; ``at_command_line`` is how the command line tells
    them.

    >>> InputError("fat.nii.gz: is empty; give the whole file", "water.nii.gz: no such file").problems
    ('fat.nii.gz: is empty; give the whole file', 'water.nii.gz: no such file')
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = self.at_command_line = problems


class ArgumentError(InputError):
    """An argument of a function of this package cannot be used; the command line tells of its option instead.

    Args:
        problem: Names arguments as ``{name}``.
        arguments: What was given or is to be given for each; nothing: the name alone; several: the parts of a pair.

    >>> error = ArgumentError("{region}: the model was trained on calves; add {water}", region="thigh", water="FILE")
    >>> print(error)
    region=thigh: the model was trained on calves; add water=FILE
    >>> error.at_command_line
    ('--region thigh: the model was trained on calves; add --water FILE',)
    """

    def __init__(self, problem: str, /, **arguments: str | tuple[str, ...]) -> None:
        super().__init__(problem.format(**{name: _as_argument(name, value) for name, value in arguments.items()}))
        self.at_command_line = (problem.format(**{name: _as_option(name, value) for name, value in arguments.items()}),)


def plain(text: str) -> str:
    """Give a text that an `ArgumentError` tells as it is: its braces name no arguments."""
    return text.replace("{", "{{").replace("}", "}}")


def _as_argument(name: str, value: str | tuple[str, ...]) -> str:
    shown = value if isinstance(value, str) else f"({', '.join(value)})"
    return f"{name}={shown}" if shown else name


def _as_option(name: str, value: str | tuple[str, ...]) -> str:
    parts = (value,) if isinstance(value, str) else value
    return " ".join((f"--{name.replace('_', '-')}", *filter(None, parts)))


class DiskError(InputError):
    """A disk that is full or read-only: whatever is written there next would fare no better."""


def refuse(problems: Iterable[str]) -> None:
    """Raise an `InputError` of all problems, unless there are none."""
    if found := list(problems):
        raise InputError(*found)


@contextmanager
def collected(problems: list[str]) -> Iterator[None]:
    """Add the problems of an `InputError` of the block to ``problems``, so that others are found as well.

    >>> problems: list[str] = []
    >>> with collected(problems):
    ...     raise InputError("a.csv: no such file")
    >>> problems
    ['a.csv: no such file']
    """
    try:
        yield
    except InputError as error:
        problems.extend(problem for problem in error.problems if problem not in problems)


@contextmanager
def report_input_errors(*, debug: bool) -> Iterator[None]:
    """Turn an `InputError` of the block into its lines on stderr and exit code 2; with ``debug``, let it through.

    So is a package that is not installed, and a file or folder that the system refuses. Of very many problems the
    first thousand are shown, and how many there are.
    """
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")  # as stderr: a file's name may be no text
    try:
        yield
    except (InputError, ModuleNotFoundError, OSError) as error:
        problems = error.at_command_line if isinstance(error, InputError) else _problem_of(error)
        if debug or not problems:
            raise
        for problem in problems[:_MOST_LINES]:
            say(f"error: {one_line(problem)}")
        if (more := len(problems) - _MOST_LINES) > 0:
            say(f"error: and {more} more problems; correct these first")
        sys.exit(2)


def _problem_of(error: ModuleNotFoundError | OSError) -> tuple[str, ...]:
    """Give the line of an error that no command has made its own; none where the project itself is to blame."""
    if isinstance(error, OSError):
        refused = f"{error.filename}: {error.strerror}; correct that, or give another place"
        return (refused,) if error.filename and error.strerror else ()
    module = (error.name or "musclesense").partition(".")[0]
    if module == "musclesense":
        return ()
    package = _PACKAGES.get(module, module)
    return (f"this needs the package {package}, which is not installed; pip install {package}",)


def reason_of(error: BaseException) -> str:
    """Give what an error of a library says, in one line, or its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """Give the first line of an error that says something, or the error's name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def one_line(text: str) -> str:
    r"""Make text fit for a line of a terminal.

    What a terminal would obey or cannot show (line ends, escape sequences, marks of direction) is written as ``\n``,
    ``\x1b`` and the like, and the middle of what is very long is left out.
    """
    if len(text) > _LONGEST_LINE:
        left_out = len(text) - _LONGEST_LINE
        text = f"{text[: _LONGEST_LINE // 2]} ... ({left_out} characters) ... {text[-_LONGEST_LINE // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
