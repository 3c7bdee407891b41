"""What an installed package has beside the code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musclesense.networks.shipped import FOLDER, shipped
from musclesense.storage import niivue
from musclesense.training import composition
from musclesense.training.composition import config_folder

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize("with_viewer", [True, False])
def test_the_configuration_the_launcher_and_the_networks_are_in_the_package(with_viewer: bool, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    if with_viewer and not niivue.is_packed():
        pytest.skip("needs NiiVue in the package, where make setup puts it")
    left = shutil.ignore_patterns("*.egg-info", "__pycache__", "niivue")
    for name in ("src", "conf"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=left)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    named = _unmeasured() | {niivue.VARIABLE: str(niivue.FOLDER if with_viewer else tmp_path / "none.tgz")}
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, env=named).stdout
    viewer = {"niivue.umd.js", "LICENSE"} if with_viewer else set()
    assert {file.name for file in (tmp_path / "built" / "musclesense" / "niivue").glob("*")} == viewer
    assert ("built without NiiVue" in said) is not with_viewer and said.count("\n") <= 1
    packed, own = tmp_path / "built" / "musclesense" / "conf", PROJECT / "conf"
    files = {path.relative_to(own): path.read_bytes() for path in own.rglob("*.yaml")}
    assert len(files) > 40
    assert {path.relative_to(packed): path.read_bytes() for path in packed.rglob("*.yaml")} == files
    assert (tmp_path / "built" / "hydra_plugins" / "musclesense_slurm.py").is_file()
    _lists_networks(tmp_path / "built", tmp_path)


def _unmeasured() -> dict[str, str]:
    """The environment in which coverage measures nothing: the lines of a copy are none to be covered."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def _lists_networks(package: Path, elsewhere: Path) -> None:
    """The package that was built lists the networks of this clone, from any folder, and holds their very files."""
    own = {file.relative_to(FOLDER): file.read_bytes() for file in FOLDER.rglob("*") if file.is_file()}
    packed = package / "musclesense" / "weights"
    assert {file.relative_to(packed): file.read_bytes() for file in packed.rglob("*") if file.is_file()} == own != {}
    command = [sys.executable, "-m", "musclesense", "models"]
    found = _unmeasured() | {"PYTHONPATH": str(package)}
    listed = subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, text=True, env=found).stdout
    assert [line.partition(":")[0] for line in listed.splitlines()[::2]] == [*shipped()]


def test_the_configuration_is_that_of_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_folder() == PROJECT / "conf"
    monkeypatch.setattr(composition, "__file__", str(tmp_path / "musclesense" / "training" / "composition.py"))
    (tmp_path / "musclesense" / "conf").mkdir(parents=True)
    assert config_folder() == tmp_path / "musclesense" / "conf"
