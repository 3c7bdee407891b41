"""Nested folds: nobody is tested twice, nobody is in two sets of a run, and the draw is balanced."""

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musclesense.cohort import folds as folds_module
from musclesense.cohort.folds import NestedFolds, describe, draw, load_or_draw, select, shortage
from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.errors import InputError
from musclesense.vocabulary import Region

# Generating whole tables is slow on a busy machine, which is no fault of what is tested.
quickly = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def cohorts(fewest: int = 7) -> st.SearchStrategy[list[Acquisition]]:
    """Tables of up to 40 subjects with one to four rows each."""
    regions = st.lists(st.sampled_from(Region), min_size=1, max_size=4)
    subjects = st.lists(st.tuples(st.sampled_from(["", "ALS", "CMT", "IBM"]), regions), min_size=fewest, max_size=40)
    return subjects.map(
        lambda drawn: [
            Acquisition(line=2, subject=f"S{number}", group=group, region=region)
            for number, (group, regions) in enumerate(drawn)
            for region in regions
        ]
    )


def cohort(subjects: int, groups: int = 2, regions: tuple[Region, ...] = tuple(Region)) -> list[Acquisition]:
    return [
        Acquisition(line=2, subject=f"S{number:02d}", group=f"g{number % groups}", region=region)
        for number in range(subjects)
        for region in regions
    ]


def table_of(rows: list[Acquisition], digest: str = "digest") -> CohortTable:
    return CohortTable(Path("cohort.csv"), tuple(rows), digest)


@quickly
@given(rows=cohorts(fewest=10), seed=st.integers(-5, 2**40), outer=st.integers(2, 5), inner=st.integers(2, 5))
def test_every_run_has_three_disjoint_sets_that_together_hold_everybody(rows, seed, outer, inner):
    folds = draw(rows, table="digest", seed=seed, outer=outer, inner=inner)
    everybody = {row.subject for row in rows}
    assert (len(folds.outer), {len(inner_folds) for inner_folds in folds.inner}) == (outer, {inner})
    for o in range(outer):
        for i in range(inner):
            split = folds.split(o, i)
            sets = [set(split.train), set(split.validation), set(split.test)]
            assert all(sets)
            assert sum(map(len, sets)) == len(everybody)
            assert set.union(*sets) == everybody


@quickly
@given(rows=cohorts(), seed=st.integers(0, 99))
def test_everybody_is_tested_once_and_validated_once_in_each_other_outer_fold(rows, seed):
    folds = draw(rows, table="digest", seed=seed)
    everybody = Counter({row.subject: 1 for row in rows})
    assert Counter(subject for d2 in folds.outer for subject in d2) == everybody
    for d2, inner in zip(folds.outer, folds.inner, strict=True):
        assert Counter(subject for d4 in inner for subject in d4) == everybody - Counter(d2)


@quickly
@given(rows=cohorts(), seed=st.integers(0, 99))
def test_folds_of_a_level_differ_by_one_subject_at_most(rows, seed):
    folds = draw(rows, table="digest", seed=seed)
    for level in (folds.outer, *folds.inner):
        sizes = [len(fold) for fold in level]
        assert max(sizes) - min(sizes) <= 1


@quickly
@given(rows=cohorts(), seed=st.integers(0, 99))
def test_every_fold_has_each_region_that_enough_subjects_have(rows, seed):
    folds = draw(rows, table="digest", seed=seed)
    for level in (folds.outer, *folds.inner):
        present = [{row.region for row in select(rows, fold)} for fold in level]
        for region in Region:
            subjects = {row.subject for row in rows if row.region == region}.intersection(sum(level, ()))
            if len(subjects) >= len(level):
                assert all(region in regions for regions in present)


def rows_of(rows: list[Acquisition], region: Region) -> list[Acquisition]:
    return [row for row in rows if row.region == region]


@quickly
@given(rows=cohorts(fewest=12), seed=st.integers(0, 99), region=st.sampled_from(Region))
def test_a_subject_is_in_the_same_folds_whichever_rows_are_used(rows, seed, region):
    whole = draw(rows, table="digest", seed=seed, among=rows)
    assert whole == draw(rows, table="digest", seed=seed), "of the whole table nothing is chosen"
    used = rows_of(rows, region)
    subjects = {row.subject for row in used}
    if len(subjects) < 10:  # a fold may then hold nobody
        return
    chosen = draw(used, table="digest", seed=seed, among=rows)
    assert {*chosen.subjects} == subjects
    pairs = [*zip(chosen.outer, whole.outer, strict=True)]
    pairs += [pair for both in zip(chosen.inner, whole.inner, strict=True) for pair in zip(*both, strict=True)]
    assert all({*own} == subjects.intersection(of_all) for own, of_all in pairs)


