"""Factors of a slice of `any_contrast` that are held at a value, to measure what each does to a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from musclesense.phantom.disease.patterns import Pattern
from musclesense.phantom.scanner.sequences import Sequence


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is held; what is None is drawn.

    >>> Held(pixel_mm=1.0, readout={"noise": 0.02}).level is None
    True
    """

    build: str | None = None  # name of ``builds.yaml``
    disease: tuple[Pattern, float] | None = None  # and how far it has come, 0 to 1
    level: float | None = None  # along the limb: 0 at the lowest level that is drawn, 1 at the highest
    pixel_mm: float | None = None
    slice_mm: float | None = None
    sequence: Sequence | None = None
    shading: float = 1.0  # power of the coils' sensitivity: 0 for an even image
    readout: Mapping[str, Any] = field(default_factory=dict)  # fields of `Readout`


NOTHING = Held()
"""All is drawn."""
