"""Presets: how many subjects, how severe."""

from collections import Counter
from itertools import pairwise

import pytest

from musclesense.errors import InputError
from musclesense.phantom.generate import list_subjects
from musclesense.phantom.presets import PRESETS, find_preset


def test_demo_has_thirty_subjects_and_72_acquisitions() -> None:
    subjects = list_subjects(find_preset("demo"))
    assert Counter(subject.group for subject in subjects) == {"control": 11, "IBM": 5, "CMT": 5, "ALS": 5, "KD": 4}
    assert sum(subject.sessions == 2 for subject in subjects) == 6
    assert sum(subject.sessions for subject in subjects) * len(find_preset("demo").regions) == 72


def test_smoke_has_twelve_subjects_of_three_groups() -> None:
    subjects = list_subjects(find_preset("smoke"))
    assert Counter(subject.group for subject in subjects) == {"control": 6, "IBM": 3, "CMT": 3}
    assert all(subject.sessions == 1 for subject in subjects)


@pytest.mark.parametrize("name", PRESETS)
def test_severities_of_a_group_follow_on_from_each_other(name: str) -> None:
    preset = find_preset(name)
    for group in preset.groups:
        ranges = [subject.severity for subject in list_subjects(preset) if subject.group == group.name]
        assert ranges[0][0] == group.severity[0]
        assert ranges[-1][1] == pytest.approx(group.severity[1])
        for (_, end), (start, _) in pairwise(ranges):
            assert start == pytest.approx(end)


def test_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'gold' is unknown; use smoke or demo"):
        find_preset("gold")
