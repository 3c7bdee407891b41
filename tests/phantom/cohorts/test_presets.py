"""Presets: how many subjects and acquisitions, how severe, how often they come."""

from collections import Counter
from itertools import pairwise

import pytest

from musclesense.errors import InputError
from musclesense.phantom.cohorts.presets import PRESETS, Group, Preset, find_preset
from musclesense.phantom.cohorts.subjects import Subject, list_subjects
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.tables import read_table
from musclesense.vocabulary import Region


def groups(subjects: list[Subject]) -> Counter[str]:
    return Counter(subject.group.name for subject in subjects)


def acquisitions(subjects: list[Subject]) -> Counter[Region]:
    return Counter(region for subject in subjects for visit in subject.visits for region in visit.regions)


def retested(subjects: list[Subject]) -> list[Subject]:
    return [subject for subject in subjects if any(visit.weeks == 2 for visit in subject.visits)]


def test_paper_has_the_subjects_and_acquisitions_of_the_paper() -> None:
    subjects = list_subjects(find_preset("paper"))
    assert len(subjects) == 166
    assert groups(subjects) == {"ALS": 21, "KD": 21, "IBM": 20, "CMT": 20, "HYPOPP": 12, "control": 72}
    assert acquisitions(subjects) == {Region.CALF: 310, Region.THIGH: 261}
    assert len(retested(subjects)) == 8
    assert all(subject.visits[1].regions == (Region.CALF, Region.THIGH) for subject in retested(subjects))


def test_paper_is_acquired_as_in_the_paper() -> None:
    preset = find_preset("paper")
    stack = preset.stack
    assert preset.sequence == "dixon" and stack is not None
    assert (stack.voxel_mm, stack.slice_mm, stack.slices) == (0.6, 10.0, 11)
    assert stack.rows * stack.voxel_mm == pytest.approx(180), "the paper's field of view"


def test_secondary_has_nine_acquisitions_of_another_sequence() -> None:
    preset = find_preset("secondary")
    subjects = list_subjects(preset)
    assert groups(subjects) == {"DMD": 4, "control": 5}
    assert sum(subject.group.ages[1] < 18 for subject in subjects) == 8
    assert sum(acquisitions(subjects).values()) == 9
    stack = preset.stack
    assert preset.sequence == "turbo_spin_echo" and stack is not None
    assert (stack.voxel_mm, stack.slice_mm, stack.slices) == (0.36, 3.0, 4)
    assert stack.columns * stack.voxel_mm == pytest.approx(160, abs=0.36)


def test_any_scanner_alternates_regions() -> None:
    preset = find_preset("any_scanner")
    assert preset.stack is None
    assert acquisitions(list_subjects(preset)) == {Region.CALF: 60, Region.THIGH: 60}


def test_demo_has_thirty_subjects_and_72_acquisitions() -> None:
    subjects = list_subjects(find_preset("demo"))
    assert groups(subjects) == {"control": 11, "IBM": 5, "CMT": 5, "ALS": 5, "KD": 4}
    assert len(retested(subjects)) == 6
    assert sum(acquisitions(subjects).values()) == 72


def test_in_visits_some_come_again_after_two_weeks_and_some_after_a_year() -> None:
    subjects = list_subjects(find_preset("visits"))
    assert groups(subjects) == {"control": 5, "CMT": 5, "IBM": 5}
    assert acquisitions(subjects) == {Region.CALF: 34, Region.THIGH: 34}
    assert len(retested(subjects)) == 7
    assert sum(visit.weeks == 52 for one in subjects for visit in one.visits) == 12


def test_smoke_has_twelve_subjects_of_three_groups() -> None:
    subjects = list_subjects(find_preset("smoke"))
    assert groups(subjects) == {"control": 6, "IBM": 3, "CMT": 3}
    assert all(len(subject.visits) == 1 for subject in subjects)


@pytest.mark.parametrize("name", PRESETS)
def test_groups_have_patterns(name: str) -> None:
    preset = find_preset(name)
    if preset.stack is not None:
        assert {group.name for group in preset.groups} <= set(PATTERNS)


@pytest.mark.parametrize("name", PRESETS)
def test_severities_of_a_group_follow_on_from_each_other(name: str) -> None:
    preset = find_preset(name)
    for group in preset.groups:
        ranges = [subject.severity for subject in list_subjects(preset) if subject.group is group]
        assert ranges[0][0] == group.severity[0]
        assert ranges[-1][1] == pytest.approx(group.severity[1])
        for (_, end), (start, _) in pairwise(ranges):
            assert start == pytest.approx(end)


@pytest.mark.parametrize("name", PRESETS)
def test_visits_are_numbered_in_time(name: str) -> None:
    for subject in list_subjects(find_preset(name)):
        assert [visit.session for visit in subject.visits] == list(range(1, len(subject.visits) + 1))
        weeks = [visit.weeks for visit in subject.visits]
        assert weeks[0] == 0
        assert weeks == sorted(set(weeks))


def test_those_who_come_again_are_spread_over_the_severities() -> None:
    followed = [
        subject.severity[0]
        for subject in list_subjects(find_preset("paper"))
        if subject.group.name == "control" and subject.visits[-1].weeks == 52
    ]
    assert len(followed) == 20
    assert min(followed) < 0.1 and max(followed) > 0.4


def test_where_one_region_is_followed_the_other_is_not_scanned_again() -> None:
    group = Group(name="IBM", subjects=1, severity=(0.2, 0.4), followed={Region.CALF: (1,)})
    (subject,) = list_subjects(Preset(groups=(group,), stack=find_preset("smoke").stack))
    assert [visit.regions for visit in subject.visits] == [(Region.CALF, Region.THIGH), (Region.CALF,)]


@pytest.mark.parametrize("ages", [(10.0, 18.0), (81.0, 90.0), (18.0, 30.0), (60.0, 40.0), (-1.0, 5.0), (30.0, 30.0)])
def test_ages_that_cannot_be_drawn_are_refused(ages: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"^group IBM: ages .* cannot be drawn; .* below 18, or .* 20 to 80$"):
        Group(name="IBM", subjects=1, severity=(0.2, 0.4), ages=ages)


def test_presets_are_those_of_the_table_in_its_order() -> None:
    assert tuple(read_table("cohorts/presets.yaml")) == PRESETS


def test_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError,
        match=r"'gold' is unknown; use smoke, demo, paper, .*, any_contrast or any_dixon",
    ):
        find_preset("gold")
