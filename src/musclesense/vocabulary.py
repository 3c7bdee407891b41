"""The words of the field: regions, sides and limbs, channels and echoes.

Each word is its own text: ``Region("thigh") == "thigh"``.
"""

from collections.abc import Collection
from enum import StrEnum


class Region(StrEnum):
    """The body region that an acquisition shows.

    >>> Region("thigh")
    <Region.THIGH: 'thigh'>
    """

    CALF = "calf"
    THIGH = "thigh"


class Side(StrEnum):
    """A side of the subject: left and right are the subject's own, not the viewer's.

    >>> Side.LEFT.other
    <Side.RIGHT: 'right'>
    """

    RIGHT = "right"
    LEFT = "left"

    @property
    def other(self) -> "Side":
        """The side that this one becomes in a mirror."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


class Limbs(StrEnum):
    """The limbs that an acquisition shows: both side by side, or one, whose side may not be known.

    >>> Limbs.BOTH.sides
    (<Side.RIGHT: 'right'>, <Side.LEFT: 'left'>)
    >>> Limbs("left").sides
    (<Side.LEFT: 'left'>,)
    >>> Limbs.ONE.sides
    ()
    """

    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"
    ONE = "one"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that are known to be shown, right before left."""
        return tuple(side for side in Side if self in (Limbs.BOTH, side))


class Echo(StrEnum):
    """A gradient echo of the 3-point Dixon acquisition, named by its echo time.

    >>> [echo.time_ms for echo in Echo]
    [3.45, 4.6, 5.75]
    """

    TE345 = "te345"
    TE460 = "te460"
    TE575 = "te575"

    @property
    def time_ms(self) -> float:
        """Echo time in milliseconds."""
        return int(self.removeprefix("te")) / 100


class Channel(StrEnum):
    """An image that a network can take, in the order in which tables list them; ``image`` is one of any contrast.

    >>> Channel("te460") == Echo.TE460
    True
    """

    FAT = "fat"
    WATER = "water"
    TE345 = "te345"
    TE460 = "te460"
    TE575 = "te575"
    IMAGE = "image"

    @property
    def is_echo(self) -> bool:
        """Whether it is the magnitude of a gradient echo.

        >>> Channel.TE460.is_echo, Channel.WATER.is_echo
        (True, False)
        """
        return self.value in tuple(Echo)


EDITIONS = {
    "professional": (Channel.FAT, Channel.WATER, Channel.TE345, Channel.TE575),
    "simplified": (Channel.FAT,),
    "any_contrast": (Channel.IMAGE,),
}
"""Sets of channels that have a name."""


def edition_of(channels: Collection[str], named: str) -> str:
    """Name a set of channels; ``named`` is the edition that was asked for, whose channels may have been replaced.

    >>> edition_of(["fat"], "professional"), edition_of(["fat", "water"], "professional")
    ('simplified', 'none')
    >>> edition_of(["fat", "water"], "of_our_clinic")
    'of_our_clinic'
    """
    known = (name for name, own in EDITIONS.items() if {*own} == {*channels})
    return next(known, "none" if named in EDITIONS else named)


CHANNELS = tuple(channel.value for channel in Channel)
"""The names of all channels."""
