"""The configuration of a training, typed: what Hydra composes is checked against these classes.

Each class says of its own values what is wrong with them; what needs several of them is checked in
`musclesense.training.settings`, which makes of a configuration what travels through a run.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from musclesense.cohort.table import LABEL_COLUMNS

LARGEST_NUMBER = 2**31 - 1


@dataclass
class PhantomConfig:
    """The phantom cohort that stands in while no table is given.

    ``slices``: ``all``, or ``mid`` for the labelled ones alone, which is all that training needs.
    """

    preset: str = "demo"
    seed: int = 1
    slices: str = "all"


@dataclass
class CohortConfig:
    """Who is trained on: one's own table, or a phantom cohort where ``path`` is null."""

    path: str | None = None
    phantom: PhantomConfig = field(default_factory=PhantomConfig)

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        return out_of_range(0, {"cohort.phantom.seed": self.phantom.seed})


@dataclass
class FoldsConfig:
    """How many outer and inner folds, and the seed of their draw."""

    outer: int = 5
    inner: int = 5
    seed: int = 0

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        return out_of_range(0, {"folds.seed": self.seed})

    def lacks(self, outer: int, inner: int) -> Iterator[str]:
        """Name what does not exist of an outer and an inner fold."""
        for name, value, count in (("outer", outer, self.outer), ("inner", inner, self.inner)):
            if not 0 <= value < count:
                yield f"{name}={value}: no such fold; give 0 to {count - 1}, or change folds.{name}={count}"


@dataclass
class EditionConfig:
    """Which edition chose the channels."""

    name: str = MISSING


@dataclass
class RegionConfig:
    """Which regions are trained on and tested together."""

    name: str = MISSING
    regions: list[str] = MISSING


@dataclass
class LabelsConfig:
    """What is segmented: the values of each class; none: any positive value.

    ``column`` of the cohort table names the images that hold the values: ``mask`` or ``compartments``.
    """

    name: str = MISSING
    column: str = "mask"
    classes: dict[str, list[int]] = MISSING

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        if self.column not in LABEL_COLUMNS:
            yield f"labels.column={self.column}: give {' or '.join(LABEL_COLUMNS)}"


@dataclass
class InferenceConfig:
    """How probabilities become a mask; see `musclesense.networks.spec.NetworkSpec`.

    ``threshold``: foreground probability from which a pixel is segmented.
    ``flip``: test-time augmentation by the mean over each image and its mirror image, which takes twice the time.
    ``scales``: and over the image at these sizes; one of 1.3 takes about twice the time of one of 1.
    """

    threshold: float = 0.5
    flip: bool = False
    scales: list[float] = field(default_factory=lambda: [1.0])


@dataclass
class GridConfig:
    """The grid on which networks work; see `musclesense.imaging.grid.Grid`."""

    spacing_mm: float = 1.25
    rows: int = 160
    columns: int = 320
    fit: str = "centre"


@dataclass
class AugmentationConfig:
    """Random changes of training slices; see `musclesense.training.augmentation`."""

    shift: float = 0.0
    scale: list[float] = field(default_factory=lambda: [1.0, 1.0])
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0


@dataclass
class SynthesisConfig:
    """Synthetic slices trained on; see `musclesense.training.synthesis`. ``name``: ``any_scanner``, or ``none``.

    ``slices`` is the size of the pool when it is full, ``initial`` that of the first epoch, ``growth`` what each epoch
    adds; ``per_epoch`` of them are trained on. ``replace`` leaves the cohort's own slices out. ``without`` names
    ingredients to leave out. ``workers`` draw beside training; without one the training process draws itself.
    """

    name: str = "none"
    slices: int = 16384
    initial: int = 1024
    growth: int = 256
    per_epoch: int = 1024
    replace: bool = False
    seed: int = 1
    without: list[str] = field(default_factory=list)
    shard: int = 256
    workers: int = 1


@dataclass
class LoaderConfig:
    """How batches are made.

    ``batch_size``: cases a step, divided among the devices of a run.
    ``overfit_cases``: train and validate on the first so many training cases alone, a check that a network can learn
    at all.
    """

    batch_size: int = 16
    workers: int = 0
    overfit_cases: int | None = None

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        yield from out_of_range(1, {"loader.batch_size": self.batch_size, "loader.overfit_cases": self.overfit_cases})
        yield from out_of_range(0, {"loader.workers": self.workers})


