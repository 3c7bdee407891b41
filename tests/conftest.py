"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, outside the project."""
    folder = os.environ.get("MUSCLESENSE_REAL_DATA")
    if not folder:
        pytest.skip("MUSCLESENSE_REAL_DATA names no folder of real scans")
    return Path(folder).resolve()
