"""Where the project's configuration lies."""

from pathlib import Path

import pytest

from musclesense.training.config import register


@pytest.fixture(scope="session")
def config_dir() -> Path:
    """The folder of configuration groups, with the schema registered."""
    register()
    return Path(__file__).parents[2] / "conf"
