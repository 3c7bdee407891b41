"""Lines on stderr and exit code 2, or the traceback."""

import pytest

from musclesense.errors import InputError, report_input_errors


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


def test_problems_are_kept_apart() -> None:
    error = InputError("one", "two")
    assert error.problems == ("one", "two")
    assert str(error) == "one\ntwo"
