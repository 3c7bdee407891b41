"""What scanners do to an image, as operations on a 2-D slice: shading, blur, ringing, ghosts, wrap, noise.

Each takes and gives a float32 image of shape (rows, columns), 0 and above.
"""

import numpy as np
from scipy import ndimage

from musclesense.phantom.texture import Floats


def shading(
    rng: np.random.Generator, shape: tuple[int, int], *, strength: float, blotches: float, gaps: int = 0
) -> Floats:
    """Draw the brightness that coils and transmit field leave: 1 on average.

    The sensitivity is the root of the sum of squares of elements on a ring around the limbs. Elements that lie badly,
    and the transmit field at 3 T, leave broad dark and bright blotches besides; where an element fails or two of them
    gape, what lies below the skin is nearly dark.

    ``strength`` is 0 for no sensitivity, 1 as received, between for what a scanner's correction leaves; ``blotches``
    the standard deviation of the blotches' logarithm; ``gaps`` the number of nearly dark places.
    """
    rows, columns = shape
    y, x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None], np.linspace(-1, 1, columns, dtype=np.float32)
    elements = int(rng.integers(4, 13))
    angles = np.linspace(0, 2 * np.pi, elements, endpoint=False) + rng.uniform(0, 2 * np.pi)
    distance, size = rng.uniform(1.05, 1.6, elements), rng.uniform(0.25, 0.7)
    square = np.zeros(shape, np.float32)
    for angle, far, loud in zip(angles, distance, rng.lognormal(0, 0.5, elements), strict=True):
        apart = (x - np.float32(far * np.cos(angle))) ** 2 + (y - np.float32(far * np.sin(angle))) ** 2
        square += np.float32(loud**2) / (np.float32(size**2) + apart) ** 2
    nodes = rng.normal(0, blotches, (int(rng.integers(4, 7)), int(rng.integers(5, 10)))).astype(np.float32)
    zoom = (rows / nodes.shape[0], columns / nodes.shape[1])
    field = ndimage.zoom(nodes, zoom, order=3, mode="nearest", grid_mode=True)
    profile = np.sqrt(square) ** np.float32(strength) * np.exp(field[:rows, :columns])
    for _ in range(gaps):
        angle, far, size, depth = rng.uniform((0, 0.5, 0.15, 0.4), (2 * np.pi, 1.0, 0.5, 0.9)).astype(np.float32)
        # Round, in half heights of the frame.
        apart = ((x - far * np.cos(angle)) * np.float32(columns / rows)) ** 2 + (y - far * np.sin(angle)) ** 2
        profile *= 1 - depth * np.exp(-apart / (2 * size**2))
    return np.asarray(profile / profile.mean(), np.float32)


def blurred(image: Floats, sigma: tuple[float, float]) -> Floats:
    """Blur by the point spread: standard deviations along rows and columns in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, sigma), np.float32)


def ringing(image: Floats, keep: tuple[float, float]) -> Floats:
    """Cut the outer part of k-space off, which rings at edges; ``keep`` is the part left along rows and columns."""
    space = np.fft.fftshift(np.fft.fft2(image))
    for axis, part in enumerate(keep):
        size = image.shape[axis]
        beyond = np.abs(np.arange(size) - size // 2) > part * size / 2
        space[(beyond, slice(None)) if axis == 0 else (slice(None), beyond)] = 0
    return np.abs(np.fft.ifft2(np.fft.ifftshift(space))).astype(np.float32)


def ghosted(image: Floats, *, axis: int, shift: int, strength: float) -> Floats:
    """Add two faint copies along the phase-encoding axis, as pulsation and motion leave them."""
    return image + np.float32(strength) * (np.roll(image, shift, axis) + np.roll(image, -shift, axis))


def wrapped(image: Floats, *, axis: int, overlap: int) -> Floats:
    """Narrow the frame by ``overlap`` pixels on either side, and fold what then lies beyond into the opposite side."""
    whole = np.moveaxis(image, axis, 0)
    folded = whole[overlap:-overlap].copy()
    folded[:overlap] += whole[-overlap:]
    folded[-overlap:] += whole[:overlap]
    return np.moveaxis(folded, 0, axis)


def noisy(rng: np.random.Generator, image: Floats, sigma: float) -> Floats:
    """Give the magnitude of an image with complex Gaussian noise: Rician."""
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(sigma)
    return np.asarray(np.hypot(image + noise[0], noise[1]), np.float32)
