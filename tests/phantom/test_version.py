"""The number that stands for the phantom's images: golden bytes hold it, and records name it."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.phantom import golden
from tests.phantom.golden import CHANGED, Golden

from musclesense.phantom.cohorts.presets import PRESETS
from musclesense.phantom.scanner import signal
from musclesense.phantom.version import OWN_VERSIONS, PHANTOM_VERSION, current_version, version_of


@pytest.fixture(scope="module")
def kept() -> Golden:
    return Golden.read()


@pytest.mark.parametrize("name", [*PRESETS, "synthetic slices"])
def test_this_version_of_the_phantom_gives_the_images_it_always_gave(name: str, kept: Golden) -> None:
    assert kept.versions[name] == current_version(name), "remake the golden bytes: python -m tests.phantom.golden"
    assert not golden.problems(golden.made(name), kept), CHANGED


def test_a_machine_that_rounds_differently_is_no_change_but_a_constant_is(
    kept: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = next(iter(kept.digests.values()))
    unknown, known = (replace(kept, digests={name: digests}) for name in ("another machine", golden.fingerprint()))
    arrays = golden.made("smoke")
    assert not golden.problems(arrays, unknown)
    fat = next(name for name in arrays if name.endswith("/fat"))
    rounded = arrays[fat].copy()
    rounded[0, 0] += 1
    assert not golden.problems({**arrays, fat: rounded}, unknown)
    assert golden.problems({**arrays, fat: rounded}, known)
    monkeypatch.setattr(signal, "DENSITY", signal.DENSITY * np.float32(1.01))
    assert golden.problems(golden.made("smoke"), unknown)


def test_a_version_of_one_generator_leaves_the_others() -> None:
    assert set(OWN_VERSIONS) <= set(PRESETS)
    assert {current_version(name) for name in ("smoke", "demo", "paper", "any_scanner")} == {PHANTOM_VERSION} == {1}
    assert current_version("any_contrast") > 1


def test_arrays_that_come_or_go_are_named(kept: Golden) -> None:
    arrays = golden.made("secondary")
    name = next(name for name in arrays if name.endswith("/mask"))
    assert golden.problems({other: array for other, array in arrays.items() if other != name}, kept) == [name]


@pytest.mark.parametrize(
    ("record", "version"),
    [
        ({"phantom": 1}, 1),
        ({"phantom": 7, "sources": "290b571bbd7cfbad"}, 7),
        ({"sources": "290b571bbd7cfbad"}, 1),
        ({"preset": "robust", "sources": "290b571bbd7cfbad"}, 1),
        ({"sources": "0123456789abcdef"}, None),
        ({"phantom": "1"}, None),
        ({"phantom": True}, None),
        ({}, None),
    ],
)
def test_a_record_tells_the_version_by_its_number_or_by_its_old_digest(
    record: dict[str, Any], version: int | None
) -> None:
    assert version_of(record) == version


def test_a_phantom_of_the_release_before_is_this_version(data: Path) -> None:
    """Its training is in ``tests/integration/test_before.py``."""
    before, now = golden.DIGESTS.parent / "before" / "phantom-smoke-1", data / "phantom-smoke-1"
    assert version_of(json.loads((before / "phantom.json").read_text())) == PHANTOM_VERSION == 1
    files = [path.relative_to(before) for path in before.rglob("*") if path.is_file() and path.name != "phantom.json"]
    assert len(files) == 2 + 24 * 9 + 3
    for file in files:
        if file.name.endswith(".nii.gz"):
            one, other = (nib.load(folder / file) for folder in (before, now))
            assert np.array_equal(one.affine, other.affine)
            assert golden.other(np.asanyarray(other.dataobj), np.asanyarray(one.dataobj)) <= golden.MOST_OTHER, file
        elif file.suffix == ".csv":  # a table of today may have further columns
            rows, wanted = (list(csv.DictReader((folder / file).read_text().splitlines())) for folder in (now, before))
            assert [{name: row[name] for name in wanted[0]} for row in rows] == wanted
        else:
            assert (before / file).read_bytes() == (now / file).read_bytes()
