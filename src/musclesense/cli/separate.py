"""``musclesense separate``: fat and water by three-point Dixon."""

import argparse
from pathlib import Path

from musclesense.dixon.echoes import PhaseUnit
from musclesense.dixon.fat import FatModel
from musclesense.dixon.separation import separate_files
from musclesense.errors import InputError
from musclesense.vocabulary import Echo


def run(options: argparse.Namespace) -> None:
    """Write fat, water and fat fraction of three echoes."""
    model = FatModel.described(
        peaks=options.fat_peaks,
        larmor_mhz=options.larmor_mhz,
        flip_degrees=options.flip_angle,
        tr_ms=options.tr,
        shift=tuple(options.fat_shift),
    )
    separate_files(*echo_pairs(options), out=options.out, phase_unit=PhaseUnit(options.phase_unit), model=model)


def echo_pairs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Give magnitude and phase of each echo.

    Raises:
        InputError: An echo lacks one of the two.
    """
    pairs = {name: getattr(options, name) or [] for name in Echo}
    wrong = [name for name, files in pairs.items() if len(files) != 2]
    if wrong:
        asked = " ".join(f"--{name} MAG PHASE" for name in wrong)
        raise InputError(f"magnitude and phase of three echoes are needed; give {asked}, or --fat FILE")
    return [(files[0], files[1]) for files in pairs.values()]
