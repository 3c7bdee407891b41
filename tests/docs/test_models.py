"""The page of trained networks is what their cards say, and each card is of the network beside it."""

from pathlib import Path
from typing import Any

import pytest
from docs.figures import models

from musclesense.networks.bundle import read_trained
from musclesense.storage.digests import digest_of_bytes

CARDS = models.cards()


def test_the_page_is_what_the_cards_say() -> None:
    assert models.PAGE.read_text(encoding="utf-8") == models.page(CARDS)


def test_every_network_that_comes_with_the_project_has_a_card() -> None:
    networks = {file.parent for file in models.PROJECT.glob("experiments/*/model.ckpt")}
    assert networks == {file.parent for file in CARDS} != set()


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.parent.name)
def test_a_card_is_of_the_network_beside_it(file: Path) -> None:
    card = CARDS[file]
    network = file.parent / card["file"]
    assert card["sha256"] == digest_of_bytes(network)
    assert card["spec"] == read_trained(network).spec.to_config()
    assert card["figures"] and card["factors"] and card["not_for"]


def test_another_figure_gives_another_page() -> None:
    file, card = next(iter(CARDS.items()))
    other: dict[str, Any] = {**card, "figures": [{**card["figures"][0], "dice": 0.123}, *card["figures"][1:]]}
    assert "| 0.123 |" in models.page({file: other}) != models.page({file: card})
