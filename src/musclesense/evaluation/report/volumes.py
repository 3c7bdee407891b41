"""The slices of each acquisition as a small volume, which the page shows in NiiVue where it is asked to.

They are scripts, as is NiiVue: a page that is opened from disk may read nothing else beside itself.
"""

import gzip
import json
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import nibabel as nib
import numpy as np

from musclesense.evaluation.report.points import nearest
from musclesense.storage.atomic import atomic_folder
from musclesense.studies.overlays import KeptSlice, read_index, read_kept
from musclesense.studies.study import Study

_APART_MM = 10.0
"""Between slices: a run does not keep how far they are."""


def write_volumes(study: Study, folder: Path, viewer: Mapping[str, bytes]) -> None:
    """Write the viewer and a script ``LINE.js`` for each acquisition into a folder, in place of an earlier one."""
    with atomic_folder(folder) as draft:
        for name, content in viewer.items():
            (draft / name).write_bytes(content)
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
