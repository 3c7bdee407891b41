"""Synthetic slices on disk: each depends on its number alone, and is made once whoever makes it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.frame import normalise
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.storage.locks import locked_if_free
from musclesense.training.synthesis import pool as pools
from musclesense.training.synthesis.pool import Pool, Recipe
from musclesense.vocabulary import Region

from ...shared.waiting import LONGEST_SECONDS, wait_until

MUSCLE = LabelSet.from_config({"muscle": []})
RECIPE = Recipe(
    seed=3, regions=(Region.THIGH,), without=(), grid=Grid(6.4, 32, 64), labels=MUSCLE, column="mask", shard=4
)


@pytest.fixture
def pool(tmp_path: Path, drawn: list[Any]) -> Pool:
    made = Pool.below(tmp_path, RECIPE)
    made.begin()
    return made


def test_a_record_is_what_the_cache_would_hold_of_the_slice(drawn: list[Any]) -> None:
    record = RECIPE.make(5)
    (slice_,) = drawn
    native = slice_.stored(slice_.image)
    placement = RECIPE.grid.place(slice_.geometry, native)
    image, air = normalise(native, placement)
    np.testing.assert_array_equal(record["image"], image.astype(np.float16))
    assert record["air"] == np.float32(air)
    truth = placement.labels_to_grid(slice_.stored(slice_.mask), 1)
    np.testing.assert_array_equal(record["classes"], truth)
    assert 0 < truth.mean() < 1


def test_the_column_of_the_truth_is_chosen(drawn: list[Any]) -> None:
    sides = LabelSet.from_config({"a_right": [1], "a_left": [101]})
    record = replace(RECIPE, labels=sides, column="compartments").make(0)
    assert set(np.unique(record["classes"])) == {0, 1, 2}


def test_what_is_read_does_not_depend_on_who_drew_and_when(pool: Pool, tmp_path: Path) -> None:
    pool.fill(10)
    backwards = Pool.below(tmp_path / "again", RECIPE)
    for path in reversed(backwards.shards(10)):
        path.parent.mkdir(exist_ok=True, parents=True)
        backwards.make_shard(path, lambda: False)
    wanted = [9, 0, 3, 4, 9]
    records = pool.read(wanted)
    np.testing.assert_array_equal(records, backwards.read(wanted))
    for record, number in zip(records, wanted, strict=True):
        np.testing.assert_array_equal(record, RECIPE.make(number))
    assert len({record.tobytes() for record in pool.read(range(12))}) == 12, "no slice comes twice"
    assert sorted(path.name for path in pool.folder.glob("*.npy")) == [f"shard-0000{i}.npy" for i in range(3)]


@pytest.mark.parametrize(
    "changed",
    [
        *({"seed": 4}, {"regions": (Region.CALF,)}, {"without": ("disease",)}, {"grid": Grid(6.4, 32, 32)}),
        *({"shard": 8}, {"normalisation": "percentile"}),
    ],
)
def test_another_recipe_is_another_pool(changed: dict[str, Any]) -> None:
    assert Pool.below(Path(), replace(RECIPE, **changed)).folder != Pool.below(Path(), RECIPE).folder


def test_another_generator_is_another_pool_and_cannot_go_on_with_this_one(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Pool.open(pool.folder) == pool
    monkeypatch.setattr(pools, "current_version", lambda generator: 99 if generator == "any_scanner" else 1)
    assert Pool.below(pool.folder.parent, RECIPE).folder != pool.folder
    with pytest.raises(InputError, match="another version of the phantom"):
        Pool.open(pool.folder)


def test_a_recipe_names_its_generator_but_the_first_whose_pools_stay(tmp_path: Path) -> None:
    assert Pool.below(tmp_path, RECIPE).folder.name == "4669e3d3bf1b3c55"
    assert "generator" not in RECIPE.to_config()
    other = Pool.below(tmp_path, replace(RECIPE, generator="any_contrast"))
    other.begin()
    assert other.folder.name != "4669e3d3bf1b3c55"
    assert Pool.open(other.folder) == other and other.recipe.to_config()["generator"] == "any_contrast"


def test_a_slice_of_any_contrast_holds_both_kinds_of_muscle() -> None:
    labels = LabelSet.from_config({"muscle": [1], "other_muscle": [2]})
    recipe = replace(RECIPE, generator="any_contrast", labels=labels)
    records = [recipe.make(number) for number in range(4)]
    assert {int(value) for record in records for value in np.unique(record["classes"])} == {0, 1, 2}
    assert all(record["image"].std() > 0.1 for record in records)


FOUR = ("fat", "water", "te345", "te575")


@pytest.mark.parametrize("channels", [(), ("fat",), ("te575", "water"), FOUR])
def test_a_slice_of_a_dixon_acquisition_holds_the_images_asked_for(channels: tuple[str, ...], tmp_path: Path) -> None:
    recipe = replace(RECIPE, generator="any_dixon", channels=channels, shard=1)
    made = Pool.below(tmp_path, recipe)
    made.begin()
    made.fill(1)
    assert Pool.open(made.folder).recipe == recipe
    (record,) = made.read([0])
    whole = replace(recipe, channels=FOUR).make(0)
    wanted = [FOUR.index(name) for name in channels or ("fat",)]
    np.testing.assert_array_equal(np.atleast_3d(record["image"].T).T, whole["image"][wanted])
    np.testing.assert_array_equal(np.atleast_1d(record["air"]), whole["air"][wanted])
    np.testing.assert_array_equal(record["classes"], whole["classes"])
    assert not np.allclose(whole["image"][0], whole["image"][1], atol=0.5), "fat is not water"


def test_images_that_are_asked_for_make_another_pool() -> None:
    own = [replace(RECIPE, generator="any_dixon", channels=channels) for channels in ((), FOUR, FOUR[:2])]
    assert len({Pool.below(Path(), recipe).folder for recipe in own}) == 3


@pytest.mark.parametrize(
    ("slices", "named"),
    [("0", "--slices 0: give 1 or more"), ("4", "recipe.json: cannot be read (no such file); let a run")],
)
def test_what_cannot_be_filled_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, slices: str, named: str
) -> None:
    monkeypatch.setattr(os, "nice", lambda increment: increment)
    with pytest.raises(SystemExit) as raised:
        pools.main([str(tmp_path), "--slices", slices])
    (line,) = capsys.readouterr().err.splitlines()
    assert raised.value.code == 2 and line.startswith("error: ") and named in line


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe\.json: cannot be read"):
        Pool.open(tmp_path)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match=r"recipe\.json: no recipe"):
        Pool.open(tmp_path)


def test_a_recipe_of_a_newer_format_is_refused(pool: Pool) -> None:
    path = pool.folder / "recipe.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(InputError, match=r"recipe\.json: format 99 is newer than this Musclesense; update it"):
        Pool.open(pool.folder)


def test_a_shard_that_somebody_draws_is_left_to_them(pool: Pool, drawn: list[Any]) -> None:
    first, second = pool.shards(8)
    with locked_if_free(first) as mine:
        assert mine
        stopping = iter([False] * 5 + [True] * 9)
        pool.fill(8, lambda: next(stopping))
    assert [path.is_file() for path in (first, second)] == [False, True]
    assert len(drawn) == 4


def test_told_to_stop_it_leaves_no_half_file(pool: Pool, drawn: list[Any]) -> None:
    pool.fill(8, lambda: len(drawn) >= 6)
    assert [path.is_file() for path in pool.shards(8)] == [True, False]
    assert {path.name for path in pool.folder.iterdir() if not path.name.startswith(".")} == {
        "recipe.json",
        "shard-00000.npy",
    }


def test_a_process_draws_until_its_input_is_closed(tmp_path: Path) -> None:
    """The real generator, in processes of their own: two share the work, and end with the one that started them."""
    pool = Pool.below(tmp_path, replace(RECIPE, shard=1))
    pool.begin()
    command = [
        sys.executable,
        "-m",
        "musclesense.training.synthesis.pool",
        str(pool.folder),
        "--while-open",
        "--slices",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(slices: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*command, str(slices)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    with start(3) as one, start(3) as other:
        for process in (one, other):
            assert process.stderr is not None
            process.wait(LONGEST_SECONDS)
            assert (process.returncode, process.stderr.read()) == (0, b"")
    assert [path.is_file() for path in pool.shards(3)] == [True] * 3
    np.testing.assert_array_equal(pool.read([2])[0], pool.recipe.make(2))
    with start(100_000) as endless:
        wait_until(lambda: pool.shards(4)[-1].is_file())
        assert endless.stdin is not None
        endless.stdin.close()
        assert endless.wait(LONGEST_SECONDS) == 0
    assert not pool.shards(1000)[-1].is_file()


def test_the_recipe_survives_its_file() -> None:
    written = json.loads(json.dumps(RECIPE.to_config()))
    assert Recipe.from_config(written) == RECIPE
