"""The names of labels as other programs read them: BIDS, ITK-SNAP and 3D Slicer."""

import colorsys
from collections.abc import Iterator

from musclesense.imaging.labels import LabelSet

_GOLDEN_RATIO = 0.618034
_ITK_SNAP = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


def colour(number: int) -> tuple[int, int, int]:
    """Give the colour of the label at a position, from 0; neighbours differ clearly.

    >>> colour(0), colour(1)
    ((255, 108, 76), (76, 96, 255))
    """
    red, green, blue = colorsys.hsv_to_rgb((0.03 + number * _GOLDEN_RATIO) % 1, 0.7, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def bids_table(labels: LabelSet) -> str:
    r"""Give the text of a ``dseg.tsv``, as BIDS names the values of a segmentation.

    >>> bids_table(LabelSet.from_config({"vasti": [3, 4], "gracilis": [7]}))
    'index\tname\tcolor\n3\tvasti\t#FF6C4C\n7\tgracilis\t#4C60FF\n'
    """
    lines = (f"{value}\t{name}\t#{red:02X}{green:02X}{blue:02X}\n" for value, name, (red, green, blue) in _rows(labels))
    return "index\tname\tcolor\n" + "".join(lines)


def itk_snap_labels(labels: LabelSet) -> str:
    """Give the text of a label description file of ITK-SNAP: Segmentation, Import Label Descriptions."""
    lines = (
        f'{value:5} {red:5} {green:4} {blue:4}        1  1  1    "{name.replace(chr(34), chr(39))}"\n'
        for value, name, (red, green, blue) in _rows(labels)
    )
    return _ITK_SNAP + "".join(lines)


def slicer_colours(labels: LabelSet) -> str:
    r"""Give the text of a colour table of 3D Slicer (``.ctbl``), in which a name has no spaces.

    >>> slicer_colours(LabelSet.from_config({"long head": [1]}))
    '# Color table file\n# 2 values\n0 Background 0 0 0 0\n1 long_head 255 108 76 255\n'
    """
    lines = (
        f"{value} {'_'.join(name.split())} {red} {green} {blue} 255\n"
        for value, name, (red, green, blue) in sorted(_rows(labels))
    )
    return f"# Color table file\n# {len(labels.names) + 1} values\n0 Background 0 0 0 0\n" + "".join(lines)


def _rows(labels: LabelSet) -> Iterator[tuple[int, str, tuple[int, int, int]]]:
    for number, (value, name) in enumerate(zip(labels.written, labels.names, strict=True)):
        yield value, name, colour(number)
