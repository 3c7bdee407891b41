"""How much fat each group of the phantom has: ``python -m benchmarks.validity.phantom_disease [COHORT.csv]``.

Without a table: the mean true fat fraction of the labelled muscle at mid-level, over subjects of each group: severities
spread evenly from 0.1 to 1 (controls 0 to 0.5), ages from 25 to 75 years. Points drawn inside muscle are counted, not
voxels. Then the same points with what else lies there: aponeuroses, septa within muscles and small vessels.

With the table of a phantom cohort: the stored true fat fraction of its labelled slices, by region and group, as the
mean over acquisitions of the mean over the voxels of the whole-muscle mask; over those that also belong to a
compartment, without the gaps that the mask fills; and over those further than `DEEP_MM` from where a compartment ends.
Beside it what the stored fat and water images, separated with one fat peak as the paper's, read over the mask.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.cohort.table import Acquisition, read_table
from musclesense.dixon.separation import fat_fraction
from musclesense.imaging.grid import slice_axis, take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.phantom.anatomy.limbs import Body, Pose, sample_limbs
from musclesense.phantom.anatomy.section import Tissue, draw_section
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.disease.infiltration import infiltrate, sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.scanner.signal import FAT_FRACTION
from musclesense.vocabulary import Region

SUBJECTS = 40
STEP_MM = 1.5
DEEP_MM = 3.0
LYING = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.4, level_mm=0.0)


def main() -> None:
    if len(sys.argv) > 1:
        report_stored(Path(sys.argv[1]))
    else:
        report_drawn()


def report_drawn() -> None:
    for region in Region:
        for group in PATTERNS:
            fat, with_septa = zip(*(mean_fat(region, group, number) for number in range(SUBJECTS)), strict=True)
            print(
                f"{region} {group}: mean {100 * np.mean(fat):.0f} %, {100 * min(fat):.0f} to {100 * max(fat):.0f} %; "
                f"with septa {100 * np.mean(with_septa):.1f} %"
            )


def mean_fat(region: Region, group: str, number: int) -> tuple[float, float]:
    """Draw the right limb of a subject; give the mean fat fraction of its labelled muscle, without septa and with."""
    spread = (number + 0.5) / SUBJECTS
    severity = 0.5 * spread if group == "control" else 0.1 + 0.9 * spread
    age = 25 + 50 * (number * 17 % SUBJECTS) / SUBJECTS
    anatomy = np.random.default_rng([0, number])
    limb = sample_limbs(anatomy, Body.sample(anatomy), region)[0]
    disease = np.random.default_rng([1, number])
    infiltration = sample_infiltration(disease, PATTERNS[group], severity, region, age)[0]
    axis = np.arange(-90, 90, STEP_MM, dtype=np.float32)
    section = draw_section(limb, LYING, 0.0, *np.meshgrid(axis, axis), infiltration.atrophy_mm)
    template = TEMPLATES[region]
    unlabelled = [index for index, name in enumerate(template.muscles, start=1) if name in template.unlabelled]
    labelled = (section.muscle > 0) & ~np.isin(section.muscle, unlabelled)
    fat = infiltrate(section, infiltration)
    whole = np.where(section.tissue == Tissue.MUSCLE, fat, FAT_FRACTION[section.tissue])
    return float(fat[labelled].mean()), float(whole[labelled].mean())


def report_stored(table: Path) -> None:
    print(f"| | acquisitions | mask, mean (range) | in compartments | over {DEEP_MM:g} mm deep, share | by one peak |")
    rows = read_table(table).acquisitions
    for region in Region:
        for group in dict.fromkeys(row.group for row in rows):
            of_group = [stored_fat(row) for row in rows if row.region is region and row.group == group]
            if of_group:
                mask, inside, deep, share, read = np.mean(of_group, axis=0)
                low, high = (limit(values[0] for values in of_group) for limit in (min, max))
                print(
                    f"| {region} {group} | {len(of_group)} | {mask:.1f} % ({low:.1f}-{high:.1f}) "
                    f"| {inside:.1f} % | {deep:.1f} %, {share:.0%} | {read:.1f} % |"
                )


def stored_fat(row: Acquisition) -> tuple[float, float, float, float, float]:
    """Give the true fat in percent over the mask, compartments and depth, the depth's part, and what is read."""
    assert row.slice is not None and row.mask is not None
    assert row.compartments is not None and row.fat_fraction is not None
    files = (row.mask, row.compartments, row.fat_fraction, row.channels["fat"], row.channels["water"])
    volumes = [read_volume(file) for file in files]
    geometry = volumes[0].geometry
    mask, compartments, true, fat, water = (
        take_slice(volume.data, geometry, row.slice).astype(np.float64) for volume in volumes
    )
    drawn = mask > 0
    inside = drawn & (compartments > 0)
    spacing = np.delete(geometry.zooms, slice_axis(geometry))
    deep = inside & (ndimage.distance_transform_edt(~ends(compartments), sampling=spacing) > DEEP_MM)
    means = [float(true[where].mean()) for where in (drawn, inside, deep)]
    read = fat_fraction(fat[drawn], water[drawn])
    return means[0], means[1], means[2], float(deep.sum() / drawn.sum()), float(read.mean())


def ends(compartments: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Find the voxels that have a neighbour of another compartment, or of none."""
    return np.asarray(ndimage.maximum_filter(compartments, 3) != ndimage.minimum_filter(compartments, 3))


if __name__ == "__main__":
    main()
