"""What a separation must read, from the physics alone."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.dixon.fat import Excitation, fat_phasor
from musclesense.dixon.separation import ECHO_TIMES_MS
from musclesense.phantom.scanner.signal import TR_MS, Scanner

SinglePeak = Callable[[NDArray[np.float64], Scanner], NDArray[np.float64]]


@pytest.fixture(scope="session")
def single_peak() -> SinglePeak:
    """What a separation that takes fat for one peak finds, in percent, for a true fat fraction of 0 to 1."""

    def read(fat: NDArray[np.float64], scanner: Scanner) -> NDArray[np.float64]:
        gain = Excitation(scanner.flip_degrees, TR_MS).fat_gain
        before, in_phase, after = (1 - fat + gain * fat * fat_phasor(time) for time in ECHO_TIMES_MS)
        # Half the turn between the outer echoes is all the field that can be seen.
        field = np.angle(after / before) / 2
        outer = np.sqrt(np.abs(before * after)) * np.cos(np.angle(before * np.exp(1j * field) / in_phase))
        return np.asarray(50 * (1 - outer / np.abs(in_phase)))

    return read
