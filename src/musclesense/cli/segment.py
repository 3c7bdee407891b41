"""``musclesense segment``: masks and fat fractions of a scan."""

import argparse
from pathlib import Path
from typing import Any

from musclesense.segmentation.result import MASK, require_place
from musclesense.segmentation.scan import read_scan
from musclesense.segmentation.segmenter import segment
from musclesense.vocabulary import CHANNELS


def run(options: argparse.Namespace) -> None:
    """Segment a scan and name the mask."""
    scan = read_scan(phase_unit=options.phase_unit, **{name: _images(getattr(options, name)) for name in CHANNELS})
    require_place(options.out)
    made = segment(scan, model=options.model, region=options.region, limbs=options.limbs)
    print(made.save(options.out) / MASK)


def _images(given: Path | list[Path] | None) -> Any:
    """Give one image, or a magnitude with its phase."""
    if isinstance(given, list):
        return given[0] if len(given) == 1 else tuple(given)
    return given
