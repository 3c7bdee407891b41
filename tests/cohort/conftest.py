"""A cohort of a table and images, to be spoilt row by row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from musclesense.cohort.checks import check
from musclesense.cohort.table import Acquisition, CohortTable, read_table, write_table
from musclesense.errors import InputError
from musclesense.vocabulary import Region

SHAPE = (6, 5, 4)

AFFINE = np.diag([2.0, 2.0, 10.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(10, 90, SHAPE).astype(np.float32)


def mask() -> np.ndarray:
    data = np.zeros(SHAPE, np.uint8)
    data[2:4, 2:4, 1:3] = 1
    return data


class Cohort:
    """A sound cohort of six subjects, two groups and both regions, to be spoilt row by row."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cohort.csv"
        self.rows = []
        for number in range(6):
            region = list(Region)[number % 2]
            files = {name: folder / f"S{number}_{name}.nii.gz" for name in ("fat", "water", "mask", "fat_fraction")}
            for seed, name in enumerate(("fat", "water", "fat_fraction")):
                save(files[name], image(10 * number + seed))
            save(files["mask"], mask())
            self.rows.append(
                Acquisition(
                    line=number + 2,
                    subject=f"S{number}",
                    group=f"g{number // 3}",
                    region=region,
                    channels={name: files[name] for name in ("fat", "water")},
                    mask=files["mask"],
                    slice=1,
                    fat_fraction=files["fat_fraction"],
                )
            )

    def change(self, number: int, **values: Any) -> None:
        self.rows[number] = replace(self.rows[number], **values)

    def read(self) -> CohortTable:
        write_table(self.path, self.rows)
        return read_table(self.path)

    def problems(self, **options: Any) -> list[str]:
        with pytest.raises(InputError) as caught:
            check(self.read(), **options)
        folder = str(self.path.parent) + "/"
        return [problem.replace(folder, "") for problem in caught.value.problems]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path)
