"""What was said is kept at once, whole, and nobody's words are lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.serve.review.record import FORMAT, Record, Verdict, as_yaml


def test_what_is_said_is_there_for_the_next_to_read(tmp_path: Path) -> None:
    said = Record(tmp_path).say("S1", " A.  Reader ", "abc", verdict=Verdict.FAIL, comment="two\nlines")
    assert (said.by, said.comment, said.verdict) == ("A. Reader", "two lines", Verdict.FAIL)
    assert Record(tmp_path).latest() == {"S1": said}
    content = json.loads((tmp_path / "review.json").read_text())
    assert content["format"] == FORMAT and content["entries"][0]["verdict"] == "fail"
    assert content["entries"][0]["at"].endswith("+00:00")


def test_verdict_and_comment_are_said_apart(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.say("S1", "A", "abc", comment="hm")
    record.say("S1", "A", "abc", verdict=Verdict.PASS)
    entry = record.say("S1", "A", "abc", comment="good")
    assert (entry.verdict, entry.comment) == (Verdict.PASS, "good")
    assert len(record.entries()) == 1
    assert record.say("S1", "A", "abc", verdict=Verdict.OPEN).verdict is Verdict.OPEN


def test_of_two_people_both_are_kept(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.say("S1", "A", "abc", verdict=Verdict.PASS, comment="mine")
    record.say("S2", "A", "def", verdict=Verdict.PASS)
    last = record.say("S1", "B", "abc", verdict=Verdict.FAIL)
    assert [(one.scan, one.by) for one in record.entries()] == [("S1", "A"), ("S2", "A"), ("S1", "B")]
    assert record.latest()["S1"] == last and last.comment == "mine"


def test_another_mask_is_not_judged_yet(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.say("S1", "A", "abc", verdict=Verdict.PASS, comment="kept")
    entry = record.say("S1", "A", "other", comment="new")
    assert entry.verdict is Verdict.OPEN and [one.mask_sha256 for one in record.entries()] == ["abc", "other"]


def test_many_pages_at_once_lose_nothing(tmp_path: Path) -> None:
    def one(number: int) -> None:
        Record(tmp_path).say(f"S{number % 7}", f"reader {number % 3}", "abc", comment=f"word {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(42)))
    entries = Record(tmp_path).entries()
    assert {(int(entry.scan[1:]), entry.by) for entry in entries} == {(n % 7, f"reader {n % 3}") for n in range(42)}


@pytest.mark.parametrize("by", ["", "   ", "\n", "x" * 101, "a\x00b", "a\u202eb"])
def test_a_name_is_needed(by: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="your name: give 1 to 100"):
        Record(tmp_path).say("S1", by, "abc", verdict=Verdict.PASS)
    assert not (tmp_path / "review.json").exists()


@pytest.mark.parametrize("by", ["Müller", "李", "J. O'Neill-Smith", "=1+1", "x" * 100])
def test_any_name_is_one(by: str, tmp_path: Path) -> None:
    assert Record(tmp_path).say("S1", by, "abc").by == by


ENTRY = {"scan": "S1", "verdict": "pass", "comment": "", "by": "A", "at": "", "mask_sha256": ""}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        "{}",
        '{"entries": 3}',
        '{"entries": [3]}',
        json.dumps({"entries": [ENTRY | {"verdict": "good"}]}),
        json.dumps({"entries": [ENTRY | {"by": 3}]}),
        json.dumps({"entries": [{"scan": "S1"}]}),
        json.dumps({"format": FORMAT + 1, "entries": []}),
    ],
)
def test_a_damaged_or_newer_record_is_told_and_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / "review.json").write_text(content)
    for attempt in (lambda record: record.entries(), lambda record: record.say("S1", "A", "abc", comment="x")):
        with pytest.raises(InputError, match=r"review\.json"):
            attempt(Record(tmp_path))
    assert (tmp_path / "review.json").read_text() == content


def test_further_keys_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "review.json").write_text(json.dumps({"format": 1, "entries": [ENTRY | {"later": 1}], "more": 2}))
    assert Record(tmp_path).latest()["S1"].verdict is Verdict.PASS


@given(st.lists(st.text(max_size=30)))
@example(["\x85", "M\xfcller"])
@example(["a\u2028b"])
def test_the_list_for_correction_is_read_as_it_was(images: list[str]) -> None:
    read: Any = yaml.safe_load(as_yaml(images))
    assert read == {"FILES_SEG": images}
