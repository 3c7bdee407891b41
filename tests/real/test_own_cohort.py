"""``docs/your-own-cohort.md``, typed as it stands, in a folder of its own with a smaller network."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort import checks
from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap

PROJECT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:`(?P<name>[\w./-]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
# One small training instead of the page's 25.
SMALLER = {"demo": "smoke", "0..4": "0..0"}
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Typed:
    """A command of the page, what the page says that it prints, and what it printed."""

    command: str
    expected: str
    printed: str
    code: int


@dataclass(frozen=True)
class Walk:
    """The folder in which the page was followed, and its commands."""

    folder: Path
    typed: list[Typed]


@pytest.fixture(scope="module")
def walk(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = tmp_path_factory.mktemp("walk")
    (folder / "scans").mkdir()
    (folder / "scans" / "S001").symlink_to(real_data / "ideal_thigh")
    shutil.copy(PROJECT / "train.py", folder)
    shutil.copytree(PROJECT / "conf", folder / "conf")
    page = (PROJECT / "docs" / "your-own-cohort.md").read_text(encoding="utf-8")
    typed = []
    for block in BLOCK.finditer(page):
        if block["kind"] == "console":
            typed += [type_in(folder, *said) for said in commands(block["text"])]
        elif block["name"]:
            (folder / block["name"]).write_text(block["text"], encoding="utf-8")
    return Walk(folder, typed)


def commands(block: str) -> list[tuple[str, str]]:
    """Give each command of a block with the output that follows it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def type_in(folder: Path, command: str, expected: str) -> Typed:
    for long, short in SMALLER.items():
        command = command.replace(long, short)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    return Typed(command, expected, done.stderr if expected.startswith("error:") else done.stdout, done.returncode)


def test_every_command_does_what_the_page_says(walk: Walk) -> None:
    assert len(walk.typed) == 10
    for one in walk.typed:
        assert one.code == (2 if one.expected.startswith("error:") else 0), f"{one.command}\n{one.printed}"
        if one.expected:
            agrees = doctest.OutputChecker().check_output(one.expected, one.printed, LOOSE)
            assert agrees, f"{one.command}\nthe page:\n{one.expected}\nprinted:\n{one.printed}"


def test_nothing_was_trained_on_the_real_scan(walk: Walk) -> None:
    (study,) = (path for path in (walk.folder / "runs").iterdir() if not path.name.startswith("."))
    assert "stand-in/cohort.csv" in (study / "study.yaml").read_text()
    assert "S001" not in (study / "folds.json").read_text()
    assert len(list(study.glob("*/done.json"))) == 1


def test_the_mask_lies_on_the_scan(walk: Walk) -> None:
    mask = read_volume(walk.folder / "masks" / "S001" / "mask.nii.gz")
    labels = read_volume(walk.folder / "scans" / "S001" / "muscles.nii.gz")
    assert labels.geometry.difference(mask.geometry) is None
    middle = np.s_[:, :, 2:11]
    dice = overlap(labels.data[middle] > 0, mask.data[middle] > 0).dice
    assert dice is not None
    (compared,) = (one for one in walk.typed if one.command == "python compare.py")
    assert compared.printed == f"DSC {dice:.3f}\n"


def test_its_labels_make_muscle_or_muscles(walk: Walk) -> None:
    table = read_table(walk.folder / "cohort.csv")
    checks.check(table, channels=["fat"], require_masks=True)
    checks.check(table, channels=["fat"], require_masks=True, label_values=range(1, 12))
    with pytest.raises(InputError, match="no voxel labelled 12"):
        checks.check(table, channels=["fat"], require_masks=True, label_values=[12])
    mask = read_volume(walk.folder / "scans" / "S001" / "muscles.nii.gz").data
    whole = LabelSet.from_config({"muscle": []}).encode(mask)
    assert np.array_equal(whole > 0, mask > 0)
    quadriceps = LabelSet.from_config({"rectus_femoris": [2], "vasti": [3, 4, 5]}).encode(mask)
    assert [np.count_nonzero(quadriceps == index) for index in (1, 2)] == [
        np.count_nonzero(mask == 2),
        np.count_nonzero(np.isin(mask, [3, 4, 5])),
    ]
