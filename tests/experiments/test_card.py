"""Cards: filled in by what commands wrote, of the network that they name and no other, and given along in a bundle."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.networks.card import read_card
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.records import write_csv, write_json

from ..shared.networks import write_checkpoint

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXPERIMENTS / "judge")
    import card

    yield card
    sys.modules.pop("card")


def words(folder: Path, cards, **changed: object) -> Path:
    said = {word: f"the {word}" for word in cards.WORDS} | {"file": "best.ckpt", "not_for": ["patients"]} | changed
    (folder / "card.yaml").write_text(yaml.safe_dump(said))
    return folder / "card.yaml"


@pytest.fixture
def measured(tmp_path: Path, cards) -> tuple[Path, Path, Path]:
    """A card with words, and scores of its network: held out, and by factor."""
    network = write_checkpoint(tmp_path / "best.ckpt", channels=("fat",))
    files = {"files": [{"file": "table.csv", "sha256": "0"}, {"file": "b", "sha256": digest_of_bytes(network)}]}
    scores = {"region": "calf", "label": "muscle", "subjects": 3, "slices": 4, "dice": 0.91234, "dice_low": 0.9}
    rows = [{"subject": "s"} | scores, {"subject": "all", "dice_high": 0.95} | scores]
    held_out, robustness = tmp_path / "held", tmp_path / "robust"
    write_csv(held_out / "paper" / "scans.csv", ("subject", *scores, "dice_high", *cards.MEASURES[3:]), rows)
    write_json(held_out / "paper" / "record.json", files)
    factor = {"factor": "noise", "value": 0.1, "slices": 4, "dice": 0.8, "dice_low": 0.7, "dice_high": 0.9}
    write_csv(robustness / "robustness.csv", (*factor, "dice_worst"), [factor | {"dice_worst": 0.6}])
    write_json(robustness / "record.json", files)
    return words(tmp_path, cards), held_out, robustness


def test_a_card_keeps_its_words_and_takes_the_figures(measured: tuple[Path, Path, Path], cards) -> None:
    file, *scores = measured
    before = yaml.safe_load(file.read_text())
    for _ in range(2):
        cards.fill(file, *scores, None)
    card = yaml.safe_load(file.read_text())
    assert {word: card[word] for word in cards.WORDS} == before
    assert card["spec"]["channels"] == ["fat"] and card["sha256"] == digest_of_bytes(file.with_name("best.ckpt"))
    (figures,) = card["figures"]
    assert figures == {
        "on": cards.SETS["paper"],
        **{"region": "calf", "label": "muscle", "subjects": 3, "slices": 4},
        **{"dice": 0.912, "dice_low": 0.9, "dice_high": 0.95},
    }
    (factor,) = card["factors"]
    assert (factor["factor"], factor["value"], factor["dice"], factor["dice_worst"]) == ("noise", "0.1", 0.8, 0.6)


@pytest.mark.parametrize("which", [1, 2])
def test_scores_of_another_network_are_refused(which: int, measured: tuple[Path, Path, Path], cards) -> None:
    (record,) = measured[which].rglob("record.json")
    content = json.loads(record.read_text())
    content["files"].pop()
    record.write_text(json.dumps(content))
    before = measured[0].read_bytes()
    with pytest.raises(InputError, match="another network"):
        cards.fill(*measured, None)
    assert measured[0].read_bytes() == before


def test_a_card_without_words_is_refused(measured: tuple[Path, Path, Path], cards) -> None:
    file = words(measured[0].parent, cards, not_for=[], use="")
    with pytest.raises(InputError, match=r"lacks use, not_for; write them$"):
        cards.fill(file, *measured[1:], None)


def test_a_card_goes_into_the_bundle(measured: tuple[Path, Path, Path], cards) -> None:
    cards.fill(*measured, None)
    file, out = measured[0], measured[0].with_name("bundle")
    main(["export-bundle", str(file.with_name("best.ckpt")), "--out", str(out), "--card", str(file)])
    about, card = read_card(out).about, yaml.safe_load(file.read_text())
    assert about["not_for"] == ["patients"] and about["figures"] == card["figures"] and "sha256" not in about
