"""What ``import musclesense`` gives."""

import doctest
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import musclesense as ms
from musclesense import api, errors, vocabulary

BEFORE = Path(__file__).parent / "fixtures" / "before"


def test_importing_the_package_imports_nothing_else() -> None:
    """Importing is fast (0.1 s are promised) because none of these is imported."""
    code = "import sys, musclesense; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "scipy", "torch", "lightning", "nibabel", "pandas", "hydra", "omegaconf", "wandb", "matplotlib"}
    assert not heavy & {*found}


@pytest.mark.parametrize("name", ms.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(ms, name).__doc__


def test_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match=r"^none\.csv: no such cohort table"):
        ms.read_cohort("none.csv")


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "phantom").symlink_to(BEFORE / "phantom-smoke-1")
    (tmp_path / "runs" / "before").symlink_to(BEFORE / "study")
    monkeypatch.chdir(tmp_path)
    tried = doctest.testmod(api)
    assert tried.attempted and not tried.failed


@pytest.mark.parametrize("name", [name for name in ms.__all__ if name != "__version__"])
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in str(getattr(ms, name).__doc__)


@pytest.mark.parametrize("module", [errors, vocabulary])
def test_the_examples_of_words_and_errors_run(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted and not tried.failed
