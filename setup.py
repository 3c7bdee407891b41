"""Puts the configuration, which lies at the top of the repository, into built packages as ``musclesense.conf``.

All else is in ``pyproject.toml``. An editable installation finds the folder where it is.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfiguration(build_py):
    """Copies ``conf/`` into the package that is built."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("conf", Path(self.build_lib) / "musclesense" / "conf", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfiguration})
