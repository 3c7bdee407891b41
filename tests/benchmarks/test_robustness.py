"""Dice against one factor at a time: values are held, the same subjects are drawn, tables and picture are whole."""

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from benchmarks.validity import robustness
from benchmarks.validity.robustness import USUAL, Value, below, factors_of, measure, score, summarised, whole_label

from musclesense.evaluation.scoring import EVERY, PAPER
from musclesense.imaging.labels import LabelSet
from musclesense.phantom.any_contrast import INGREDIENTS, synthetic_slice
from musclesense.phantom.scanner.sequences import Sequence
from musclesense.segmentation.segmenter import Segmenter
from musclesense.vocabulary import Region

from ..shared.networks import write_checkpoint
from ..shared.runs import rows_of

COARSE = replace(USUAL, pixel_mm=3.0)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    """A network that calls bright what is muscle."""
    path = write_checkpoint(tmp_path / "best.ckpt", channels=("image",), placed_by="image", regions=("thigh", "calf"))
    return Segmenter.load(path)


def test_every_factor_has_its_usual_value_among_others() -> None:
    factors = factors_of(USUAL)
    assert {*factors} == {
        *("contrast", "noise", "shading", "pixel_mm", "slice_mm", "level", "severity", "body", "artefact")
    }
    for name, values in factors.items():
        assert any(value.held == USUAL for value in values), name
        assert len({str(value.shown) for value in values}) == len(values) > 4
        assert all({*value.without} <= {*INGREDIENTS} for value in values)


def test_one_factor_is_varied_at_a_time() -> None:
    for values in factors_of(USUAL).values():
        for value in values:
            changed = [name for name in vars(USUAL) if getattr(value.held, name) != getattr(USUAL, name)]
            assert len(changed) + (value.without != robustness.WITHOUT) + (value.spoilt is not None) <= 1


def test_tables_and_picture_tell_of_every_value(
    segmenter: Segmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Muscle is bright in water and dark in fat: the one value is good, and the other is on the list."""
    contrasts = [Value(shown=str(kind), held=replace(COARSE, sequence=kind)) for kind in list(Sequence)[1:3]]
    shading = [Value(shown=power, held=replace(COARSE, shading=power)) for power in (0.0, 1.0)]
    measure(segmenter, tmp_path / "out", {"contrast": contrasts, "shading": shading}, 2)
    rows = rows_of(tmp_path / "out" / "slices.csv")
    assert len(rows) == 8 and [row["region"] for row in rows[:2]] == ["calf", "thigh"]
    means = {row["value"]: float(row["dice"]) for row in rows_of(tmp_path / "out" / "robustness.csv")}
    assert means[Sequence.DIXON_WATER] > 0.6 > means[Sequence.DIXON_FAT]
    listed = (tmp_path / "out" / "below.md").read_text()
    assert listed == capsys.readouterr().out and str(Sequence.DIXON_FAT) in listed
    assert matplotlib.image.imread(tmp_path / "out" / "robustness.png").std() > 0.05


@pytest.mark.parametrize("spoil", [robustness._wrap, robustness._bend])
def test_image_and_truth_are_spoilt_alike(spoil, segmenter: Segmenter) -> None:
    one = synthetic_slice(np.random.default_rng(3), regions=[Region.CALF], without=robustness.WITHOUT, held=COARSE)
    image, compartments = spoil(np.random.default_rng(1), (one.image, one.compartments))
    assert image.shape == compartments.shape
    assert not np.array_equal(compartments, one.compartments)
    assert score(segmenter, one, PAPER, (image, compartments)) is not None


def test_whole_muscle_is_what_a_network_gives() -> None:
    assert whole_label(LabelSet.from_config({"muscle": []})) == PAPER
    assert whole_label(LabelSet.from_config({"muscle": [1], "other_muscle": [2]})) == EVERY
    assert whole_label(LabelSet.from_config({"sartorius": [1], "adductor_longus": [2]})) == EVERY


def test_what_lies_below_is_listed_worst_first() -> None:
    rows = [
        {"factor": "noise", "value": value, "subject": subject, "dice": dice}
        for value, own in ((0.0, (0.95, 0.97)), (0.1, (0.7, 0.9)), (0.2, (0.5, None)))
        for subject, dice in enumerate(own)
    ]
    means = list(summarised(rows))
    assert [row["dice"] for row in means] == [pytest.approx(0.96), pytest.approx(0.8), 0.5]
    assert [line.split(" | ")[1] for line in below(means).splitlines()[2:]] == ["0.2", "0.1"]
    assert below(means[:1]) == "Nothing lies below 0.9.\n"