@dataclass
class TrainerConfig:
    """What trains, for how long, at which precision; ``auto`` decides by the machine and says so.

    ``devices``: how many share the batches of a run (``auto``: all), or GPUs by index such as ``'0,2'``.
    ``strategy``: how several do, of ``hardware.STRATEGIES``.
    ``compile``: whether torch.compile makes the network's steps faster: where it pays, always or never.
    """

    accelerator: str = "auto"
    devices: str = "1"
    strategy: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    max_epochs: int = 100
    gradient_clip_val: float | None = 1.0

    def problems(self) -> Iterator[str]:
        """Say what is wrong with the numbers; the rest is asked of `musclesense.training.machine`."""
        yield from out_of_range(1, {"trainer.max_epochs": self.max_epochs})
        if self.gradient_clip_val is not None and not 0 < self.gradient_clip_val < math.inf:
            yield f"trainer.gradient_clip_val={self.gradient_clip_val}: give a number above 0, or null"


@dataclass
class EarlyStoppingConfig:
    """Training ends after ``patience`` epochs without a mean DSC of the validation cases better by ``min_delta``."""

    patience: int = 20
    min_delta: float = 0.0

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        yield from out_of_range(1, {"early_stopping.patience": self.patience})
        if not math.isfinite(self.min_delta):
            yield f"early_stopping.min_delta={self.min_delta}: give a number"


@dataclass
class AveragingConfig:
    """``decay`` a step of averaged weights, which then are validated, tested and kept; null: weights as trained."""

    decay: float | None = None

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        if self.decay is not None and not 0 <= self.decay < 1:
            yield f"averaging.decay={self.decay}: give a decay from 0 to below 1, or null"


@dataclass
class CheckpointsConfig:
    """``keep_every``: keep the weights of every so many epochs; null: of the best and the last only."""

    keep_every: int | None = None

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        return out_of_range(1, {"checkpoints.keep_every": self.keep_every})


@dataclass
class LoggerConfig:
    """Where curves are shown besides the run folder: ``wandb`` or nowhere.

    ``mode``: ``auto`` is online when logged in to wandb, else offline.
    """

    name: str = MISSING
    project: str = "musclesense"
    entity: str | None = None
    mode: str = "auto"
    overlays: int = 4

    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        return out_of_range(0, {"logger.overlays": self.overlays})


@dataclass
class Config:
    """One run: which folds, what cohort, what network, how trained.

    ``model``, ``loss``, ``optimizer`` and ``schedule`` have a ``name`` of `musclesense.networks.registry`, or the
    ``_target_`` of a class of one's own, and its arguments.
    """

    outer: int = 0
    inner: int = 0
    seed: int = 0
    study: str | None = None
    runs: str = "runs"
    data: str = "data"
    cohort: CohortConfig = field(default_factory=CohortConfig)
    folds: FoldsConfig = field(default_factory=FoldsConfig)
    edition: EditionConfig = field(default_factory=EditionConfig)
    channels: list[str] = MISSING
    region: RegionConfig = field(default_factory=RegionConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)


def out_of_range(least: int, numbers: Mapping[str, int | None]) -> Iterator[str]:
    """Name the options whose number is smaller than ``least``, or too large; None is no number and passes.

    >>> list(out_of_range(1, {"loader.batch_size": 0, "loader.overfit_cases": None}))
    ['loader.batch_size=0: give 1 or more']
    """
    for name, value in numbers.items():
        if value is not None and not least <= value <= LARGEST_NUMBER:
            yield f"{name}={value}: give {least} or more" + (f", up to {LARGEST_NUMBER}" if value > least else "")


def defaults() -> dict[str, Any]:
    """Give the values of all keys that have a default, nested as the configuration is.

    >>> defaults()["early_stopping"], "model" in defaults()
    ({'patience': 20, 'min_delta': 0.0}, False)
    """
    return _without_missing(asdict(Config()))


def _without_missing(plain: dict[str, Any]) -> dict[str, Any]:
    there = {key: value for key, value in plain.items() if value != MISSING}
    return {key: _without_missing(value) if isinstance(value, dict) else value for key, value in there.items()}


def register() -> None:
    """Make the schema known to Hydra as ``schema``, the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=Config)
