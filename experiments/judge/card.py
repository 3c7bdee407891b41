"""The card of a trained network: fill in what commands measured, beside the words that people wrote.

``python experiments/judge/card.py CARD.yaml --held-out DIR --robustness DIR [--scans DIR]`` reads the network that the
card names, what `benchmarks.validity.held_out`, `benchmarks.validity.robustness` and ``public_scans.py`` wrote of it,
and writes the card anew. Scores of another network than the card's are refused. ``python -m docs.figures.models`` makes
the page of models from all cards; ``export-bundle --card`` puts a card into a bundle.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.scoring import RECORD, SCANS
from musclesense.networks.bundle import read_networks
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.records import read_json, read_text, read_yaml, write_text
from musclesense.version import __version__

FORMAT = 1
WORDS = ("title", "file", "takes", "gives", "trained_on", "training", "use", "not_for")
"""What people write; the rest is filled in."""
SETS = {
    "paper": "held-out phantoms, the paper's protocol",
    "scanner": "held-out phantoms, fat images of any scanner",
    "any": "held-out phantoms, any contrast",
    "every": "held-out phantoms, any contrast, every muscle",
    "single": "held-out phantoms, single muscles",
}
MEASURES = ("dice", "dice_low", "dice_high", "recall", "precision", "hd95_mm", "fat_fraction_off")


def main() -> None:
    """Read the command line and write the card anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--robustness", type=Path, required=True)
    parser.add_argument("--scans", type=Path)
    options = parser.parse_args()
    with report_input_errors(debug=False):
        fill(options.card, options.held_out, options.robustness, options.scans)


def fill(card: Path, held_out: Path, robustness: Path, scans: Path | None) -> None:
    """Write a card anew, with what was measured of its network.

    Raises:
        InputError: The card lacks words, or scores are of another network.
    """
    said = read_yaml(card, remedy=f"write a card with {', '.join(WORDS)}")
    if missing := [word for word in WORDS if not said.get(word)]:
        raise InputError(f"{card}: lacks {', '.join(missing)}; write them")
    trained = read_networks(card.parent / said["file"])[0]
    digest = digest_of_bytes(trained.weights_file)
    figures = [*_of_sets(held_out, SETS, digest)]
    real = [] if scans is None else [*_of_scans(scans, digest)]
    content = {
        "format": FORMAT,
        **{word: said[word] for word in WORDS},
        "sha256": digest,
        "musclesense": __version__,
        "spec": trained.spec.to_config(),
        "figures": figures,
        "real_scans": real,
        "factors": [*_factors(robustness, digest)],
    }
    write_text(card, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))


def _of_sets(folder: Path, sets: Mapping[str, str], digest: str) -> Iterator[dict[str, Any]]:
    """Give the scores over all scans of each set that is there, by region and label."""
    for name, on in sets.items():
        if (folder / name / SCANS).exists():
            _require_network(folder / name / RECORD, digest)
            for row in _rows(folder / name / SCANS):
                if row["subject"] == "all" and not row.get("group"):
                    yield {"on": on} | _figures(row)


def _of_scans(folder: Path, digest: str) -> Iterator[dict[str, Any]]:
    """Give the scores of each real scan."""
    for file in sorted(folder.glob(f"*/scores/{SCANS}")):
        _require_network(file.with_name(RECORD), digest)
        for row in _rows(file):
            if row["subject"] != "all":
                yield {"on": " ".join(filter(None, (row["subject"], row["session"])))} | _figures(row)


def _factors(folder: Path, digest: str) -> Iterator[dict[str, Any]]:
    """Give the Dice at each value of each factor."""
    _require_network(folder / RECORD, digest)
    for row in _rows(folder / "robustness.csv"):
        numbers = {name: round(float(row[name]), 3) for name in ("dice", "dice_low", "dice_high", "dice_worst")}
        yield {"factor": row["factor"], "value": row["value"], "slices": int(row["slices"])} | numbers


def _figures(row: Mapping[str, str]) -> dict[str, Any]:
    whose: dict[str, Any] = {name: row[name] for name in ("region", "label")}
    counted = {name: int(row[name]) for name in ("subjects", "slices")}
    return whose | counted | {name: round(float(row[name]), 3) for name in MEASURES if row[name]}


def _require_network(record: Path, digest: str) -> None:
    files = read_json(record, remedy="score again")["files"]
    if digest not in [file["sha256"] for file in files]:
        raise InputError(f"{record}: of another network than the card's; score that one")


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(read_text(file, remedy="score again").splitlines()))


if __name__ == "__main__":
    main()