@quickly
@given(rows=cohorts(fewest=12), seed=st.integers(0, 99), region=st.sampled_from(Region))
def test_folds_of_chosen_rows_are_balanced(rows, seed, region):
    used = rows_of(rows, region)
    if shortage(len({row.subject for row in used}), 5, 5):
        return
    chosen = draw(used, table="digest", seed=seed, among=rows)
    for level in (chosen.outer, *chosen.inner):
        sizes = [len(fold) for fold in level]
        assert all(sizes) and max(sizes) - min(sizes) <= 1


def test_subjects_of_another_region_do_not_empty_a_fold():
    """Of 40 subjects only the first 7 have a thigh, too few to be in all 25 runs' sets by luck."""
    rows = cohort(40, regions=(Region.CALF,)) + cohort(7, regions=(Region.THIGH,))
    for seed in range(20):
        chosen = draw(rows_of(rows, Region.THIGH), table="digest", seed=seed, among=rows)
        assert len(chosen.subjects) == 7
        assert all(part for level in (chosen.outer, *chosen.inner) for part in level)


@quickly
@given(rows=cohorts(), seed=st.integers(0, 99), random=st.randoms(use_true_random=False))
def test_the_draw_does_not_depend_on_the_order_of_rows(rows, seed, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert draw(shuffled, table="digest", seed=seed) == draw(rows, table="digest", seed=seed)


def test_the_draw_is_the_same_in_every_process():
    program = (
        "from musclesense.cohort.folds import draw\n"
        "from musclesense.cohort.table import Acquisition, Region\n"
        "row = lambda n, r: Acquisition(line=2, subject=f'S{n:02d}', group=f'g{n % 2}', region=r)\n"
        "rows = [row(n, r) for n in range(9) for r in Region]\n"
        "print(draw(rows, table='digest', seed=3))"
    )
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert drawn == {str(draw(cohort(9), table="digest", seed=3))}


def test_the_draw_stays_the_same_from_version_to_version():
    """A change of the method changes everybody's folds: that must not happen unnoticed."""
    assert draw(cohort(9), table="digest", seed=0).outer == (
        ("S04", "S05"),
        ("S02", "S07"),
        ("S00", "S01"),
        ("S03", "S08"),
        ("S06",),
    )


def test_seeds_give_different_draws():
    assert len({draw(cohort(20), table="digest", seed=seed).outer for seed in range(5)}) == 5


def test_inner_folds_of_each_outer_fold_are_drawn_apart():
    rows = cohort(20)
    folds = draw(rows, table="digest", seed=0)
    for number, d2 in enumerate(folds.outer):
        d1 = [row for row in rows if row.subject not in d2]
        assert folds.inner[number] == folds_module._deal(d1, 5, salt=f"0/{number}")
        assert folds.inner[number] != folds_module._deal(d1, 5, salt="0")


@pytest.mark.parametrize("seed", range(5))
def test_a_balanced_table_gives_balanced_folds(seed):
    rows = cohort(40, groups=4)
    for d2 in draw(rows, table="digest", seed=seed).outer:
        tested = select(rows, d2)
        assert set(Counter((row.group, row.region) for row in tested).values()) == {2}
        assert len({row.group for row in tested}) == 4


@quickly
@given(rows=cohorts(fewest=10), seed=st.integers(0, 99))
def test_groups_are_spread_evenly_where_everybody_has_both_regions(rows, seed):
    group_of = {row.subject: row.group for row in rows}
    both = [dataclasses.replace(row, region=region) for row in rows for region in Region]
    folds = draw(both, table="digest", seed=seed)
    for group in set(group_of.values()):
        counts = [sum(group_of[subject] == group for subject in d2) for d2 in folds.outer]
        assert max(counts) - min(counts) <= 1


def test_many_sessions_of_one_subject_stay_together_and_are_evened_out():
    rows = [
        Acquisition(line=2, subject=f"S{number}", session=str(session), region=Region.CALF)
        for number in range(10)
        for session in range(1 + 4 * (number < 5))
    ]
    folds = draw(rows, table="digest", seed=1)
    assert [len(select(rows, d2)) for d2 in folds.outer] == [6] * 5


@given(outer=st.integers(2, 8), inner=st.integers(2, 8), subjects=st.integers(1, 20))
@quickly
def test_a_shortage_is_named_exactly_when_a_fold_would_be_empty(outer, inner, subjects):
    largest_outer_fold = len(range(0, subjects, outer))
    fits = subjects >= outer and subjects - largest_outer_fold >= inner
    assert (shortage(subjects, outer, inner) is None) == fits
    if fits:
        assert (
            draw(cohort(subjects), table="digest", seed=0, outer=outer, inner=inner).split(outer - 1, inner - 1).train
        )
    else:
        with pytest.raises(
            InputError, match=f"^{subjects} subjects? (is|are) too few for {outer} outer and {inner} inner"
        ):
            draw(cohort(subjects), table="digest", seed=0, outer=outer, inner=inner)


@pytest.mark.parametrize(("outer", "inner"), [(1, 5), (5, 1), (0, 5), (5, -3)])
def test_fewer_than_two_folds_are_refused(outer, inner):
    with pytest.raises(InputError, match="at least 2 are needed"):
        draw(cohort(20), table="digest", seed=0, outer=outer, inner=inner)


@pytest.mark.parametrize(
    ("outer", "inner", "said"),
    [
        (5, 0, "outer=5: no such fold; choose outer from 0 to 4"),
        (-1, 0, "outer=-1: no such fold; choose outer from 0 to 4"),
        (0, 3, "inner=3: no such fold; choose inner from 0 to 2"),
        ("0..4", 0, "outer=0..4: no such fold; choose outer from 0 to 4"),
    ],
)
def test_a_fold_that_does_not_exist_is_refused(outer, inner, said):
    with pytest.raises(InputError) as caught:
        draw(cohort(12), table="digest", seed=0, inner=3).split(outer, inner)
    assert str(caught.value) == said


@quickly
@given(rows=cohorts(), seed=st.integers(-5, 5))
def test_saved_folds_come_back_equal(tmp_path_factory, rows, seed):
    path = tmp_path_factory.mktemp("study") / "folds.json"
    drawn = draw(rows, table="digest", seed=seed)
    drawn.save(path)
    assert NestedFolds.load(path) == drawn


def test_folds_of_the_release_before_are_read_and_written_in_today_s_words(tmp_path):
    before = Path(__file__).parents[1] / "fixtures" / "before" / "study" / "folds.json"
    folds = NestedFolds.load(before)
    old = json.loads(before.read_text())
    assert [list(test) for test in folds.outer] == [fold["d2"] for fold in old["outer"]]
    assert [[list(own) for own in inner] for inner in folds.inner] == [fold["d4"] for fold in old["outer"]]
    folds.save(tmp_path / "folds.json")
    new = json.loads((tmp_path / "folds.json").read_text())
    assert new["format"] == 2 and {*new["outer"][0]} == {"test", "validation"}
    assert NestedFolds.load(tmp_path / "folds.json") == folds


@pytest.mark.parametrize("number", [3, "2", 0, True, None, 10**100])
def test_folds_of_a_format_that_is_not_known_are_refused(tmp_path, number):
    path = tmp_path / "folds.json"
    draw(cohort(12), table="digest", seed=0).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": number}))
    with pytest.raises(InputError, match=r"folds\.json: format ") as caught:
        NestedFolds.load(path)
    assert len(str(caught.value)) < len(str(path)) + 150


def _swap_subjects_between_tests(content):
    outer = content["outer"]
    outer[0]["test"][0], outer[1]["test"][0] = outer[1]["test"][0], outer[0]["test"][0]


def _test_one_twice(content):
    content["outer"][0]["test"].append(content["outer"][1]["test"][0])


def _empty_validation(content):
    d4 = content["outer"][0]["validation"]
    d4[1] += d4[0]
    d4[0] = []


def _subjects_as_text(content):
    content["outer"][0]["test"] = "S01"


@pytest.mark.parametrize(
    "spoil",
    [
        _swap_subjects_between_tests,
        _test_one_twice,
        _empty_validation,
        _subjects_as_text,
        lambda content: content.pop("seed"),
        lambda content: content["outer"].clear(),
        lambda content: content["outer"][0]["validation"].pop(),
    ],
)
def test_spoilt_folds_are_refused(tmp_path, spoil):
    path = tmp_path / "folds.json"
    draw(cohort(12), table="digest", seed=0).save(path)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"folds\.json: .*remove the study folder and start again$"):
        NestedFolds.load(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"outer": 3}', "\udcff"])
