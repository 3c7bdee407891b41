"""Label sets: which values of a mask make which class, and which classes trade places in a mirror."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError, refuse
from musclesense.names import name_problem
from musclesense.vocabulary import Side

BACKGROUND = 0
MOST_CLASSES = int(np.iinfo(np.uint8).max)
"""Of a label set, background left out."""
_LARGEST_VALUE = np.iinfo(np.uint16).max  # of a mask that is written
_OTHER_SIDE = {side.value: side.other.value for side in Side}


@dataclass(frozen=True)
class LabelSet:
    """The foreground classes that a network tells apart."""

    names: tuple[str, ...]  # name of each class; the class at position ``i`` has class index ``i + 1``, 0 is background
    values: tuple[tuple[int, ...], ...]
    """Mask values of each class; the empty tuple stands for any positive value and stands alone."""

    def __post_init__(self) -> None:
        refuse(_problems(self.names, self.values))

    @classmethod
    def from_config(cls, config: Mapping[str, Sequence[int]]) -> Self:
        """Make a label set from a mapping such as ``{"left": [1], "right": [2]}`` or ``{"muscle": []}``.

        Raises:
            InputError: No class, a value that is no positive integer or belongs to two classes,
                any-positive beside other classes, or a sided name without its other side.
        """
        for name, values in config.items():
            if not isinstance(values, Sequence) or isinstance(values, str):
                raise InputError(f"labels: {name} has the values {values!r}; give a list of whole numbers")
        return cls(tuple(str(name) for name in config), tuple(tuple(values) for values in config.values()))

    def to_config(self) -> dict[str, list[int]]:
        """Give the plain mapping that ``from_config`` takes."""
        return {name: list(values) for name, values in zip(self.names, self.values, strict=True)}

    @property
    def n_classes(self) -> int:
        """Number of foreground classes."""
        return len(self.names)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Class index that each class index (0 is background) becomes when left and right trade places."""
        return (BACKGROUND, *(self.names.index(mirrored_name(name)) + 1 for name in self.names))

    def encode(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn mask values into class indices, uint8 of the same shape; values of no class become background.

        A mask that is stored as float is rounded: it holds whole numbers, up to the precision of its file.
        """
        whole = np.rint(mask)
        classes = np.zeros(mask.shape, dtype=np.uint8)
        for index, values in enumerate(self.values, start=1):
            classes[np.isin(whole, values) if values else whole > 0] = index
        return classes

    @property
    def written(self) -> tuple[int, ...]:
        """The value of each class in a mask that is written: its first one, 1 for any positive value."""
        return tuple(own[0] if own else 1 for own in self.values)

    def decode(self, classes: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Turn class indices into the mask values that are written."""
        decoded: NDArray[np.uint16] = np.array([BACKGROUND, *self.written], dtype=np.uint16)[classes]
        return decoded


def decide(probabilities: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.uint8]:
    """Give the likeliest class where the foreground as a whole reaches ``threshold``, else background.

    Args:
        probabilities: (classes, ...) of the foreground classes.
        threshold: From 0 to 1.

    Returns:
        Class indices of shape (...).
    """
    foreground = probabilities.sum(axis=0) >= threshold
    decided: NDArray[np.uint8] = np.where(foreground, probabilities.argmax(axis=0) + 1, BACKGROUND).astype(np.uint8)
    return decided


def without_side(name: str) -> str:
    """Take the side off a label's name.

    >>> without_side("soleus_left"), without_side("soleus"), without_side("left")
    ('soleus', 'soleus', '')
    """
    stem, _, side = name.rpartition("_")
    return stem if side in _OTHER_SIDE else name


def mirrored_name(name: str) -> str:
    """Swap the side at the end of a name; give others as they are.

    >>> mirrored_name("soleus_left"), mirrored_name("left"), mirrored_name("soleus")
    ('soleus_right', 'right', 'soleus')
    """
    stem, underscore, side = name.rpartition("_")
    return stem + underscore + _OTHER_SIDE.get(side, side)


def _problems(names: tuple[str, ...], values: tuple[tuple[int, ...], ...]) -> Iterator[str]:
    if not names or len(names) > MOST_CLASSES or len(set(names)) != len(names) or len(names) != len(values):
        yield f"labels: {list(names)} must be 1 to {MOST_CLASSES} different names, each with its values"
    owner: dict[int, str] = {}
    for name, own in zip(names, values, strict=False):
        if why := name_problem(name):
            yield f"labels: {name!r} {why}; give a plain name"
        if not own and len(names) > 1:
            yield f"labels: {name} takes any positive value beside other classes; list its values"
        for value in own:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST_VALUE:
                wanted = f"give whole numbers from 1 up to {_LARGEST_VALUE} (0 is background)"
                yield f"labels: {name} has the value {value!r}; {wanted}"
            elif value in owner:
                yield f"labels: value {value} is given to {owner[value]} and again to {name}; give it to one"
            else:
                owner[value] = name
        if mirrored_name(name) not in names:
            yield f"labels: {name} has no other side; add {mirrored_name(name)} or take the side off the name"
