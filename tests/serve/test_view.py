"""What is painted on a mask."""

import struct

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.serve.view import painted


def test_painted_slices_take_the_place_of_those_that_were() -> None:
    mask = np.zeros((3, 2, 2), np.uint8)
    edits = struct.pack("<I", 2) + bytes([0, 1, 2, 0]) + struct.pack("<I", 0) + bytes([1, 1, 1, 1])
    assert painted(edits, mask, 2).tolist() == [[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 1], [2, 0]]]
    assert not mask.any()


@pytest.mark.parametrize(
    "edits",
    [b"", b"123", struct.pack("<I", 3) + bytes(4), struct.pack("<I", 0) + bytes([3, 0, 0, 0]), bytes(8 * 4)],
    ids=["nothing", "half", "no such slice", "no such label", "too many"],
)
def test_what_is_no_slice_is_refused(edits: bytes) -> None:
    with pytest.raises(InputError, match="paint it again"):
        painted(edits, np.zeros((3, 2, 2), np.uint8), 2)
