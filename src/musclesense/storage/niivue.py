"""NiiVue, a viewer of volumes by other people. The package holds it, if it was to be had when the package was built.

``setup.py`` asks for `pack`, so nothing but Python is needed here.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from musclesense.errors import InputError
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.npm import REGISTRY, Package

FOLDER = Path(__file__).parents[1] / "niivue"
"""Where the package holds it."""
VARIABLE = "MUSCLESENSE_NIIVUE"
"""Of the environment: names its archive or folder for a build that cannot fetch it."""
NIIVUE = Package(
    "@niivue/niivue",
    "0.69.0",
    {"niivue.umd.js": "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"},
    "--viewer",
)
_LICENCE = """\
{name} {version}, https://github.com/niivue/niivue

BSD 2-Clause License

Copyright (c) 2021, Niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


@dataclass(frozen=True)
class Viewer:
    """Where NiiVue comes from: its archive or folder; else the package, or the registry."""

    given: Path | None = None
    registry: str = REGISTRY

    def files(self, option: str = NIIVUE.option) -> Mapping[str, bytes]:
        """Give its files and its licence by their names, as of `Package.files`; ``option`` names where it is given."""
        place = FOLDER if self.given is None and is_packed() else self.given
        licence = _LICENCE.format(**vars(NIIVUE)).encode()
        return {**replace(NIIVUE, option=option).files(place, self.registry), "LICENSE": licence}


def is_packed() -> bool:
    """Tell whether the package holds it, whole and of this release."""
    try:
        return bool(NIIVUE.files(FOLDER))
    except InputError:
        return False


def pack() -> str:
    """Put it into the package that is built, unless it is there; gives why it is left out, or nothing."""
    named = os.environ.get(VARIABLE)
    try:
        if not is_packed():
            viewer = Viewer(Path(named) if named else None, os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY))
            with atomic_folder(FOLDER) as draft:
                for name, content in viewer.files(VARIABLE).items():
                    (draft / name).write_bytes(content)
                shutil.rmtree(FOLDER, ignore_errors=True)
    except InputError as error:
        return "; ".join(error.problems)
    return ""
