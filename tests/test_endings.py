"""One line and the shell's exit code where a command is stopped, or nobody listens to it."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musclesense import endings
from musclesense.cli.main import main
from musclesense.cohort.table import CohortTable

from .shared.waiting import LONGEST_SECONDS, end

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
WORK = """
import os, sys, tempfile, time
from pathlib import Path
from musclesense.endings import told

with told(), tempfile.TemporaryDirectory(dir='.') as draft:
    Path(draft, 'half').write_text('x')
    print('ready', flush=True)
    {work}
"""
FOR_EVER = "time.sleep(3600)"
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in an empty folder; one that a test gives up is ended with all that it started."""
    processes: list[subprocess.Popen[str]] = []

    def begin(work: str) -> "subprocess.Popen[str]":
        code, pipe = [sys.executable, "-c", WORK.format(work=work)], subprocess.PIPE
        process = subprocess.Popen(code, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in processes:
        end(process)


def stopped(process: "subprocess.Popen[str]", *numbers: int) -> tuple[int, list[str]]:
    for number in numbers:
        process.send_signal(number)
    _, err = process.communicate(timeout=LONGEST_SECONDS)
    return process.returncode, err.splitlines()


@pytest.fixture
def handlers() -> Iterator[None]:
    """What handles signals is as before, after a test that stops a command of this process."""
    before, hook = {number: signal.getsignal(number) for number in SIGNALS}, sys.unraisablehook
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_a_command_in_a_line(start: Start, tmp_path: Path, number: int, times: int) -> None:
    code, (line,) = stopped(start(FOR_EVER), *[number] * times)
    assert code == 128 + number
    assert line.startswith("stopped by ") and line.endswith(f": {endings.AGAIN}")
    assert list(tmp_path.iterdir()) == [], "drafts are gone"


def test_of_two_different_signals_the_first_counts(start: Start) -> None:
    code, lines = stopped(start(FOR_EVER), signal.SIGINT, signal.SIGTERM)
    assert code in (130, 143), "the system may hand over the later one first"
    assert len(lines) == 1


def test_a_third_signal_ends_a_command_that_does_not_come_to_an_end(start: Start) -> None:
    hangs = (
        "print('in', flush=True); time.sleep(3600)\n    finally: print('out', flush=True); " + "time.sleep(3600); " * 9
    )
    process = start(f"try: {hangs}")
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "out\n"
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
    assert stopped(process) == (130, [])


def test_a_process_that_is_left_is_not_waited_for(start: Start) -> None:
    work = (
        "import multiprocessing as m\n"
        "    waits = lambda: [endings.leave_signals_to_parent(), time.sleep(3600)]\n"
        "    child = m.get_context('fork').Process(target=waits)\n"
        "    child.start()\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(3600)"
    )
    process = start(f"from musclesense import endings\n    {work}")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert stopped(process, signal.SIGINT)[0] == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_killed_processes_leave_is_freed_without_a_word(start: Start) -> None:
    lock = "lock = __import__('multiprocessing').get_context('spawn').Lock()"
    assert stopped(start(f"{lock}; os._exit(7)")) == (7, [])


def test_what_becomes_of_a_signal_in_a_library_is_no_error(start: Start) -> None:
    work = "try: time.sleep(3600)\n    except BaseException as error: raise RuntimeError('lost a worker') from error"
    code, (line,) = stopped(start(work), signal.SIGTERM)
    assert (code, line[:21]) == (143, "stopped by SIGTERM: n")


def test_a_signal_that_python_could_not_raise_is_raised_again(start: Start) -> None:
    work = (
        "kill = lambda self: os.kill(os.getpid(), 15)\n"
        "    thing = type('Thing', (), {'__del__': kill})()\n"
        "    del thing\n"
        "    print('on', flush=True)\n    time.sleep(3600)"
    )
    process = start(work)
    assert process.stdout is not None and process.stdout.readline() == "on\n", "it was swallowed"
    assert stopped(process) == (143, [f"stopped by SIGTERM: {endings.AGAIN}"])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_still_is(tmp_path: Path, number: int) -> None:
    ignoring = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n"
    code = ignoring + WORK.format(work=f"os.kill(os.getpid(), {int(number)}); print('on')")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("ready\non\n", ""), "as under nohup, and in the background of a script"


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
def test_what_must_not_be_half_done_is_done_first(start: Start, numbers: list[int]) -> None:
    kills = "; ".join(f"os.kill(os.getpid(), {int(number)})" for number in numbers)
    inner = f"with held(): {kills}\n        print('whole', flush=True)"
    work = f"from musclesense.endings import held\n    with held():\n        {inner}\n    {FOR_EVER}"
    process = start(work)
    assert process.stdout is not None and process.stdout.readline() == "whole\n"
    code, (line,) = stopped(process)
    assert code == 128 + numbers[0] and line.startswith("stopped by ")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_no_import_is_broken_off(start: Start, tmp_path: Path, number: int, times: int) -> None:
    kill = "os.kill(os.getpid(), sys.number)\n" * times
    (tmp_path / "slow.py").write_text(f"import os, sys\n{kill}print('whole', flush=True)\n")
    process = start(f"sys.path.append('.'); sys.number = {int(number)}; import slow\n    {FOR_EVER}")
    assert process.stdout is not None and process.stdout.readline() == "whole\n"
    code, (line,) = stopped(process)
    assert code == 128 + number and line.startswith("stopped by ")


def test_a_command_that_an_import_runs_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "runs_it.py").write_text(WORK.format(work=FOR_EVER))
    code = [sys.executable, "-c", "import runs_it"]
    process = subprocess.Popen(code, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert stopped(process, signal.SIGTERM) == (143, [f"stopped by SIGTERM: {endings.AGAIN}"])


def test_handlers_are_as_before_where_nothing_came() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="other"), endings.told():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise ValueError("other")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_way_on_is_the_command_s_or_what_knows_better(handlers: None, capsys: pytest.CaptureFixture[str]) -> None:
    for better, said in ((None, endings.GO_ON), ("the jobs go on", "the jobs go on")):
        with pytest.raises(SystemExit) as ended, endings.told(endings.GO_ON):
            try:
                os.kill(os.getpid(), signal.SIGHUP)
            except endings.Stopped as stop:
                raise endings.Stopped(stop.number, better) from None
        assert ended.value.code == 129
        assert capsys.readouterr().err == f"stopped by SIGHUP, as when its terminal is closed: {said}\n"


