"""Bundles that come with the package: their names, their cards, and the choice where nobody names a model."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.networks import shipped as module
from musclesense.networks.build import build_network
from musclesense.networks.bundle import read_bundle, read_trained, write_bundle
from musclesense.networks.card import CARD, Card, read_card
from musclesense.networks.shipped import default_model, place_of, shipped
from musclesense.networks.spec import NetworkSpec
from musclesense.vocabulary import CHANNELS

from ..shared.networks import PUBLISHED, spec_of

SIDES = {"left": [1], "right": [2]}
Ship = Callable[..., Path]


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Put bundles into a package's folder that begins empty."""
    monkeypatch.setattr(module, "FOLDER", tmp_path / "weights")

    def write(name: str, *channels: str, labels: dict[str, list[int]] | None = None, **spec: object) -> Path:
        given = {"placed_by": channels[0], "network": {"name": "unet", "width": 1, "depth": 1}} | spec
        made = spec_of(channels=channels, labels=LabelSet.from_config(labels or {"muscle": []}), **given)
        write_bundle(tmp_path / "weights" / name, made, [build_network(made).state_dict()], {"title": f"of {name}"})
        return tmp_path / "weights" / name

    return write


@pytest.mark.parametrize("name", shipped())
def test_each_network_of_the_package_has_a_card_that_says_what_it_is_for(name: str) -> None:
    card = read_card(shipped()[name])
    for word in ("title", "takes", "gives", "trained_on", "use", "not_for"):
        assert card.about.get(word), f"{name}: write {word} into its card"
    (network,) = read_bundle(shipped()[name])
    assert network.spec == card.spec
    assert name.isidentifier(), "it can be typed, and is no path"


def test_the_published_network_is_among_them() -> None:
    ((own,), known) = read_bundle(shipped()["any_scanner_fat"]), read_trained(PUBLISHED)
    assert own.spec == replace(known.spec, across_mm=4.0) and own.spec.channels == ("fat",)
    weights = own.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in known.network.state_dict().items())


@pytest.mark.parametrize(
    ("images", "chosen"),
    [
        (["fat"], "of_fat"),
        (["fat", "te460"], "of_fat"),
        (["fat", "water"], "pair"),
        (["fat", "water", "te345"], "pair"),
        (["fat", "water", "te345", "te460", "te575"], "four"),
        (["image"], "any_whole"),
        (["water"], "any_whole"),
        (["fat", "image"], "any_whole"),
    ],
)
def test_the_network_that_takes_most_of_the_images_is_chosen(
    images: list[str], chosen: str, ship: Ship, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one image: that which takes it by its name, whole muscle before sides, and then the first by name."""
    ship("any_sides", "image", labels=SIDES)
    ship("any_whole", "image")
    ship("four", "fat", "water", "te345", "te575")
    ship("of_fat", "fat")
    ship("pair", "water", placed_by="fat")
    ship("calf", "fat", "water", "te345", regions=("calf",))
    caplog.set_level("INFO")
    assert default_model(images, ["thigh"]) == chosen
    (said,) = caplog.messages
    assert said.startswith(f"model: {chosen}, which takes ")


def test_where_no_network_takes_the_images_those_that_are_needed_are_named(ship: Ship) -> None:
    with pytest.raises(InputError, match=r"^no network of this package was trained on thigh; give model=NAME\|PATH"):
        default_model(["fat"], ["thigh"])
    ship("of_fat", "fat")
    ship("pair", "water", placed_by="fat")
    ship("calf", "image", regions=("calf",))
    both = r"of_fat takes fat; pair takes water, fat"
    for images, shown in ((["image"], "image"), (["te345", "te460"], "te345, te460"), ([], "no image")):
        with pytest.raises(
            InputError, match=rf"^no network of this package takes {shown} alone \({both}\); give these"
        ):
            default_model(images, ["thigh"])
    with pytest.raises(InputError, match="trained on calf and thigh; give"):
        default_model(["fat"], ["calf", "thigh"])
    assert default_model(["te345"], ["calf"]) == "calf"


channel_sets = st.sets(st.sampled_from(CHANNELS), min_size=1)


@given(sets=st.lists(channel_sets, min_size=1, max_size=5), images=channel_sets)
def test_what_is_chosen_can_be_used_and_no_other_takes_more(sets: list[set[str]], images: set[str]) -> None:
    specs = {f"n{number}": spec_of(channels=tuple(own), placed_by=min(own)) for number, own in enumerate(sets)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "shipped", lambda: {name: Path(name) for name in specs})
        patch.setattr(module, "read_card", lambda folder: Card(specs[folder.name], 1, "", {}))
        usable = {name: own for name, own in specs.items() if {*own.channels} <= images | {"image"}}
        if not usable:
            with pytest.raises(InputError, match="takes"):
                default_model(images, ["thigh"])
        else:
            found = default_model(images, ["thigh"])
            assert found in usable
            assert len(specs[found].channels) == max(len(spec.channels) for spec in usable.values())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"


def test_a_name_is_the_networks_and_a_path_is_a_path(
    ship: Ship, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ship("known", "fat")
    assert place_of("known") == folder and caplog.messages == []
    assert place_of("unknown") == Path("unknown") and place_of("runs/known") == Path("runs/known")
    assert place_of(Path("known")) == place_of("./known") == Path("known")
    for make in (lambda path: path.mkdir(), lambda path: path.write_text("")):
        make(elsewhere / "known")
        assert place_of("known") == folder, "a folder or file of that name takes nothing away"
        said = f"known: the network that comes with the package; {elsewhere / 'known'} is another one"
        assert caplog.messages == [said]
        caplog.clear()
        assert place_of("./known") == Path("known") and caplog.messages == []
        shutil.rmtree(elsewhere / "known", ignore_errors=True)


def test_models_lists_what_is_there_and_shows_cards(ship: Ship, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models"])
    assert capsys.readouterr().out == ""
    ship("pair", "water", "fat")
    folder = ship(
        "sides", "image", labels={f"m{number}": [number] for number in range(1, 8)}, regions=("calf", "thigh")
    )
    (folder.parent / "notes.txt").write_text("no bundle")
    main(["models"])
    assert capsys.readouterr().out == (
        "pair: of pair\n  takes water, fat; gives muscle; thigh; 1 network, 0.0 MiB\n"
        "sides: of sides\n  takes image; gives 7 labels; calf, thigh; 1 network, 0.0 MiB\n"
    )
    for model in ("sides", str(folder)):
        main(["models", model])
        assert yaml.safe_load(capsys.readouterr().out) == json.loads((folder / CARD).read_text())
    with pytest.raises(SystemExit) as stopped:
        main(["models", "side"])
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", "error: side: no bundle; give pair or sides or a bundle\n")


def test_listing_needs_no_torch() -> None:
    code = "import sys\nfrom musclesense.cli.main import main\nmain(['models'])\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "any_scanner_fat: Whole muscle in fat images" in done.stdout and done.stdout.endswith("\nFalse\n")


def test_a_damaged_card_is_named(ship: Ship) -> None:
    folder = ship("known", "fat")
    (folder / CARD).write_text("{")
    for ask in (lambda: default_model(["fat"], ["thigh"]), module.listed, lambda: module.card_of("known")):
        with pytest.raises(InputError, match="not a usable bundle"):
            ask()


def test_images_of_a_network_are_its_channels_and_what_places_it() -> None:
    spec: NetworkSpec = spec_of(channels=("water", "te345"), placed_by="fat")
    assert spec.images == ("water", "te345", "fat")
    assert spec_of(channels=("water", "fat"), placed_by="fat").images == ("water", "fat")
