"""The configuration of a training, typed: what Hydra composes is checked against these classes."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


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


@dataclass
class FoldsConfig:
    """How many outer and inner folds, and the seed of their draw."""

    outer: int = 5
    inner: int = 5
    seed: int = 0


@dataclass
class EditionConfig:
    """Which edition the channels belong to."""

    name: str = MISSING


@dataclass
class RegionConfig:
    """Which regions are trained on and tested together."""

    name: str = MISSING
    regions: list[str] = MISSING


@dataclass
class LabelsConfig:
    """What is segmented: values of each class (none: any positive value), and the fixed threshold.

    ``column`` of the cohort table names the images that hold the values: ``mask`` or ``compartments``.
    ``mirrored``: test and segment by the mean over each image and its mirror, which takes twice the time.
    ``scales``: and by the mean over the image at these sizes; one of 1.3 takes about twice the time of one of 1.
    """

    name: str = MISSING
    column: str = "mask"
    classes: dict[str, list[int]] = MISSING
    threshold: float = 0.5
    mirrored: bool = False
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
    """Slices drawn for D3; see `musclesense.training.synthesis.schedule`. ``name``: ``any_scanner``, or ``none``.

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
    ``overfit_cases``: train and validate on the first so many cases of D3 alone, a check that a
    network can learn at all.
    """

    batch_size: int = 16
    workers: int = 0
    overfit_cases: int | None = None


@dataclass
class OptimizerConfig:
    """``factory`` makes the optimizer from parameters, ``schedule`` its learning rate from ``total_steps``."""

    factory: dict[str, Any] = MISSING
    schedule: dict[str, Any] | None = None


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


@dataclass
class CallbacksConfig:
    """What happens beside training.

    ``patience`` and ``min_delta``: early stopping on D4, after so many epochs without a mean DSC better by so much.
    ``averaging``: decay a step of averaged weights, which then are validated, tested and kept; null: as trained.
    ``keep_every``: keep the weights of every so many epochs; null: of the best and the last only.
    """

    patience: int = 20
    min_delta: float = 0.0
    averaging: float | None = None
    keep_every: int | None = None


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


@dataclass
class Config:
    """One run: which folds, what cohort, what network, how trained."""

    outer: int = 0
    inner: int = 0
    seed: int = 0
    study: str | None = None
    runs: str = "runs"
    data: str = "data"
    cohort: CohortConfig = MISSING
    folds: FoldsConfig = field(default_factory=FoldsConfig)
    edition: EditionConfig = MISSING
    channels: dict[str, bool] = MISSING
    region: RegionConfig = MISSING
    labels: LabelsConfig = MISSING
    grid: GridConfig = MISSING
    augmentation: AugmentationConfig = MISSING
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: OptimizerConfig = MISSING
    trainer: TrainerConfig = MISSING
    callbacks: CallbacksConfig = MISSING
    logger: LoggerConfig = MISSING


def active_channels(config: Config) -> tuple[str, ...]:
    """Give the channels that the network takes, in order."""
    return tuple(name for name, wanted in config.channels.items() if wanted)


def register() -> None:
    """Make the schema known to Hydra as ``schema``, the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=Config)
