"""The pages of trained networks are what their cards say, and each card is of the network beside it."""

from pathlib import Path
from typing import Any

import pytest
from docs.figures import models

from musclesense.networks.bundle import read_networks
from musclesense.networks.shipped import shipped
from musclesense.storage.digests import digest_of_bytes

CARDS = models.cards()


def test_the_pages_are_what_the_cards_say() -> None:
    there = {file.name: file.read_text(encoding="utf-8") for file in models.PAGES.glob("model*.md")}
    assert there == models.pages(CARDS)


def test_every_network_that_comes_with_the_project_has_a_card() -> None:
    known = {card["sha256"] for card in CARDS.values()}
    assert {digest_of_bytes(file) for file in models.PROJECT.glob("experiments/*/model.ckpt")} <= known
    for name, bundle in shipped().items():
        assert known & models.digests_of(bundle), f"{name}: no experiments/*/card.yaml is of it"


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.parent.name)
def test_a_card_is_of_a_network_that_is_there(file: Path) -> None:
    """Beside it, or in the package."""
    card, beside = CARDS[file], file.parent / CARDS[file]["file"]
    own = (
        [beside] if beside.exists() else [one for one in shipped().values() if card["sha256"] in models.digests_of(one)]
    )
    trained = read_networks(own[0])[0]
    assert card["sha256"] in ({digest_of_bytes(trained.weights_file)} if own == [beside] else models.digests_of(own[0]))
    assert card["spec"] == trained.spec.to_config()
    assert card["figures"] and card["factors"] and card["not_for"]


def test_a_network_in_the_package_alone_is_named_by_its_bundle() -> None:
    file, card = next((file, card) for file, card in CARDS.items() if file.parent.name == "any_scanner_fat")
    assert "| in the package | `--model any_scanner_fat` |" in models.page(file, card)
    assert "`experiments/any_scanner_fat/model.ckpt`" in models.page(file, card)
    moved = models.page(file, {**card, "file": "gone.ckpt"})
    assert "| network | `src/musclesense/weights/any_scanner_fat`, SHA-256" in moved
    assert "| in the package | no |" in models.page(file, {**card, "sha256": "0" * 64})


def test_another_figure_gives_another_page() -> None:
    file, card = next(iter(CARDS.items()))
    other: dict[str, Any] = {**card, "figures": [{**card["figures"][0], "dice": 0.123}, *card["figures"][1:]]}
    assert "| 0.123 |" in models.page(file, other) != models.page(file, card)
