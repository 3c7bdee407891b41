"""Pictures lie in rows with their captions above them."""

import numpy as np
import pytest

from musclesense.imaging.contact_sheet import Captions, contact_sheet


def plain(value: int) -> np.ndarray:
    return np.full((40, 60, 3), value, np.uint8)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 3, 1), (3, 3, 1), (4, 3, 2), (5, 2, 3)])
def test_each_picture_is_there_in_its_place(count: int, columns: int, rows: int) -> None:
    values = [40 * (number + 1) for number in range(count)]
    sheet = np.asarray(contact_sheet([plain(value) for value in values], [Captions("")] * count, columns))
    places = [np.argwhere((sheet == value).all(axis=2)) for value in values]
    assert all(len(place) == 40 * 60 for place in places)
    assert len({int(place[0, 0]) for place in places}) == rows
    assert [int(place[0, 1]) for place in places[:columns]] == sorted(int(place[0, 1]) for place in places[:columns])


def test_captions_and_heading_are_written_in_their_colours() -> None:
    caption = Captions("n", ("left", "#ff0000"), ("right", "#0000ff"))
    bare = contact_sheet([np.zeros((60, 300, 3), np.uint8)], [caption], 3)
    headed = contact_sheet([np.zeros((60, 300, 3), np.uint8)], [caption], 3, "one\ntwo")
    pixels = np.asarray(bare).astype(int)
    red, blue = (np.argwhere(pixels[..., at] - pixels[..., 2 - at] > 100) for at in (0, 2))
    assert red.size and blue.size and red[:, 1].max() < 150 < blue[:, 1].min()
    assert headed.height > bare.height and np.asarray(headed)[: headed.height - bare.height].any()
