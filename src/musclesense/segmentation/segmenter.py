"""From trained networks to a mask in the voxels of a scan."""

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError
from musclesense.imaging.grid import slice_axis, slice_count, take_slice
from musclesense.imaging.labels import decide
from musclesense.imaging.limbs import drop_strays
from musclesense.imaging.nifti import Geometry
from musclesense.messages import in_words, log
from musclesense.networks.card import is_bundle, weights_file
from musclesense.networks.predictor import AUTO, Ensemble, Predictor, on_processor
from musclesense.networks.shipped import default_model, place_of, shipped
from musclesense.networks.spec import Effort, NetworkSpec
from musclesense.segmentation.measuring import PLAIN, Measuring
from musclesense.segmentation.oddities import like_water, odd_bodies
from musclesense.segmentation.result import Beside, Segmentation
from musclesense.segmentation.scan import Scan, compare_region, limbs_of, region_of, word_of
from musclesense.segmentation.seen import tell, unseen_by
from musclesense.segmentation.trust import Looked
from musclesense.storage.paths import is_file, is_folder, refuse_dicom
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import finished_runs, require_own_file
from musclesense.vocabulary import Channel, Limbs, Region

if TYPE_CHECKING:
    from musclesense.networks.bundle import TrainedNetwork

_SLICES_AT_ONCE, _PIXELS_AT_ONCE = 8, 2**22
_BEYOND = 0.01
_QUIET_SECONDS = 5.0
_ALIKE = ("channels", "placed_by", "labels", "grid", "normalisation", "threshold", "regions")


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Trained networks that segment the slices of a scan.

    Attributes:
        predictor: One network, or several that were trained alike.
        files: Where their weights come from.
    """

    predictor: Predictor
    files: tuple[Path, ...]

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        device: str = AUTO,
        allow_class: Collection[str] = (),
        effort: str = Effort.DEFAULT,
    ) -> Self:
        """Load trained networks, as `musclesense.load_model` says."""
        members = _predictors(place_of(model), device, allow_class, word_of(Effort, "effort", effort))
        if len(members) > 1:
            log.info(f"{model}: {len(members)} networks segment together")
        files, networks = zip(*members, strict=True)
        return cls(Ensemble(networks), files)

    def only(self, numbers: Sequence[int]) -> Self:
        """Give some of the networks, by their numbers."""
        members = self.predictor.members if isinstance(self.predictor, Ensemble) else (self.predictor,)
        chosen = [members[number] for number in numbers]
        return type(self)(Ensemble(chosen), tuple(self.files[number] for number in numbers))

    @property
    def spec(self) -> NetworkSpec:
        """What the networks take and what they give."""
        return self.predictor.spec

    def require_region(self, region: Region) -> None:
        """Refuse a region that the networks were not trained on."""
        if region not in self.spec.regions:
            trained = " and ".join(self.spec.regions)
            raise ArgumentError(f"{{region}}: the model was trained on {trained}; give another model", region=region)

    def require_images(self, given: Collection[str]) -> None:
        """Refuse a scan that lacks images which the networks take, or the one by which its slices are placed."""
        spec = self.spec
        missing = [name for name in spec.images if name not in given]
        if missing:
            takes = ", ".join(spec.channels)
            finds = "" if spec.placed_by in spec.channels else f" and finds the body in {spec.placed_by}"
            add = " ".join(f"{{{name}}}" for name in missing)
            raise ArgumentError(
                f"the model takes {takes}{finds}; add {add}, or give another model", **dict.fromkeys(missing, "FILE")
            )

    def segment(
        self,
        images: Mapping[str, NDArray[Any]],
        geometry: Geometry,
        bodies: Mapping[str, NDArray[np.bool_]] | None = None,
        looked: list[Looked] | None = None,
    ) -> NDArray[np.uint8]:
        """Segment every slice of a scan, a few slices at a time.

        Args:
            images: Volume of each channel, all of ``geometry.shape``; images that the networks do not take are left
                alone.
            geometry: Where the voxels lie.
            bodies: ``body_mask`` of every slice of images for which it is known, likewise.
            looked: What is found in each slice is appended to it.

        Returns:
            Class indices of shape ``geometry.shape``, 0 is background.

        Raises:
            InputError: An image is missing.
        """
        self.require_images(images)
        classes = np.zeros(geometry.shape, dtype=np.uint8)
        found = self._found(images, geometry, bodies or {}, [] if looked is None else looked)
        weight = self.spec.weight_across(geometry.zooms[slice_axis(geometry)])
        for number, probabilities in enumerate(_weighed(found, weight)):
            take_slice(classes, geometry, number)[:] = decide(probabilities, self.spec.threshold)
        return classes

    def _found(
        self,
        images: Mapping[str, NDArray[Any]],
        geometry: Geometry,
        bodies: Mapping[str, NDArray[np.bool_]],
        looked: list[Looked],
    ) -> Iterator[NDArray[np.float32]]:
        """Give the probabilities of the classes in each slice, (classes, ...) in its voxels."""
        frame, count, started = self.spec.frame, slice_count(geometry), time.monotonic()
        together = max(1, min(_SLICES_AT_ONCE, _PIXELS_AT_ONCE // self.spec.pixels))
        for first in range(0, count, together):
            if first and (took := time.monotonic() - started) > _QUIET_SECONDS:
                log.info(f"segment: {first} of {count} slices, about {in_words(took / first * (count - first))} left")
            numbers = range(first, min(first + together, count))
            slices, known = (
                [{name: take_slice(volume, geometry, n) for name, volume in volumes.items()} for n in numbers]
                for volumes in (images, bodies)
            )
            prepared = [frame.prepare(geometry, one, own) for one, own in zip(slices, known, strict=True)]
            found, apart = self.predictor.find(np.stack([one.images for one in prepared]))
            if not np.isfinite(found).all():
                raise InputError(
                    f"{self.files[0]}: gives probabilities that are not finite for this scan; give another model"
                )
            for one, probabilities, own in zip(prepared, found, apart, strict=True):
                looked.append(Looked.coarse(one.placement, probabilities, own))
                yield one.placement.to_scanner(probabilities)


def _weighed(slices: Iterator[NDArray[np.float32]], weight: float) -> Iterator[NDArray[np.float32]]:
    """Give the mean of each slice, which counts 1, and of those beside it, each of which counts ``weight``.

    Sums are the same whichever way slices are stored.
    """
    before: NDArray[np.float32] | None = None
    for own, after in pairwise(chain(slices, [None])):
        assert own is not None
        beside = [one for one in (before, after) if one is not None]
        before = own
        if weight and beside:
            own = (own + np.float32(weight) * np.sum(beside, axis=0)) / np.float32(1 + weight * len(beside))
        yield own


def segment(
    scan: Scan,
    *,
    model: str | os.PathLike[str] | Segmenter | None = None,
    region: str | None = None,
    limbs: str = AUTO,
    device: str = AUTO,
    effort: str = Effort.DEFAULT,
    out_of_fold: bool = False,
    told: bool = False,
    measuring: Measuring = PLAIN,
    beside: Beside | None = None,
) -> Segmentation:
    """Segment a scan, as `musclesense.segment` says; with ``told``, nothing is said of who has seen the subject."""
    measuring.require_slices(scan.geometry)
    seen = None if limbs == AUTO else word_of(Limbs, "limbs", limbs)
    shown = region_of(scan) if region is None else word_of(Region, "region", region)
    if model is None:
        model = default_model(scan.channels, [shown])
    segmenter = model if isinstance(model, Segmenter) else Segmenter.load(model, device, effort=effort)
    segmenter.require_region(shown)
    if out_of_fold:
        unseen = unseen_by(scan, segmenter.files)
        log.info(f"{len(unseen)} of {len(segmenter.files)} networks have not seen the subject, and segment")
        segmenter = segmenter.only(unseen)
    elif not told:
        tell(scan, segmenter.files)
    shows_body = scan.channels[scan.reference]
    if Channel.IMAGE in segmenter.spec.channels and Channel.IMAGE not in scan.channels:  # any image will do
        known = {name: found for name, found in vars(scan).items() if name in ("bodies", "places")}
        scan = replace(scan, channels={**scan.channels, Channel.IMAGE.value: shows_body})
        vars(scan).update(known)
    bodies = {name: scan.bodies for name, image in scan.channels.items() if image is shows_body}
    looked: list[Looked] = []
    classes = segmenter.segment(scan.channels, scan.geometry, bodies, looked)
    where = seen or limbs_of(scan)
    if segmenter.spec.across_mm and where is scan.limbs.limbs:  # as trained, or as in stacks
        drop_strays(classes, scan.limbs, scan.geometry)
    by = segmenter.predictor.runtime
    made = Segmentation(scan, classes, segmenter.spec, segmenter.files, shown, where, measuring, by, looked, beside)
    if region is not None:
        compare_region(made.scan, shown)
    _say_beyond(made)
    _say_odd(made)
    if not made.fit[1]:
        log.info("quality: was not calibrated for this network; take the scores and the flag doubtful as hints")
    made.measured.tell()
    return made


def _say_beyond(made: Segmentation) -> None:
    """Warn where more of the body than its edge lies beyond the frame, in which muscle is dropped."""
    body, beyond = np.count_nonzero(made.scan.bodies), np.count_nonzero(made.beyond)
    if beyond > _BEYOND * body:
        grid = made.spec.grid
        size = f"{grid.columns * grid.spacing_mm:g} x {grid.rows * grid.spacing_mm:g} mm"
        log.warning(
            f"frame: {100 * beyond / body:.1f} % of the body lies beyond the networks' frame of {size}, "
            "where nothing is segmented; look at qc.html, or train with a larger grid"
        )


def _say_odd(made: Segmentation) -> None:
    """Warn of bodies unlike limbs, and of limbs as in a water image where only fat is given."""
    scan = made.scan
    for said in odd_bodies(scan.channels[scan.reference], scan.bodies, scan.geometry):
        log.warning(f"{scan.reference}: {said}")
    if Channel.FAT not in made.scan.channels or Channel.WATER in made.scan.channels:
        return
    if limbs := like_water(made.measured, made.looked, made.spec.threshold):
        said = "is brighter than all around it, as in a water image; give a fat image, or this one as any image"
        log.warning(f"fat: muscle of the {' and '.join(limbs)} limb {said}")


def _predictors(place: Path, device: str, classes: Collection[str], effort: Effort) -> list[tuple[Path, Predictor]]:
    """Give each network after the file of its weights: on the processor by ONNX Runtime where it can be."""
    if is_bundle(place) and on_processor(device):
        from musclesense.networks.onnx_predictor import read_onnx

        if members := read_onnx(place, effort):
            return [(weights_file(place), one) for one in members]
    from musclesense.networks.torch_predictor import TorchPredictor

    trained = trained_networks(place, classes)
    return [(one.weights_file, TorchPredictor(one.network, one.spec.at(effort), device)) for one in trained]


def trained_networks(model: str | os.PathLike[str], allow_class: Collection[str] = ()) -> "list[TrainedNetwork]":
    """Read the networks that a user means, which must have been trained alike.

    Raises:
        InputError: Nothing usable is there, or they differ in more than their weights.
    """
    from musclesense.networks.bundle import read_networks

    trained = [one for path in _stored_networks(place_of(model)) for one in read_networks(path, allow_class)]
    first = trained[0]
    for other in trained[1:]:
        for name in _ALIKE:
            own, wanted = getattr(other.spec, name), getattr(first.spec, name)
            if own != wanted:
                raise InputError(
                    f"{other.path}: {name} {own} differs from {wanted} of {first.path}; give networks of one study"
                )
    return trained


def _stored_networks(model: Path) -> tuple[Path, ...]:
    """Find the checkpoints or the bundle that a user means."""
    refuse_dicom(model)
    if is_file(model) or is_bundle(model):
        return (model,)
    if not is_folder(model):
        names = "".join(f"{name}, " for name in shipped())
        raise InputError(
            f"{model}: no such model; give {names}a study's folder below runs/, a run, a checkpoint or a bundle"
        )
    own = RunFolder(model)
    runs = [own] if own.is_finished else _runs_of(StudyFolder(model))
    if not runs:
        raise InputError(f"{model}: holds no finished run; train one first, or give a checkpoint")
    for run in runs:
        require_own_file(run, run.checkpoints.best)
    return tuple(run.checkpoints.best for run in runs)


def _runs_of(study: StudyFolder) -> list[RunFolder]:
    """Find the finished runs of a study; of a folder with runs and no folds, those that are named as runs are."""
    return finished_runs(study) if is_file(study.folds) else list(study.finished_runs())
