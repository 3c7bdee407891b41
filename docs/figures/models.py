"""The pages of trained networks, from their cards: ``python -m docs.figures.models``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musclesense.networks.card import read_card
from musclesense.networks.shipped import shipped
from musclesense.storage.records import read_yaml, write_text

PROJECT = Path(__file__).parents[2]
PAGES = PROJECT / "docs" / "reference"
HEAD = """# Trained networks

These pages are made from the cards of the networks by `python -m docs.figures.models`. A card lies in the folder of the
network's experiment, as `card.yaml`. Its figures come from the commands in `experiments/judge/README.md`. Intervals are
of the mean, 95 %, by the bootstrap over subjects. Phantoms are simulated; their figures are no validation. `musclesense
models` lists the networks that come with the package ([which one segments](command-line-networks.md#which-network)).

[Real scans](../reports/index.md#the-real-scans) are few. No checkpoint and no threshold was chosen by them. Some
settings of `any_scanner_fat` were changed after looks at `ideal_thigh`, so its figure there is optimistic
([report](../reports/2026-11-any-scanner.md#how-certain-this-is)). Cards may differ in how many phantoms they were
measured on: compare rows only where subjects and slices are as many.

| network | title | in the package |
|---|---|---|
"""
SCORES = {
    "region": "region",
    "label": "label",
    "subjects": "subjects",
    "slices": "slices",
    "dice": "Dice",
    "interval": "interval",
    "recall": "recall",
    "precision": "precision",
    "hd95_mm": "HD95, mm",
    "fat_fraction_off": "fat fraction off, points",
}


def main() -> None:
    """Write the pages."""
    for name, text in pages(cards()).items():
        write_text(PAGES / name, text)


def cards() -> dict[Path, Mapping[str, Any]]:
    """Read all cards, by file."""
    return {file: read_yaml(file, remedy="write it again") for file in sorted(PROJECT.glob("experiments/*/card.yaml"))}


def pages(of_networks: Mapping[Path, Mapping[str, Any]]) -> dict[str, str]:
    """Write a page of all networks, and one of each card; by file name."""
    names = {file: f"model-{file.parent.name}.md" for file in of_networks}
    rows = (
        f"| [`{file.parent.name}`]({names[file]}) | {card['title']} | {in_package(card)} |\n"
        for file, card in of_networks.items()
    )
    return {"models.md": HEAD + "".join(rows)} | {names[file]: page(file, card) for file, card in of_networks.items()}


def in_package(card: Mapping[str, Any]) -> str:
    """Name the bundles of a card's network that come with the package."""
    return ", ".join(f"`--model {name}`" for name in _packed(card)) or "no"


def _packed(card: Mapping[str, Any]) -> list[str]:
    return [name for name, bundle in shipped().items() if card["sha256"] in digests_of(bundle)]


def digests_of(bundle: Path) -> set[str]:
    """Give the digests of a bundle's weights, and of those that it was made of."""
    card = read_card(bundle)
    return {card.weights_sha256, *card.about.get("made_of", ())}


def page(file: Path, card: Mapping[str, Any]) -> str:
    """Write what a card says."""
    spec = card["spec"]
    grid = spec["grid"]
    folder = file.parent.relative_to(PROJECT).as_posix()
    own, packed = (file.parent / card["file"]).resolve(), _packed(card)
    network = own if own.exists() or not packed else shipped()[packed[0]]
    facts = {
        "in the package": in_package(card),
        "network": f"`{network.relative_to(PROJECT).as_posix()}`, SHA-256 `{card['sha256']}`",
        "takes": card["takes"],
        "gives": card["gives"],
        "trained on": card["trained_on"],
        "training": f"`{card['training']}`, see `{folder}/README.md`; measured by Musclesense {card['musclesense']}",
        "for": card["use"],
        "images, regions": f"{', '.join(spec['channels'])}; {', '.join(spec['regions'])}",
        "grid, threshold": f"{grid['spacing_mm']:g} mm, {grid['rows']} x {grid['columns']}; {spec['threshold']:g}",
    }
    lines = [
        f"# {card['title']}",
        "",
        "[All networks](models.md)",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {said} |" for name, said in facts.items()),
        "",
        "**Do not use it** for",
        "",
        *(f"- {said}" for said in card["not_for"]),
    ]
    for title, rows in (("On held-out phantoms", card["figures"]), ("On real scans", card["real_scans"])):
        if rows:
            lines += ["", f"{title}:", "", *_table(("on", *SCORES), ("on", *SCORES.values()), rows)]
    if card["factors"]:
        names = ("factor", "value", "slices", "dice", "interval", "dice_worst")
        heads = ("factor", "value", "slices", "Dice", "interval", "worst slice")
        said = "One factor at a time, on phantoms, the others held at a usual value:"
        lines += ["", said, "", *_table(names, heads, card["factors"])]
    return "\n".join([*lines, ""])


def _table(names: Sequence[str], heads: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a table; columns that no row has are left out."""
    used = [(name, head) for name, head in zip(names, heads, strict=True) if any(_cell(row, name) for row in rows)]
    lines = [[head for _, head in used], ["-" * 3] * len(used)]
    lines += [[_cell(row, name) for name, _ in used] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name == "interval":
        return f"{row['dice_low']:.3f} to {row['dice_high']:.3f}" if "dice_low" in row else ""
    value = row.get(name, "")
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{1 if name == 'hd95_mm' else 2 if name == 'fat_fraction_off' else 3}f}"


if __name__ == "__main__":
    main()
