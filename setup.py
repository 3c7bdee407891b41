"""Puts into the package what lies elsewhere: the configuration, and NiiVue, of other people, which no clone holds.

All else is in ``pyproject.toml``. An editable installation finds the configuration where it is.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithOthers(build_py):
    """Copies ``conf/`` into the package that is built as ``musclesense.conf``, and fetches NiiVue."""

    def run(self) -> None:
        """Build the package."""
        sys.path.insert(0, "src")
        from musclesense.storage import niivue

        if said := niivue.pack():
            print(f"built without NiiVue, so pages show no volumes: {said}")
        super().run()
        if not self.editable_mode:
            shutil.copytree("conf", Path(self.build_lib) / "musclesense" / "conf", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithOthers})
