"""``musclesense segment``: masks and fat fractions of a scan."""

import argparse

from musclesense.cli.separate import echo_pairs
from musclesense.dixon.echoes import PhaseUnit
from musclesense.errors import InputError
from musclesense.segmentation import scan
from musclesense.segmentation.results import segment_scan
from musclesense.vocabulary import Channel, Limbs, Region


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
    images = {name.value: file for name in Channel if not name.is_echo and (file := getattr(options, name)) is not None}
    if Channel.FAT not in images:
        for name in images:
            raise InputError(f"--{name}: goes with --fat; give --fat as well, or three echoes with their phases")
        return scan.from_echoes(*echo_pairs(options), phase_unit=PhaseUnit(options.phase_unit))
    echoes = {name.value: files for name in Channel if name.is_echo and (files := getattr(options, name))}
    for name, files in echoes.items():
        if len(files) > 1:
            raise InputError(f"--{name}: two files beside --fat; give the magnitude alone, or leave out --fat")
    return scan.from_images(images | {name: files[0] for name, files in echoes.items()})
