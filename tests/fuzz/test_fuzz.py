"""A slice of ``make fuzz``, and that what it calls a failure is one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="the fuzzer forks and limits memory")

from fuzz.case import Case, Draw, Verdict
from fuzz.judge import REFUSED, RIGHT, judge, listing
from fuzz.sandbox import Outcome

ROOT = Path(__file__).parents[2]
CASE = Case(arguments=("check", "cohort.csv"), changes="none")


def outcome(**values: object) -> Outcome:
    usual = {"code": 2, "out": "", "err": "error: x: y; z\n", "seconds": 0.1, "mebibytes": 1.0, "timed_out": False}
    return Outcome(**{**usual, **values})  # type: ignore[arg-type]


def test_a_slice_of_the_inputs_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "60", "--seed", "1", "--jobs", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| all \| 6\d \| \d+ \| \d+ \| 0 \|", done.stdout)


def test_the_same_seed_makes_the_same_input() -> None:
    first, second = (Draw(7, 1, 2).damaged(b"x" * 100) for _ in range(2))
    assert first == second
    assert first != Draw(7, 1, 3).damaged(b"x" * 100)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, REFUSED),
        ({"code": 0, "err": ""}, RIGHT),
        ({"code": 0}, "noise on stderr"),
        ({"code": 0, "err": "fat.nii.gz: 3 voxels are NaN; taken as air\n"}, RIGHT),
        ({"code": 0, "err": "x.py:3: RuntimeWarning: divided\n"}, "noise on stderr"),
        ({"code": 1, "err": "Traceback\nValueError: x\n"}, "exit code 1: ValueError: x"),
        ({"code": -11, "err": ""}, "exit code -11"),
        ({"err": ""}, "no line on stderr"),
        ({"err": "error: x\nmore\n"}, "no error line"),
        ({"err": "cohort.csv: read as UTF-16\nerror: x\n"}, REFUSED),
        ({"err": "cohort.csv: read as UTF-16\n"}, "no error line"),
        ({"err": "error: \x1b[31mx\n"}, "control characters"),
        ({"err": "error: <class 'int'>\n"}, "not for users"),
        ({"err": "error: " + "x" * 5000 + "\n"}, "an error line of"),
        ({"out": "1 subject\n"}, "half a result"),
        ({"timed_out": True}, "took more than"),
    ],
)
def test_outcomes_are_judged(values: dict[str, object], said: str, tmp_path: Path) -> None:
    assert said in judge(CASE, outcome(**values), tmp_path, listing(tmp_path))


def test_what_is_known_of_an_input_is_held_against_the_outcome(tmp_path: Path) -> None:
    taken, refused = outcome(code=0, err=""), outcome()
    must, must_not = (Case(arguments=(), changes="", verdict=verdict) for verdict in (Verdict.ACCEPT, Verdict.REFUSE))
    wrong = Case(arguments=(), changes="", right=lambda folder, said: "another shape")
    assert judge(must, refused, tmp_path, listing(tmp_path)) == "refused, and must be taken"
    assert judge(must_not, taken, tmp_path, listing(tmp_path)) == "taken, and must be refused"
    assert judge(wrong, taken, tmp_path, listing(tmp_path)) == "wrong result: another shape"
    before = listing(tmp_path)
    (tmp_path / "half").touch()
    assert judge(CASE, refused, tmp_path, before) == "left half after a refusal"


def test_a_command_is_stopped_by_its_limits(tmp_path: Path) -> None:
    """In a process of its own: this one has threads, and must not fork."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom fuzz import sandbox\n"
        "sandbox.MOST_SECONDS = 1\n"
        "here = Path(sys.argv[1])\n"
        "def hungry(): bytearray(2**33)\n"
        "def busy():\n  while True: pass\n"
        "def waiting(): __import__('time').sleep(10**5)\n"
        "def said(): print('out'); sys.exit(2)\n"
        "for command in (hungry, busy, waiting, said):\n"
        "  sandbox._MOST_WAITING = 2 if command is waiting else 10**4\n"
        "  o = sandbox.run(command, folder=here, streams=here)\n"
        "  print(o.code, o.timed_out, o.out.strip(), o.err.strip().split(chr(10))[-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines() == ["1 False  MemoryError", "-24 True  ", "-9 True  ", "2 False out "]
