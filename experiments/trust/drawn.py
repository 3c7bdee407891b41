"""What trust in masks is learnt from: phantoms that no training of networks has drawn, and images spoilt on purpose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from benchmarks.validity.robustness import HELD_OUT, whole_label
from experiments.region.others import KINDS as OTHERS
from experiments.region.others import draw_other
from numpy.typing import NDArray

from musclesense.evaluation.scoring import EVERY, match_labels
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.metrics.overlap import overlap
from musclesense.phantom import any_contrast, any_scanner
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.readout import smooth_field
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.phantom.slices import every_muscle, whole_muscle
from musclesense.segmentation.place import FRAME, Place
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.segmentation.trust import Key
from musclesense.vocabulary import Region

LEAST_CM2 = 1.0
_STACKS = 31
Floats = NDArray[np.float32]


class Drawn(NamedTuple):
    """Slices of one subject, as images and compartments in display order, all of a pixel size in mm."""

    images: Sequence[Floats]
    compartments: Sequence[NDArray[np.uint8]]
    pixel: float
    region: Region

    def scan(self) -> Scan:
        """Give the slices as a scan."""
        images = _stacked(self.images)
        affine = np.diag([-self.pixel, -self.pixel, 10.0, 1.0])
        return Scan({"fat": images}, None, Geometry.from_affine(images.shape, affine), {})

    def truth(self, whole: str) -> NDArray[np.bool_]:
        """Give the true mask in the scan's voxels: of every muscle, or of those of the paper's mask."""
        return _stacked([self._truth(own, whole) for own in self.compartments]) > 0

    def _truth(self, compartments: NDArray[np.uint8], whole: str) -> NDArray[np.uint8]:
        if whole == EVERY:
            return every_muscle(compartments, self.pixel)
        return whole_muscle(compartments, self.region, self.pixel)


def draw(kind: str, stream: int, subject: int) -> Drawn:
    """Draw a subject of a kind of `KINDS`, another one in each stream."""
    return KINDS[kind].draw(np.random.default_rng([HELD_OUT, stream, [*KINDS].index(kind), subject]))


def count_of(kind: str, subjects: int) -> int:
    """Say how many subjects of a kind are drawn beside so many of a usual one."""
    return max(2, round(KINDS[kind].share * subjects))


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Lay slices of display order in a volume, each in its middle."""
    rows, columns = np.max([array.shape for array in arrays], axis=0)
    volume = np.zeros((columns, rows, len(arrays)), arrays[0].dtype)
    for number, array in enumerate(arrays):
        top, left = (rows - array.shape[0]) // 2, (columns - array.shape[1]) // 2
        volume[left : left + array.shape[1], top : top + array.shape[0], number] = array.T
    return volume


def _one(rng: np.random.Generator, **held: Any) -> SyntheticSlice:
    return any_contrast.synthetic_slice(rng, held=Held(**held))


def _as_drawn(*slices: SyntheticSlice) -> Drawn:
    pixel, region = slices[0].geometry.zooms[0], slices[0].region
    return Drawn([one.image for one in slices], [one.compartments for one in slices], pixel, region)


def _fat(rng: np.random.Generator, **readout: float) -> Drawn:
    return _as_drawn(_one(rng, sequence=Contrast.DIXON_FAT, readout=readout))


def _stack(rng: np.random.Generator) -> Drawn:
    """Four slices of one subject, anywhere along calf or thigh."""
    state = [HELD_OUT, _STACKS, int(rng.integers(2**31))]
    step, region = rng.uniform(0.03, 0.12), tuple(Region)[int(rng.integers(2))]
    start = rng.uniform(0, 1 - 3 * step)
    held = Held(sequence=Contrast.DIXON_FAT, pixel_mm=float(rng.uniform(0.8, 1.6)))
    return _as_drawn(
        *(
            any_contrast.synthetic_slice(
                np.random.default_rng(state),
                regions=[region],
                held=replace(held, level=float(start + place * step)),
                without=("cropping", "artefacts"),
            )
            for place in range(4)
        )
    )


