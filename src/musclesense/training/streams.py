"""Which random numbers of a training are which: no two uses of a seed share them."""

from enum import IntEnum, unique


@unique
class Stream(IntEnum):
    """The first number of each seed; what stands here is never given to another use, so that runs can be repeated."""

    AUGMENTATION = 1
    SHUFFLE = 2
    NETWORK = 3
    POOL = 4
    SAMPLE = 5
    INTENSITY = 6
    BENDING = 7
