"""Networks on phantoms that no training has drawn: whole muscle, single muscles, the mean fat fraction.

``python -m benchmarks.validity.held_out MODEL OUT --cohorts DIR`` makes the cohorts in DIR, or takes those that are
there, and writes below OUT what `musclesense score` makes of each:

- ``paper``: the paper's protocol, a share of its subjects at their first visit, beside the paper's mask;
- ``scanner``: images in which fat is bright, of any scanner, beside the paper's mask;
- ``any``: images of any contrast, beside the paper's mask;
- ``every``: these beside every muscle, where the network gives every one;
- ``single``: those of the paper's protocol beside single muscles, where the network tells single muscles apart.

``python -m benchmarks.validity.paired OUT OTHER_OUT`` compares two networks on the same slices.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.validity.robustness import whole_label
from musclesense.cohort.table import read_table, write_table
from musclesense.errors import report_input_errors
from musclesense.evaluation.scoring import EVERY, PAPER, SCORES, Reference, score_cohort
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log, to_console
from musclesense.networks.spec import Effort
from musclesense.phantom.any_contrast import MASK_VALUES
from musclesense.phantom.cohorts.generate import make_subject
from musclesense.phantom.cohorts.presets import Preset, find_preset
from musclesense.phantom.cohorts.subjects import list_subjects
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.atomic import atomic_folder

HELD_OUT = 20261130
"""Seed of the cohorts; trainings make theirs of seed 1."""
SHARES = {"paper": 0.12, "any_scanner": 0.35, "any_contrast": 0.25}
"""Of the subjects of a preset."""


def main() -> None:
    """Read the command line, make what is missing, and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cohorts", type=Path, required=True)
    parser.add_argument("--larger", type=float, default=1.0, help="cohorts so many times as large")
    parser.add_argument("--effort", default=Effort.DEFAULT, choices=[*Effort], help="how often it looks at a slice")
    options = parser.parse_args()
    with report_input_errors(debug=False):
        to_console()
        tables = {}
        for preset, share in SHARES.items():
            folder = options.cohorts / f"{preset}-{options.larger:g}"
            tables[preset] = cohort(folder, few(find_preset(preset), options.larger * share))
        judge(Segmenter.load(options.model, effort=options.effort), options.out, tables)


def few(preset: Preset, share: float) -> Preset:
    """Keep a share of the subjects of each group, at their first visit alone."""
    groups = (
        replace(group, subjects=max(1, round(share * group.subjects)), retested=0, followed={})
        for group in preset.groups
    )
    return replace(preset, groups=tuple(groups))


def cohort(folder: Path, preset: Preset) -> Path:
    """Make a cohort of the middle slices of a preset, or take the one that is there; gives its table."""
    if not folder.exists():
        subjects = list_subjects(preset)
        with atomic_folder(folder) as draft:
            rows = [row for one in subjects for row in make_subject(draft, preset, HELD_OUT, True, False, one)[0]]
            write_table(draft / "cohort.csv", rows)
        log.info(f"{folder}: {len(rows)} acquisitions of {len(subjects)} subjects")
    return folder / "cohort.csv"


def judge(segmenter: Segmenter, out: Path, tables: dict[str, Path]) -> None:
    """Score a network on both cohorts; prints the scores of all scans of each."""
    for name, table, reference in _sets(segmenter, out, tables):
        score_cohort(table, out / name, segmenter, reference, pictures=False)
        lines = (out / name / SCORES).read_text(encoding="utf-8").splitlines()
        print(f"\n{name}\n", *lines[:2], *(line for line in lines if line.startswith("| all")), sep="\n")


def _sets(segmenter: Segmenter, out: Path, tables: dict[str, Path]) -> Iterator[tuple[str, Path, Reference]]:
    """Give the name, the table and the reference of each set that suits a network."""
    channels, labels = segmenter.spec.channels, segmenter.spec.labels
    paper = Reference(labels=LabelSet.from_config({PAPER: []}))
    yield "paper", tables["paper"], paper
    if len(channels) == 1:
        scanner, contrast = (_of_one_image(tables[name], channels[0], out) for name in ("any_scanner", "any_contrast"))
        yield "scanner", scanner, paper
        yield "any", contrast, Reference(labels=LabelSet.from_config({PAPER: [MASK_VALUES[0]]}))
        if whole_label(labels) == EVERY:
            yield "every", contrast, Reference(labels=LabelSet.from_config({EVERY: [*MASK_VALUES]}))
    if any(name.startswith(("soleus", "sartorius")) for name in labels.names):
        yield "single", tables["paper"], Reference(column="compartments")


def _of_one_image(table: Path, channel: str, out: Path) -> Path:
    """Write a table anew in which the image of each row is the one that a network takes."""
    rows = read_table(table).acquisitions
    anew = out / f"{table.parent.name}.csv"
    write_table(anew, [replace(row, channels={channel: next(iter(row.channels.values()))}) for row in rows])
    return anew


if __name__ == "__main__":
    main()
