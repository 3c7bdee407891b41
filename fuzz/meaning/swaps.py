"""Fat and water exchanged, in all limbs or in one, and limbs of every kind in which they are not."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

_SAID = "fat and water look exchanged"
_TABLE = "subject,region,fat,water\nS1,thigh,fat.nii.gz,water.nii.gz\n"


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Exchange the images of limbs with enough fat below the skin and enough muscle, or leave any limbs alone."""
    how = draw.one_of(("none", "none", "all", "one"))
    lean, severe = (draw.chance(0.3), draw.chance(0.3)) if how == "none" else (False, False)
    layer = draw.random.uniform(0.02, 0.08) if lean else draw.random.uniform(0.12, 0.4)
    muscle = draw.random.uniform(0.5, 0.95) if severe else draw.random.uniform(0, 0.5)
    alone = how != "one" and draw.chance(0.3)
    fat, water = _limbs(draw, layer, muscle, alone=alone)
    swapped = np.zeros(fat.shape, dtype=bool)
    if how == "all":
        swapped[:] = True
    side = draw.one_of(("right", "left"))
    if how == "one":  # the first axis runs from the subject's right to the left
        middle = fat.shape[0] // 2
        swapped[slice(0, middle) if side == "right" else slice(middle, None)] = True
    for name, data in (("fat", np.where(swapped, water, fat)), ("water", np.where(swapped, fat, water))):
        nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([-2.0, 2.0, 10.0, 1.0])), folder / f"{name}.nii.gz")
    said = f"exchanged: {how}; fat below the skin {layer:.2f}, in muscle {muscle:.2f}{', one limb' * alone}"
    told = f"{_SAID}, with water below the skin and fat within, in the {side} limb" if how == "one" else None
    untold = _SAID if how == "none" else None
    verdict = Verdict.REFUSE if how == "all" else Verdict.ACCEPT
    if draw.chance(0.5):
        (folder / "cohort.csv").write_text(_TABLE)
        return Case(arguments=("check", "cohort.csv"), changes=said, verdict=verdict, told=told, untold=untold)
    (folder / "model.ckpt").write_bytes(seeds.model)
    images = ("--fat", "fat.nii.gz", "--water", "water.nii.gz", "--limbs", "one" if alone else "both")
    arguments = ("segment", *images, "--region", "thigh", "--model", "model.ckpt", "--out", "out")
    return Case(arguments=arguments, changes=said, verdict=verdict, told=told, untold=untold)


def _limbs(draw: Draw, layer: float, muscle: float, *, alone: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw fat and water of limbs with skin, fat below it, muscle, bone and marrow."""
    width = 70 if alone else 150
    x, y = np.mgrid[: width + draw.below(20), : 80 + draw.below(20)]
    fat, water = np.zeros(x.shape), np.zeros(x.shape)
    for middle in (x.shape[0] / 2,) if alone else (x.shape[0] / 4, 3 * x.shape[0] / 4):
        away = np.hypot((x - middle) / 31, (y - y.shape[1] / 2) / draw.random.uniform(28, 34))
        for within, share, bright in (
            (1, 0.05, 80),
            (0.97, 0.92, 100),
            (0.97 - layer, muscle, 90),
            (0.25, 0, 4),
            (0.18, 0.9, 90),
        ):
            fat[away < within], water[away < within] = share * bright, (1 - share) * bright
    shade = (
        1
        + draw.random.uniform(-0.4, 0.4) * (x / x.shape[0] - 0.5)
        + draw.random.uniform(-0.4, 0.4) * (y / y.shape[1] - 0.5)
    )
    noise = draw.random.normal(0, draw.random.uniform(0.5, 3), (2, *x.shape, 1 + draw.below(4)))
    return (shade * fat)[..., None] + noise[0], (shade * water)[..., None] + noise[1]
