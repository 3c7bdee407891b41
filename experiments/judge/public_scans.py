"""The public scans of ``MUSCLESENSE_REAL_DATA`` scored and drawn by trained networks; its README says what they are.

``MUSCLESENSE_REAL_DATA=DIR python experiments/judge/public_scans.py MODEL OUT`` writes below OUT, of each set of scans,
a cohort table with the images that it needs, and what `musclesense score` makes of it:

- ``paper``: `ideal_thigh` as fat, water, in and out of phase, beside the muscles of the paper's mask, slices 2..10;
- ``every``: `sts_*`, T1, beside every muscle by CT, over the slices that their ``slices.txt`` names; voxels that nobody
  judged are left out;
- ``single``: `ideal_thigh` beside its single muscles, slices 3..8, where the networks tell single muscles apart;
- ``looked_at``: the scans without labels, pictures alone.

The networks take one image, fat or one of any contrast. Nothing is chosen by these scores.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, write_table
from musclesense.dixon.separation import fat_fraction
from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.scoring import EVERY, PAPER, SCORES, Reference, score_cohort
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Volume, read_volume, write_volume
from musclesense.messages import to_console
from musclesense.segmentation.scan import from_echoes
from musclesense.segmentation.segmenter import Segmenter
from musclesense.vocabulary import Limbs, Region

IGNORED = 255
PAPER_SLICES, SINGLE_SLICES = range(2, 11), range(3, 9)
MUSCLES = LabelSet.from_config(
    {
        name: [value]
        for value, name in enumerate(
            (
                *("sartorius", "rectus_femoris", "vastus_lateralis", "vastus_intermedius", "vastus_medialis"),
                *("adductor_magnus", "gracilis", "biceps_femoris_long_head", "semitendinosus", "semimembranosus"),
                "biceps_femoris_short_head",
            ),
            start=1,
        )
    }
)
"""What the labels of `ideal_thigh` are."""
UNLABELLED = {
    "siemens_thigh": Region.THIGH,
    "siemens_calf": Region.CALF,
    "out_of_phase_calf": Region.CALF,
    "out_of_phase_thigh": Region.THIGH,
    "tse_calf": Region.CALF,
    "obese_thigh_hip": Region.THIGH,
}
ECHOES = ("te345", "te460", "te575")


def main() -> None:
    """Read the command line, write the tables, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=list(SETS))
    options = parser.parse_args()
    with report_input_errors(debug=False):
        to_console()
        judge(Path(os.environ["MUSCLESENSE_REAL_DATA"]), options.model, options.out, options.sets)


def judge(data: Path, model: str | Path, out: Path, sets: Iterable[str]) -> None:
    """Score and draw some of the sets of scans; prints the scores."""
    segmenter = Segmenter.load(model)
    (channel,) = segmenter.spec.channels
    for name in sets:
        make, reference = SETS[name]
        if name == "single" and not {*MUSCLES.names} & {
            label.rsplit("_", 1)[0] for label in segmenter.spec.labels.names
        }:
            continue
        folder = out / name
        table = folder / "scans" / "cohort.csv"
        write_table(table, make(data, table.parent, channel))
        scored = folder / "scores"
        score_cohort(table, scored, segmenter, reference)
        print(f"\n{name}\n\n{(scored / SCORES).read_text(encoding='utf-8')}", end="")


def paper_rows(data: Path, out: Path, channel: str, slices: Iterable[int] = PAPER_SLICES) -> list[Acquisition]:
    """Make the four contrasts of `ideal_thigh`."""
    fat, water, muscles = (read_volume(data / "ideal_thigh" / f"{name}.nii.gz") for name in ("fat", "water", "muscles"))
    parts = [volume.data.astype(np.float32) for volume in (fat, water)]
    images = {"fat": parts[0], "water": parts[1], "in_phase": sum(parts), "out_of_phase": np.abs(parts[1] - parts[0])}
    mask = _write(out / "muscles.nii.gz", _only(muscles, slices), fat)
    fraction = _write(out / "fat_fraction.nii.gz", fat_fraction(*parts), fat)
    return [
        Acquisition(
            line=0,
            subject="ideal_thigh",
            session=session,
            region=Region.THIGH,
            channels={channel: _write(out / f"{session}.nii.gz", np.asarray(image), fat)},
            mask=mask,
            compartments=mask,
            fat_fraction=fraction,
        )
        for session, image in images.items()
    ]


def single_rows(data: Path, out: Path, channel: str) -> list[Acquisition]:
    """Make the same for single muscles."""
    return paper_rows(data, out, channel, SINGLE_SLICES)


def every_rows(data: Path, out: Path, channel: str) -> list[Acquisition]:
    """Make the scans whose labels come from CT, with the slices that count alone."""
    rows = []
    for name, region in (("sts_thigh_045", Region.THIGH), ("sts_calf_010", Region.CALF)):
        labels = read_volume(data / name / "muscle_ct.nii.gz")
        slices = map(int, (data / name / "slices.txt").read_text(encoding="utf-8").split())
        kept = _only(labels, slices)
        mask = _write(out / f"{name}.nii.gz", np.where(kept == 2, IGNORED, kept).astype(np.uint8), labels)
        image = {channel: data / name / "t1.nii.gz"}
        rows.append(Acquisition(line=0, subject=name, region=region, limbs=Limbs.ONE, channels=image, mask=mask))
    return rows


def looked_at_rows(data: Path, out: Path, channel: str) -> list[Acquisition]:
    """Make the scans without labels, each image a session; of the echoes with phases, what the separation gives."""
    rows = []
    for name, region in UNLABELLED.items():
        files = {file.name.split(".")[0]: file for file in sorted((data / name).glob("*.nii.gz"))}
        if name == "siemens_thigh":
            scan = from_echoes(*((files[f"{echo}_magnitude"], files[f"{echo}_phase"]) for echo in ECHOES))
            place = read_volume(files["te345_magnitude"])
            parts = {part: _write(out / f"{part}.nii.gz", scan.channels[part], place) for part in ("fat", "water")}
            files = parts | {"te345": files["te345_magnitude"], "te460": files["te460_magnitude"]}
        for session, file in files.items():
            rows.append(Acquisition(line=0, subject=name, session=session, region=region, channels={channel: file}))
    return rows


def _only(labels: Volume, slices: Iterable[int]) -> NDArray[np.uint8]:
    """Empty the slices that do not count."""
    kept = np.zeros(labels.geometry.shape, np.uint8)
    count = slice_count(labels.geometry)
    for number in slices:
        if number >= count:
            raise InputError(f"slice {number} does not exist; there are {count}")
        take_slice(kept, labels.geometry, number)[:] = take_slice(labels.data, labels.geometry, number)
    return kept


def _write(path: Path, image: NDArray[np.generic], like: Volume) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, image, like.geometry, image.dtype)
    return path


_Rows = Callable[[Path, Path, str], list[Acquisition]]
SETS: dict[str, tuple[_Rows, Reference]] = {
    "paper": (paper_rows, Reference(labels=LabelSet.from_config({PAPER: []}))),
    "every": (every_rows, Reference(labels=LabelSet.from_config({EVERY: []}), ignored=(IGNORED,))),
    "single": (single_rows, Reference(labels=MUSCLES, column="compartments")),
    "looked_at": (looked_at_rows, Reference()),
}

if __name__ == "__main__":
    main()
