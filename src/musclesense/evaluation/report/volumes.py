"""The slices of each acquisition as a small volume, which the page shows in NiiVue where it is asked to.

They are scripts, as is NiiVue: a page that is opened from disk may read nothing else beside itself.
"""

import gzip
import json
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import nibabel as nib
import numpy as np

from musclesense.evaluation.report.points import nearest
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.npm import REGISTRY, Package
from musclesense.studies.overlays import KeptSlice, read_index, read_kept
from musclesense.studies.study import Study

VIEWER = Package(
    "@niivue/niivue",
    "0.69.0",
    {"niivue.umd.js": "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"},
    "--viewer",
)
_APART_MM = 10.0
"""Between slices: a run does not keep how far they are."""
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
    """Where NiiVue comes from: its archive or folder, or else the registry."""

    given: Path | None = None
    registry: str = REGISTRY

    def files(self) -> Mapping[str, bytes]:
        """Give its files, as of `Package.files`."""
        return VIEWER.files(self.given, self.registry)


def write_volumes(study: Study, folder: Path, viewer: Mapping[str, bytes]) -> None:
    """Write the viewer and a script ``LINE.js`` for each acquisition into a folder, in place of an earlier one."""
    with atomic_folder(folder) as draft:
        for name, content in viewer.items():
            (draft / name).write_bytes(content)
        (draft / "LICENSE").write_text(_LICENCE.format(**vars(VIEWER)), encoding="utf-8")
        for line, slices in _acquisitions(study):
            volumes = {name: _volume(study, slices, name) for name in ("image", "truth", "prediction")}
            (draft / f"{line}.js").write_text(f"volumes[{line}] = {json.dumps(volumes)};\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)


def _acquisitions(study: Study) -> Iterator[tuple[int, list[KeptSlice]]]:
    """Give all slices of each acquisition that the network kept whose Dice is nearest to the mean of all."""
    for run, chosen in nearest(study):
        lines = {line for line, _ in chosen}
        kept = read_kept(run.folder, sorted(own for own in read_index(run.folder) if own[0] in lines))
        yield from ((line, list(slices)) for line, slices in groupby(kept, attrgetter("line")))


def _volume(study: Study, slices: Sequence[KeptSlice], name: str) -> str:
    """Give one image of an acquisition as NIfTI, packed, in Base64: the same slices give the same text."""
    spacing = float((study.config.get("grid") or {}).get("spacing_mm") or 1)
    planes = np.stack([getattr(one, name).T for one in slices], axis=2)  # to (right to left, anterior to posterior, up)
    image = nib.Nifti1Image(planes, np.diag([-spacing, -spacing, _APART_MM, 1]))
    return b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode()