def test_a_file_that_holds_no_folds_is_refused(tmp_path, content):
    path = tmp_path / "folds.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"folds\.json: (no readable folds|cannot be read|is empty)"):
        NestedFolds.load(path)


def test_processes_that_start_together_draw_once(tmp_path, monkeypatch):
    draws = []

    def counted(*args, **kwargs):
        draws.append(1)
        return draw(*args, **kwargs)

    monkeypatch.setattr(folds_module, "draw", counted)
    rows = cohort(12)
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(load_or_draw, tmp_path / "s" / "folds.json", table_of(rows), rows, seed=4) for _ in range(8)
        ]
    assert {job.result() for job in jobs} == {draw(rows, table="digest", seed=4)}
    assert len(draws) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed 0 there, 1 asked for"),
        ({"outer": 4}, "outer folds 5 there, 4 asked for"),
        ({"inner": 3}, "inner folds 5 there, 3 asked for"),
        ({"table": table_of(cohort(12), "other")}, "cohort.csv has changed since"),
        ({"acquisitions": cohort(11)}, "1 subject differs, such as 'S11'"),
    ],
)
def test_folds_of_something_else_are_refused_with_the_difference(tmp_path, change, said):
    rows = cohort(12)
    asked: dict[str, Any] = {"table": table_of(rows), "acquisitions": rows, "seed": 0, "outer": 5, "inner": 5}
    drawn = load_or_draw(tmp_path / "folds.json", **asked)
    with pytest.raises(InputError) as caught:
        load_or_draw(tmp_path / "folds.json", **(asked | change))
    remedy = "give the study a new name or remove its folder"
    assert str(caught.value) == f"{tmp_path / 'folds.json'}: does not fit ({said}); {remedy}"
    assert load_or_draw(tmp_path / "folds.json", **asked) == drawn