def _swapped_limb(rng: np.random.Generator) -> Drawn:
    """Fat and water exchanged in one half of the image."""
    state = int(rng.integers(2**31))
    fat, water = (
        _one(np.random.default_rng(state), sequence=kind) for kind in (Contrast.DIXON_FAT, Contrast.DIXON_WATER)
    )
    image, middle = fat.image.copy(), fat.image.shape[1] // 2
    half = np.s_[:, :middle] if rng.random() < 0.5 else np.s_[:, middle:]
    if water.image.shape == image.shape:
        image[half] = water.image[half]
    return _as_drawn(fat)._replace(images=[image])


def _phase(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    (image,) = drawn.images
    field = smooth_field(rng, image.shape, (4, 6)) * np.float32(rng.uniform(2, 20)) + image / 200
    noise = rng.uniform(0, 2 * np.pi, image.shape)
    turns = np.where(image > np.percentile(image, 60), field % (2 * np.pi), noise)
    return drawn._replace(images=[turns.astype(np.float32)])


def _turned(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    (image,), (compartments,) = drawn.images, drawn.compartments
    return drawn._replace(images=[np.rot90(image).copy()], compartments=[np.rot90(compartments).copy()])


def _pixel(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    return drawn._replace(pixel=drawn.pixel * float(rng.choice([0.4, 0.5, 2.0, 2.5])))


def _no_leg(rng: np.random.Generator) -> Drawn:
    kinds = (*OTHERS, Place.NOTHING)
    image = draw_other(rng, kinds[int(rng.integers(len(kinds)))], FRAME)
    return Drawn([image - image.min()], [np.zeros(image.shape, np.uint8)], FRAME.grid.spacing_mm, Region.THIGH)


class Kind(NamedTuple):
    """How many subjects, in parts of those of a usual kind; and how one is drawn."""

    share: float
    draw: Callable[[np.random.Generator], Drawn]


KINDS: Mapping[str, Kind] = {
    "fat, any scanner": Kind(2, lambda rng: _as_drawn(any_scanner.synthetic_slice(rng))),
    "fat, any body": Kind(1.5, _fat),
    "fat, four slices": Kind(1, _stack),
    "water": Kind(1, lambda rng: _as_drawn(_one(rng, sequence=Contrast.DIXON_WATER))),
    "any contrast": Kind(3, lambda rng: _as_drawn(_one(rng))),
    "much noise": Kind(0.5, lambda rng: _fat(rng, noise=float(rng.uniform(0.1, 0.4)))),
    "phase image": Kind(0.4, _phase),
    "swapped limb": Kind(0.5, _swapped_limb),
    "turned by 90 degrees": Kind(0.4, _turned),
    "wrong pixel size": Kind(0.4, _pixel),
    "no leg": Kind(0.6, _no_leg),
}


def segmented(segmenter: Segmenter, drawn: Drawn) -> tuple[Segmentation, dict[Key, float]]:
    """Segment a subject; also gives the Dice of each limb in each slice that has `LEAST_CM2` of muscle."""
    labels = segmenter.spec.labels
    whole = whole_label(labels)
    wanted = match_labels(LabelSet.from_config({whole: []}), labels)[whole]
    truth = drawn.truth(whole)
    made = segment(drawn.scan(), model=segmenter, region=drawn.region, told=True)
    found, dice = np.isin(made.classes, wanted), {}
    for limb, half in made.halves.items():
        for number in range(truth.shape[-1]):
            limb_found, limb_true = (mask[..., number] & half[..., number] for mask in (found, truth))
            score = overlap(limb_true, limb_found)
            if (score.tp + max(score.fp, score.fn)) * drawn.pixel**2 / 100 >= LEAST_CM2 and score.dice is not None:
                dice[number, limb] = score.dice
    return made, dice
