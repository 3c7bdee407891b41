"""Lines on stderr and exit code 2, or the traceback."""

from typing import Any

import pytest

from musclesense.errors import ArgumentError, InputError, one_line, refuse, report_input_errors


def test_each_problem_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, report_input_errors(debug=False):
        raise InputError("a.csv, line 2: bad", "a.csv, line 3: worse")
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["error: a.csv, line 2: bad", "error: a.csv, line 3: worse"]


def test_hundreds_of_problems_are_all_listed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [f"cohort.csv, line {line}: no such file" for line in range(2, 602)]
    with pytest.raises(SystemExit), report_input_errors(debug=False):
        raise InputError(*problems)
    assert capsys.readouterr().err.splitlines() == [f"error: {problem}" for problem in problems]


def test_debug_lets_the_error_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="bad"), report_input_errors(debug=True):
        raise InputError("bad")
    assert capsys.readouterr().err == ""


def test_other_errors_and_no_error_pass() -> None:
    with pytest.raises(ZeroDivisionError), report_input_errors(debug=False):
        _ = 1 / 0
    with report_input_errors(debug=False):
        done = True
    assert done


def test_a_package_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, report_input_errors(debug=False):
        raise ModuleNotFoundError("No module named 'hydra.core'", name="hydra.core")
    assert stopped.value.code == 2
    said = "error: this needs the package hydra-core, which is not installed; pip install hydra-core"
    assert capsys.readouterr().err.splitlines() == [said]
    for debug, name in ((True, "hydra"), (False, "musclesense.nope")):
        with pytest.raises(ModuleNotFoundError), report_input_errors(debug=debug):
            raise ModuleNotFoundError(name=name)


@pytest.mark.parametrize("kind", [PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError, OSError])
def test_a_file_that_the_system_refuses_is_named(kind: type[OSError], capsys: pytest.CaptureFixture[str]) -> None:
    error = kind(28, "No space left on device", "runs/.sweep")
    with pytest.raises(SystemExit) as stopped, report_input_errors(debug=False):
        raise error
    assert stopped.value.code == 2
    said = "error: runs/.sweep: No space left on device; correct that, or give another place\n"
    assert capsys.readouterr().err == said
    for debug, other in ((True, error), (False, OSError("of no file"))):
        with pytest.raises(OSError), report_input_errors(debug=debug):
            raise other


def test_problems_are_kept_apart() -> None:
    error = InputError("one", "two")
    assert error.problems == ("one", "two")
    assert str(error) == "one\ntwo"


# Past failures, found by `make fuzz`


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert one_line("a\nb\x1b[31m\u202ec\ud800") == "a\\nb\\x1b[31m\\u202ec\\ud800"
    assert one_line("Müller 名前 🦵") == "Müller 名前 🦵"


def test_the_middle_of_a_very_long_line_is_left_out() -> None:
    line = one_line("a" * 5000 + "b" * 5000)
    assert len(line) < 1100
    assert line.startswith("aaa") and line.endswith("bbb") and "(9000 characters)" in line


def test_of_very_many_problems_the_first_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), report_input_errors(debug=False):
        raise InputError(*(f"problem {number}" for number in range(10_000)))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1001
    assert lines[0] == "error: problem 0"
    assert lines[-1] == "error: and 9000 more problems; correct these first"


def test_the_command_line_tells_of_options_in_place_of_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {"te345": ("MAG", "PHASE"), "phase_unit": "", "fat": "{x}"}
    error = ArgumentError("give {te345} with {phase_unit}, or {fat}", **given)
    assert str(error) == "give te345=(MAG, PHASE) with phase_unit, or fat={x}"
    with pytest.raises(SystemExit), report_input_errors(debug=False):
        raise error
    assert capsys.readouterr().err == "error: give --te345 MAG PHASE with --phase-unit, or --fat {x}\n"
    assert isinstance(error, ValueError)


def test_all_problems_are_refused_together_and_none_is_no_problem() -> None:
    refuse(iter([]))
    with pytest.raises(InputError) as raised:
        refuse(problem for problem in ("a.csv: is empty", "b.csv: is empty"))
    assert raised.value.problems == ("a.csv: is empty", "b.csv: is empty")