def test_too_few_subjects_leave_no_file(tmp_path):
    with pytest.raises(InputError, match="4 subjects are too few"):
        load_or_draw(tmp_path / "folds.json", table_of(cohort(4)), cohort(4), seed=0)
    assert not (tmp_path / "folds.json").exists()


def test_description_counts_and_places_everybody():
    rows = cohort(9, groups=3)[:-1]
    folds = draw(rows, table="digest", seed=7, outer=3, inner=2)
    lines = describe(folds, rows).splitlines()
    assert lines[0] == "9 subjects, 17 acquisitions, seed 7: 3 outer folds of 2 inner folds"
    header = lines.index(next(line for line in lines if line.startswith("fold")))
    assert lines[header].split() == ["fold", "subjects", "acquisitions", "calf", "thigh", "g0", "g1", "g2"]
    counts = {line[: line.rindex("=") + 2].strip(): line.split("=")[-1].split()[1:] for line in lines[header + 1 :][:9]}
    for outer, d2 in enumerate(folds.outer):
        tested = select(rows, d2)
        thighs = sum(row.region == "thigh" for row in tested)
        assert counts[f"test outer={outer}"] == [str(n) for n in (3, len(tested), 3, thighs, 1, 1, 1)]
        for inner, d4 in enumerate(folds.inner[outer]):
            assert counts[f"validation outer={outer} inner={inner}"][0] == str(len(d4))
    places = {line.split()[0]: line.split()[1:] for line in lines[-9:]}
    assert places.keys() == set(folds.subjects)
    for subject, (tested_in, *validated_in) in places.items():
        assert subject in folds.outer[int(tested_in)]
        assert validated_in[int(tested_in)] == "-"
        assert all(n == "-" or subject in folds.inner[outer][int(n)] for outer, n in enumerate(validated_in))


def test_many_subjects_are_dealt_in_time():
    rows = [Acquisition(line=n, subject=f"S{n}", region=list(Region)[n % 2], group=str(n % 3)) for n in range(3000)]
    folds = draw(rows, table="", seed=0)
    assert {len(d2) for d2 in folds.outer} == {600}


@pytest.mark.parametrize(
    ("groups", "outer", "said"),
    [(101, 5, "101 groups are too many to balance"), (2, 201, "201 outer folds: at most 200")],
)
def test_what_cannot_be_balanced_is_refused(groups, outer, said):
    rows = [Acquisition(line=n, subject=f"S{n}", region=Region.CALF, group=str(n % groups)) for n in range(500)]
    with pytest.raises(InputError, match=said):
        draw(rows, table="", seed=0, outer=outer, inner=2)
