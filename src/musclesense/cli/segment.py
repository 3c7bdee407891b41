"""``musclesense segment``: masks and fat fractions of a scan."""

import argparse

from musclesense.cli.separate import echo_pairs
from musclesense.dixon.echoes import PhaseUnit
from musclesense.errors import InputError
from musclesense.segmentation import scan
from musclesense.segmentation.results import segment_scan
from musclesense.vocabulary import Echo, Limbs, Region


def run(options: argparse.Namespace) -> None:
    """Segment a scan and name the mask."""
    segment_scan(
        _images(options),
        model=options.model,
        region=Region(options.region),
        limbs=Limbs(options.limbs),
        out=options.out,
    )
    print(options.out / "mask.nii.gz")


def _images(options: argparse.Namespace) -> scan.Scan:
    if options.fat is None:
        if options.water is not None:
            raise InputError("--water: goes with --fat; give --fat as well, or three echoes with their phases")
        return scan.from_echoes(*echo_pairs(options), phase_unit=PhaseUnit(options.phase_unit))
    given = {name: getattr(options, name) for name in Echo if getattr(options, name)}
    for name, files in given.items():
        if len(files) > 1:
            raise InputError(f"--{name}: two files beside --fat; give the magnitude alone, or leave out --fat")
    named = {"fat": options.fat, "water": options.water} | {name: files[0] for name, files in given.items()}
    return scan.from_images({name: file for name, file in named.items() if file is not None})
