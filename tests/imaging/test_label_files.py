"""Names of labels as BIDS, ITK-SNAP and 3D Slicer read them."""

import csv
import io
import re
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from musclesense.imaging.label_files import bids_table, colour, itk_snap_labels, slicer_colours
from musclesense.imaging.labels import LabelSet
from musclesense.names import name_problem

NAMES = st.lists(
    st.text(min_size=1, max_size=20)
    .map(str.strip)
    .filter(lambda name: name and name_problem(name) is None and not name.endswith(("left", "right"))),
    min_size=1,
    max_size=12,
    unique=True,
)


@given(NAMES, st.randoms(use_true_random=False))
def test_every_label_is_named_by_its_value(names: list[str], random: Random) -> None:
    values = random.sample(range(1, 65535), len(names))
    labels = LabelSet(tuple(names), tuple((value,) for value in values))
    wanted = dict(zip(values, names, strict=True))
    table = list(csv.DictReader(io.StringIO(bids_table(labels)), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {int(row["index"]): row["name"] for row in table} == wanted
    assert all(re.fullmatch("#[0-9A-F]{6}", row["color"]) for row in table)
    snap = [line for line in itk_snap_labels(labels).split("\n") if line and not line.startswith("#")]
    read = {int(line.split()[0]): line.split(maxsplit=7)[7].strip('"') for line in snap}
    assert read.pop(0) == "Clear Label"
    assert read == {value: name.replace('"', "'").strip('"') for value, name in wanted.items()}
    slicer = [line.split(" ") for line in slicer_colours(labels).split("\n") if line and not line.startswith("#")]
    assert all(len(line) == 6 for line in slicer)
    assert {int(line[0]): line[1] for line in slicer} == {0: "Background"} | {
        value: "_".join(name.split()) for value, name in wanted.items()
    }
    assert [int(line[0]) for line in slicer] == [0, *sorted(values)]


def test_neighbours_differ_in_colour() -> None:
    colours = [colour(number) for number in range(30)]
    assert len({*colours}) == 30
    for one, other in pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150


def test_a_mask_of_any_value_is_written_as_1() -> None:
    assert LabelSet.from_config({"muscle": []}).written == (1,)
    assert bids_table(LabelSet.from_config({"muscle": []})).splitlines()[1].startswith("1\tmuscle\t#")
