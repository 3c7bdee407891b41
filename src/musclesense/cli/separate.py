"""``musclesense separate``: fat and water by three-point Dixon."""

import argparse

from musclesense.dixon.fat import FatModel
from musclesense.dixon.scan import require_free_images, separate_scan
from musclesense.vocabulary import Echo


def run(options: argparse.Namespace) -> None:
    """Write fat, water and fat fraction of three echoes."""
    require_free_images(options.out)
    model = FatModel.described(
        fat_peaks=options.fat_peaks,
        larmor_mhz=options.larmor_mhz,
        flip_angle=options.flip_angle,
        tr=options.tr,
        fat_shift=tuple(options.fat_shift),
    )
    echoes = {str(echo): getattr(options, echo) for echo in Echo}
    separate_scan(echoes, phase_unit=options.phase_unit, model=model).save(options.out)
