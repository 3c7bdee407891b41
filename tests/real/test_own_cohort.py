"""``docs/how-to/your-own-cohort.md``, typed as it stands, in a folder of its own with a smaller network."""

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

from ..shared.waiting import LONGEST_SECONDS

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


def follow(page: Path, folder: Path) -> list[Typed]:
    """Write the page's files and type its commands, in order."""
    typed = []
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["kind"] == "console":
            typed += [type_in(folder, *said) for said in commands(block["text"])]
        elif block["name"]:
            (folder / block["name"]).write_text(block["text"], encoding="utf-8")
    return typed


def commands(block: str) -> list[tuple[str, str]]:
    """Give each command of a block with the output that follows it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def type_in(folder: Path, command: str, expected: str) -> Typed:
    for long, short in SMALLER.items():
        command = command.replace(long, short)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    return Typed(command, expected, done.stderr if expected.startswith("error:") else done.stdout, done.returncode)


def test_the_page_holds(real_data: Path, tmp_path: Path) -> None:
    """One test, so that test processes do not each follow the page."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "S001").symlink_to(real_data / "ideal_thigh")
    shutil.copy(PROJECT / "train.py", tmp_path)
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    typed = follow(PROJECT / "docs" / "how-to" / "your-own-cohort.md", tmp_path)

    assert len(typed) == 10
    for one in typed:
        assert one.code == (2 if one.expected.startswith("error:") else 0), f"{one.command}\n{one.printed}"
        if one.expected:
            agrees = doctest.OutputChecker().check_output(one.expected, one.printed, LOOSE)
            assert agrees, f"{one.command}\nthe page:\n{one.expected}\nprinted:\n{one.printed}"

    # Nothing was trained on the real scan.
    (study,) = (path for path in (tmp_path / "runs").iterdir() if not path.name.startswith("."))
    assert "stand-in/cohort.csv" in (study / "study.yaml").read_text()
    assert "S001" not in (study / "folds.json").read_text()
    assert len(list(study.glob("*/done.json"))) == 1

    # The mask lies on the scan, and its DSC is that of the slices which the page names.
    mask = read_volume(tmp_path / "masks" / "S001" / "mask.nii.gz")
    labels = read_volume(real_data / "ideal_thigh" / "muscles.nii.gz")
    assert labels.geometry.difference(mask.geometry) is None
    dice = overlap(labels.data[:, :, 2:11] > 0, mask.data[:, :, 2:11] > 0).dice
    (compared,) = (one.printed.splitlines() for one in typed if one.command == "python compare.py")
    assert compared[0] == f"networks DSC {dice:.3f}"
    assert compared[1] == "water > fat DSC 0.699"  # of the scan alone, so the page's figure must be it


def test_its_labels_make_muscle_or_muscles(real_data: Path, tmp_path: Path) -> None:
    scan = real_data / "ideal_thigh"
    table = tmp_path / "cohort.csv"
    table.write_text(f"subject,region,fat,mask\nS001,thigh,{scan / 'fat.nii.gz'},{scan / 'muscles.nii.gz'}\n")
    cohort = read_table(table)
    checks.check(cohort, label_column="mask")
    checks.check(cohort, label_column="mask", label_values=range(1, 12))
    with pytest.raises(InputError, match="no voxel labelled 12"):
        checks.check(cohort, label_column="mask", label_values=[12])
    mask = read_volume(scan / "muscles.nii.gz").data
    whole = LabelSet.from_config({"muscle": []}).encode(mask)
    assert np.array_equal(whole > 0, mask > 0)
    quadriceps = LabelSet.from_config({"rectus_femoris": [2], "vasti": [3, 4, 5]}).encode(mask)
    assert np.array_equal(quadriceps == 1, mask == 2)
    assert np.array_equal(quadriceps == 2, (mask >= 3) & (mask <= 5))
