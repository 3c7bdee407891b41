"""How much fat each group of the phantom has: ``python -m benchmarks.phantom_disease``.

Prints the mean true fat fraction of the labelled muscle at mid-level, over subjects of each group: severities spread
evenly from 0.1 to 1 (controls 0 to 0.5), ages from 25 to 75 years. Drawn points are counted, not voxels.
"""

import numpy as np

from musclesense.cohort.table import Region
from musclesense.phantom.anatomy import Body, Pose, draw_section, sample_limbs
from musclesense.phantom.disease import PATTERNS, infiltrate, sample_infiltration
from musclesense.phantom.templates import TEMPLATES

SUBJECTS = 40
STEP_MM = 1.5
LYING = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.4, level_mm=0.0)


def main() -> None:
    for region in Region:
        for group in PATTERNS:
            fat = [mean_fat(region, group, number) for number in range(SUBJECTS)]
            print(f"{region} {group}: mean {100 * np.mean(fat):.0f} %, {100 * min(fat):.0f} to {100 * max(fat):.0f} %")


def mean_fat(region: Region, group: str, number: int) -> float:
    """Draw the right limb of a subject and give the mean fat fraction of its labelled muscle, 0 to 1."""
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
    return float(infiltrate(section, infiltration)[labelled].mean())


if __name__ == "__main__":
    main()
