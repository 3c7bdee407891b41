"""Label sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet

SIDED = {"soleus_left": [7], "tibia": [3, 4], "soleus_right": [9], "left": [1], "right": [2]}


def test_whole_muscle_is_any_positive_value():
    mask = np.array([[0, 1], [7, -2]])
    classes = LabelSet.from_config({"muscle": []}).encode(mask)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[0, 1], [1, 0]]


def test_values_become_class_indices_and_the_rest_background():
    mask = np.array([0, 1, 2, 3, 4, 5, 7, 9, 300], dtype=np.int16)
    assert LabelSet.from_config(SIDED).encode(mask).tolist() == [0, 4, 5, 2, 2, 0, 1, 3, 0]


def test_mirror_swaps_sides_and_leaves_the_rest():
    assert LabelSet.from_config(SIDED).mirror == (0, 3, 2, 1, 5, 4)
    assert LabelSet.from_config({"muscle": []}).mirror == (0, 1)


def test_mirror_takes_the_side_only_at_the_end_of_a_name():
    assert LabelSet.from_config({"left_over": [1], "cleft": [2], "bright": [3]}).mirror == (0, 1, 2, 3)


@settings(deadline=None, max_examples=50)
@given(
    stems=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5, unique=True),
    sided=st.integers(1, 31),
    order=st.randoms(use_true_random=False),
)
def test_mirror_is_its_own_inverse_and_a_permutation(stems, sided, order):
    names = [
        f"{stem}{side}"
        for bit, stem in enumerate(stems)
        for side in (("_left", "_right") if sided >> bit & 1 else ("",))
    ]
    order.shuffle(names)
    labels = LabelSet.from_config({name: [value] for value, name in enumerate(names, start=1)})
    mirror = np.array(labels.mirror)
    assert mirror[mirror].tolist() == list(range(labels.n_classes + 1))
    for index, name in enumerate(names, start=1):
        swapped = name.replace("left", "?").replace("right", "left").replace("?", "right")
        assert names[mirror[index] - 1] == swapped


def test_configuration_round_trip_is_plain():
    labels = LabelSet.from_config(SIDED)
    assert labels.to_config() == SIDED
    assert LabelSet.from_config(labels.to_config()) == labels
    assert labels.n_classes == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "1 to 255 different names"),
        ({"a": [1], "b": [2, 1]}, "value 1 is given to a and again to b"),
        ({"a": [1, 1]}, "value 1 is given to a and again to a"),
        ({"a": [0]}, "a has the value 0"),
        ({"a": [-3]}, "a has the value -3"),
        ({"a": [1.5]}, "a has the value 1.5"),
        ({"a": [True]}, "a has the value True"),
        ({"a": ["x"]}, "a has the value 'x'"),
        ({"a": [1], "b": []}, "b takes any positive value beside other classes"),
        ({"soleus_left": [1]}, "add soleus_right"),
        ({"right": [1], "a": [2]}, "add left"),
        ({str(i): [i] for i in range(1, 257)}, "1 to 255 different names"),
    ],
)
def test_refuses(config, message):
    with pytest.raises(InputError, match=message) as caught:
        LabelSet.from_config(config)
    assert all("\n" not in problem for problem in caught.value.problems)


def test_problems_come_together():
    with pytest.raises(InputError) as caught:
        LabelSet.from_config({"a": [0], "b_left": [2], "c": [2]})
    assert len(caught.value.problems) == 3


def test_a_mask_stored_as_float_is_rounded() -> None:
    mask = np.array([0.0, 0.99999994, 2.0000002, 7.0], dtype=np.float32)
    assert LabelSet.from_config({"one": [1], "two": [2]}).encode(mask).tolist() == [0, 1, 2, 0]
    assert LabelSet.from_config({"muscle": []}).encode(mask).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"muscle": [70_000]}, "has the value 70000; give whole numbers from 1 up to 65535"),
        ({"muscle": "12"}, "has the values '12'; give a list"),
        ({"muscle": 3}, "has the values 3; give a list"),
        ({"a\nb": [1]}, "holds control characters"),
    ],
)
def test_what_no_mask_could_hold_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        LabelSet.from_config(config)
