"""Held-out phantoms: small cohorts made once, scored, and two networks compared on the same slices."""

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.validity import held_out, paired

from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.phantom.cohorts.presets import Stack, find_preset
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.records import write_csv

from ..shared.networks import write_checkpoint
from ..shared.runs import rows_of


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Cohorts of few subjects, the paper's in coarse voxels."""
    folder = tmp_path_factory.mktemp("cohorts")
    few = held_out.few(find_preset("paper"), 0.01)
    coarse = replace(few, stack=Stack(rows=50, columns=110, voxel_mm=4.0, slices=3, points=1), groups=few.groups[:2])
    return {
        "paper": held_out.cohort(folder / "paper", coarse),
        **{
            name: held_out.cohort(folder / name, held_out.few(find_preset(name), 0.02))
            for name in ("any_scanner", "any_contrast")
        },
    }


def network(folder: Path, **options: object) -> Segmenter:
    path = write_checkpoint(folder / "best.ckpt", regions=("thigh", "calf"), **options)  # type: ignore[arg-type]
    return Segmenter.load(path)


def test_a_cohort_holds_some_of_each_group_and_is_made_once(tables: dict[str, Path]) -> None:
    rows = read_table(tables["paper"]).acquisitions
    assert {row.group for row in rows} == {"control", "ALS"} and all(row.slice is not None for row in rows)
    before = tables["paper"].stat().st_mtime_ns
    assert held_out.cohort(tables["paper"].parent, find_preset("smoke")) == tables["paper"]
    assert tables["paper"].stat().st_mtime_ns == before


def test_sets_are_those_that_suit_a_network(tables: dict[str, Path], tmp_path: Path) -> None:
    def sets(**options: object) -> list[str]:
        return [name for name, _, _ in held_out._sets(network(tmp_path, **options), tmp_path, tables)]

    both = {"muscle": [1], "other_muscle": [2]}
    single = {"soleus_left": [141], "soleus_right": [41], "adductor_longus": [7]}
    assert sets(channels=("fat",)) == ["paper", "scanner", "any"]
    assert sets(channels=("image",), placed_by="image", classes=both) == ["paper", "scanner", "any", "every"]
    assert sets(channels=("image",), placed_by="image", classes=single)[-1] == "single"
    assert sets(channels=("fat", "water")) == ["paper"]


def test_networks_are_scored_and_compared_on_the_same_slices(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, weight in (("one", 5.0), ("other", -5.0)):
        segmenter = network(tmp_path / name, channels=("fat",), weight=weight, bias=0.0)
        held_out.judge(segmenter, tmp_path / name / "out", tables)
    assert "\nscanner\n" in capsys.readouterr().out
    scans = rows_of(tmp_path / "one" / "out" / "paper" / "scans.csv")
    assert {row["region"] for row in scans} == {"calf", "thigh"} and all(row["fat_fraction_error"] for row in scans)
    compared = list(paired.compared(tmp_path / "one" / "out", tmp_path / "other" / "out"))
    assert {row["set"] for row in compared} == {"paper", "scanner", "any"}
    for row in compared:
        if (row["set"], row["measure"]) == ("paper", "dice"):
            assert row["difference"] != 0 and row["low"] <= row["difference"] <= row["high"]
            assert row["higher"] + row["lower"] == row["slices"] == 2


def scores(folder: Path, *dice: float | None, subjects: str = "abcd") -> Path:
    rows = [
        {"subject": subject, "session": "", "region": "calf", "slice": 0, "label": "muscle", "dice": value}
        for subject, value in zip(subjects, dice, strict=False)
    ]
    columns = (*paired.KEYS, *paired.MEASURES)
    folder.mkdir(parents=True)
    write_csv(folder / "slices.csv", columns, [dict.fromkeys(columns) | row for row in rows])
    return folder


def test_a_difference_is_over_the_slices_that_both_score(tmp_path: Path) -> None:
    one, other = scores(tmp_path / "a", 0.8, 0.9, None, 0.5), scores(tmp_path / "b", 0.9, 0.9, 0.4, 0.6)
    (row,) = paired.compared(one, other)
    assert (row["slices"], row["higher"], row["lower"]) == (3, 2, 0)
    assert row["difference"] == pytest.approx(0.2 / 3)
    assert 0 <= row["low"] <= row["difference"] <= row["high"] <= 0.1 + 1e-9


@pytest.mark.parametrize(("subjects", "said"), [("abce", "other slices"), ("abc", "other slices")])
def test_scores_of_other_slices_are_not_compared(subjects: str, said: str, tmp_path: Path) -> None:
    one, other = (
        scores(tmp_path / "a", 0.8, 0.9, 0.7, 0.5),
        scores(tmp_path / "b", 0.9, 0.9, 0.4, 0.6, subjects=subjects),
    )
    with pytest.raises(InputError, match=said):
        list(paired.compared(one, other))
    with pytest.raises(InputError, match=r"holds no slices.csv"):
        list(paired.compared(one, tmp_path / "none"))
