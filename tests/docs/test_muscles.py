"""Names and numbers of muscles: the data behind the page are the project's, and the page shows them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from musclesense.phantom.anatomy.templates import LEFT_OFFSET, TEMPLATES, compartment_values
from musclesense.vocabulary import Region

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load((REFERENCE / "muscles.yaml").read_text(encoding="utf-8"))
    return table


def rows_of(data: dict[str, Any], region: Region) -> list[str]:
    """The lines of the page's table of a region."""
    programs, values = data["programs"], compartment_values(region)
    lines = []
    for name in TEMPLATES[region].muscles:
        own = data["muscles"][name]
        ours = f"{values[f'{name}_right']}, {values[f'{name}_left']}"
        others = (", ".join(map(str, own.get(program, []))) or "-" for program in programs)
        lines.append(" | ".join([f"| `{name}`", own["latin"], ours, *others]) + " |")
    return lines


def test_every_muscle_of_the_label_set_is_there_once(data: dict[str, Any]) -> None:
    assert list(data["muscles"]) == [name for region in reversed(Region) for name in TEMPLATES[region].muscles]
    known = {"latin", *data["programs"]}
    assert all(set(own) <= known for own in data["muscles"].values())


@pytest.mark.parametrize("program", ["musclemap", "authors", "qmritools", "rapid"])
@pytest.mark.parametrize("region", Region)
def test_a_number_is_of_one_side_and_shared_by_neighbours_only(
    data: dict[str, Any], program: str, region: Region
) -> None:
    numbers = [own for name in TEMPLATES[region].muscles if (own := data["muscles"][name].get(program))]
    if program == "rapid":
        assert sorted(number for (number,) in numbers) == (list(range(1, 12)) if region is Region.THIGH else [])
        return
    right, left = zip(*numbers, strict=True)
    assert not {*right} & {*left}
    assert len({one - other for one, other in numbers}) == 1, "sides differ by the same step"


@pytest.mark.parametrize("region", Region)
def test_the_page_shows_the_data(data: dict[str, Any], region: Region) -> None:
    page = (REFERENCE / "muscles.md").read_text(encoding="utf-8")
    for row in rows_of(data, region):
        assert row in page
    assert all(program["name"] in page for program in data["programs"].values())
    assert f"{LEFT_OFFSET} more on the left" in page