def test_no_failure_of_the_work_is_taken_for_a_stop() -> None:
    assert not issubclass(endings.Stopped, Exception | KeyboardInterrupt)
    with pytest.raises(SystemExit) as ended, endings.told():
        sys.exit(5)
    assert ended.value.code == 5


# What is printed


VERB = [sys.executable, "-m", "musclesense"]
PRINTS = (["--version"], ["segment", "--help"], ["--help"], ["folds", "COHORT"])


@pytest.fixture(scope="module")
def cohort(write_cohort: Callable[[Path], CohortTable], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A table."""
    return str(write_cohort(tmp_path_factory.mktemp("cohort")).path)


@pytest.mark.parametrize(("unbuffered", "words"), [*(("1", words) for words in PRINTS[2:]), *(("", w) for w in PRINTS)])
def test_a_closed_pipe_is_the_end_without_a_word(words: list[str], unbuffered: str, cohort: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [cohort if word == "COHORT" else word for word in words]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([*VERB, *words], stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, ""), "128 and SIGPIPE, as of other commands in a shell"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["folds", "COHORT"], ["train", "--cfg", "job"]])
def test_a_full_disk_below_what_is_printed_is_a_line(words: list[str], unbuffered: str, cohort: str) -> None:
    words = [cohort if word == "COHORT" else word for word in words]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*VERB, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    said = "error: standard output: cannot be written (No space left on device); write it elsewhere; "
    assert (done.returncode, done.stderr) == (2, f"{said}files of the command are whole\n")


@pytest.mark.parametrize("stream", ["/dev/full", "a closed pipe"])
def test_what_cannot_be_told_changes_nothing(stream: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("w") as full:
        errors = full.fileno() if stream == "/dev/full" else writer
        refused = subprocess.run([*VERB, "check", "nope.csv"], stdout=subprocess.PIPE, stderr=errors, cwd=tmp_path)
        code = "from musclesense.messages import *; to_console(); log.info('epoch 1'); print('trained')"
        goes_on = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors)
    os.close(writer)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert goes_on.stdout == b"trained\n", "a training goes on though nobody listens"


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "<&-", "<&- 1>&- 2>&-"])
def test_closed_streams_are_no_files_of_the_command(closed: str, cohort: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m musclesense folds {cohort} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("outer folds" in done.stdout) == ("1>&-" not in closed)


def test_a_command_in_a_program_leaves_its_streams(capsys: pytest.CaptureFixture[str], cohort: str) -> None:
    before = sys.stdout
    main(["folds", cohort])
    assert sys.stdout is before
    assert "outer folds" in capsys.readouterr().out


_NOTING = """
import runpy, signal, sys
noted, original = [], signal.signal
def noting(number, handler):
    if number == signal.SIGHUP:
        noted.append(handler is not signal.SIG_DFL)
    return original(number, handler)
signal.signal = noting
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__") if sys.argv[0].endswith(".py") else \
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit:
    pass
print("heard:", *(int(heard) for heard in noted))
"""


@pytest.mark.parametrize("words", [["train.py"], ["musclesense", "train"], ["musclesense", "models"]])
def test_a_command_listens_from_its_beginning_to_its_end(words: list[str]) -> None:
    """Between what it imports and what it does, too: a signal in a gap would end it without a word."""
    command = [sys.executable, "-c", _NOTING, *words, *(["wdith=3"] if words[-1] != "models" else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    heard = done.stdout.splitlines()[-1].removeprefix("heard: ").split()
    assert heard[0] == "1" and heard.count("0") == 1 and heard[-1] == "0", done.stderr


def test_a_line_is_written_at_once_so_that_no_signal_comes_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class Stream(io.StringIO):
        def write(self, text: str, /) -> int:
            if text:
                written.append(text)
            return super().write(text)

    monkeypatch.setattr("sys.stderr", Stream())
    endings.say("one line")
    endings.say("an open one", end="")
    assert written == ["one line\n", "an open one"]
