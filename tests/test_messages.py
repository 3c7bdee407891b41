"""What is said beside results, and that a program that imports the project is left in peace."""

import io
import logging
import subprocess
import sys

import pytest
from rich.console import Console

from musclesense.messages import bars, log


def test_lines_are_written_above_the_bars_while_they_are_shown() -> None:
    written = io.StringIO()
    before = (list(log.handlers), log.level)
    with bars(Console(file=written, width=40)):
        log.info("[3 of 4] /a/very/long/path/that/is/longer/than/the/line")
    assert written.getvalue() == "[3 of 4] /a/very/long/path/that/is/longer/than/the/line\n"
    assert (list(log.handlers), log.level) == before


@pytest.mark.parametrize(("begin", "said"), [("", "lost\n"), ("to_console(); ", "begun\nlost\n")])
def test_a_program_is_told_warnings_alone_and_a_command_all(begin: str, said: str) -> None:
    code = f"from musclesense.messages import *; {begin}log.info('begun'); log.warning('lost')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", said)


def test_a_program_can_take_the_messages_itself(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "musclesense"):
        log.info("begun")
    assert caplog.messages == ["begun"]
