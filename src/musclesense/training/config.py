"""The configuration of a training, typed: what Hydra composes is checked against these classes.

`problems` says what is wrong with single values; what needs several of them is checked in
`musclesense.training.settings`, which makes of a configuration what travels through a run.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from musclesense.cohort.table import LABEL_COLUMNS
from musclesense.imaging.frame import Z_SCORE
from musclesense.networks.shipped import shipped
from musclesense.training.augmentation import Augmentation

LARGEST_NUMBER = 2**31 - 1
_LEAST = {
    "seed": 0,
    "cohort.phantom.seed": 0,
    "folds.seed": 0,
    "loader.batch_size": 1,
    "loader.overfit_cases": 1,
    "loader.workers": 0,
    "trainer.max_epochs": 1,
    "early_stopping.patience": 1,
    "checkpoints.keep_every": 1,
    "checkpoints.every_seconds": 0,
    "logger.overlays": 0,
}
"""Numbers that can be too small; null is no number and passes."""
_KNOWN = {
    "labels.column": LABEL_COLUMNS,
    "logger.mode": ("auto", "online", "offline", "disabled"),
    # Whether the machine has it is a question for the node that trains.
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    # Weights of 16 or 64 bit are left out: images come as 32 bit.
    "trainer.precision": ("auto", "32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16"),
    # How several devices train one run: with processes of our own, so that Lightning need not start any.
    "trainer.strategy": ("auto", "ddp", "ddp_find_unused_parameters_true"),
    "trainer.compile": ("auto", "always", "never"),
}


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
class SynthesisConfig:
    """Synthetic slices trained on; see `musclesense.training.synthesis`.

    ``name`` is that of their generator, ``any_scanner``, ``any_contrast`` or ``any_dixon``, or ``none``.

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


@dataclass
class TrainerConfig:
    """What trains, for how long, at which precision; ``auto`` decides by the machine and says so.

    ``devices``: how many share the batches of a run (``auto``: all), or GPUs by index such as ``'0,2'``.
    ``strategy``: how several do.
    ``compile``: whether torch.compile makes the network's steps faster: where it pays, always or never.
    ``lightning``: other arguments of Lightning's ``Trainer``; ``+trainer.accumulate_grad_batches=2`` adds to it.
    """

    accelerator: str = "auto"
    devices: str = "1"
    strategy: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    max_epochs: int = 100
    gradient_clip_val: float | None = 1.0
    lightning: dict[str, Any] = field(default_factory=dict)


@dataclass
class EarlyStoppingConfig:
    """Training ends after ``patience`` epochs without a mean DSC of the validation cases better by ``min_delta``."""

    patience: int = 20
    min_delta: float = 0.0


@dataclass
class AveragingConfig:
    """``decay`` a step of averaged weights, which then are validated, tested and kept; null: weights as trained."""

    decay: float | None = None


@dataclass
class CheckpointsConfig:
    """Which weights are kept, and when.

    ``keep_every``: of every so many epochs, beside the best and the last; null: of none. ``every_seconds``: the state
    to go on from is written no sooner than so long after it last was; 0: after each epoch.
    """

    keep_every: int | None = None
    every_seconds: float = 0.0


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


LEFT_OUT = "left-out.csv"
"""Stands for the path of a table in the records of an anonymous study."""


@dataclass
class Config:
    """One run: which folds, what cohort, what network, how trained.

    ``pretrained``: a network of the package by name, a checkpoint or a bundle, whose weights training begins
    with; null: random weights.
    ``normalisation``: of each image on the grid, one of `musclesense.imaging.frame.NORMALISATIONS`.
    ``model``, ``loss``, ``optimizer`` and ``schedule`` have a ``name`` of `musclesense.networks.registry`, or the
    ``_target_`` of a class of one's own, and its arguments.
    """

    outer: int = 0
    inner: int = 0
    seed: int = 0
    study: str | None = None
    arm: str | None = None
    runs: str = "runs"
    data: str = "data"
    anonymous: bool = False
    cohort: CohortConfig = field(default_factory=CohortConfig)
    folds: FoldsConfig = field(default_factory=FoldsConfig)
    edition: EditionConfig = field(default_factory=EditionConfig)
    channels: list[str] = MISSING
    region: RegionConfig = field(default_factory=RegionConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    normalisation: str = Z_SCORE
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    pretrained: str | None = None
    model: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)

    def __post_init__(self) -> None:
        for name in [name for name in _added(self.trainer) if name in _lightning_arguments()]:
            self.trainer.lightning[name] = vars(self.trainer).pop(name)

    @property
    def plain(self) -> dict[str, Any]:
        """Plain values, for the records of study and run; paths of files are absolute there, or left out."""
        plain = asdict(self)
        if self.cohort.path is not None:
            table = Path(self.cohort.path).absolute()
            hidden = self.anonymous and not (table.parent / "phantom.json").is_file()
            plain["cohort"]["path"] = LEFT_OUT if hidden else str(table)
        if self.pretrained is not None and self.pretrained not in shipped():
            plain["pretrained"] = str(Path(self.pretrained).absolute())
        if self.anonymous:
            named = [name for name in ("runs", "data", "pretrained") if plain[name] is not None]
            plain |= {name: Path(plain[name]).name for name in named}
        return plain


def _added(group: Any) -> list[str]:
    """Name what an override or a file has added to a group beside its keys."""
    return sorted({*vars(group)} - {field.name for field in fields(group)})


@cache
def _lightning_arguments() -> frozenset[str]:
    """Name the arguments of Lightning's trainer, but for those that are this project's to say."""
    from lightning import Trainer

    ours = {"callbacks", "default_root_dir", "enable_checkpointing", "fast_dev_run", "logger", "num_nodes", "plugins"}
    # All cases are tested, by this project's own loop, and each epoch is validated.
    unheard = {"limit_test_batches", "limit_predict_batches", "check_val_every_n_epoch"}
    return frozenset(signature(Trainer).parameters) - ours - unheard - {"barebones", "use_distributed_sampler"}


def _unknown_keys(group: Any, prefix: str = "") -> Iterator[str]:
    yield from (f"{prefix}{name}" for name in _added(group))
    for name, value in vars(group).items():
        if is_dataclass(value):
            yield from _unknown_keys(value, f"{prefix}{name}.")


def keys_of(nested: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give all keys of a nested configuration, dotted."""
    for name, value in nested.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{name}.")


def no_such_key(key: str, known: Iterable[str]) -> str:
    """Say that there is no such key, and which one may have been meant: a like one, or one of that name elsewhere.

    >>> no_such_key("trainer.max_epoch", ["trainer", "trainer.max_epochs"])
    'trainer.max_epoch: no such key; did you mean trainer.max_epochs?'
    >>> no_such_key("+patience", ["early_stopping.patience"])
    '+patience: no such key; did you mean early_stopping.patience?'
    >>> no_such_key("grid.pixel", ["grid", "grid.rows", "grid.columns"])
    'grid.pixel: no such key; give one of grid.rows, grid.columns'
    """
    keys, bare = list(known), key.lstrip("+~")
    near = [one for one in keys if one.endswith(f".{bare}")]
    group, _, name = bare.rpartition(".")
    own = {one.removeprefix(f"{group}."): one for one in keys if group and one.rpartition(".")[0] == group}
    near = near or [own[like] for like in difflib.get_close_matches(name, own, n=1, cutoff=0.6)]
    near = near or ([] if own else difflib.get_close_matches(bare, keys, n=1, cutoff=0.6))
    remedy = f"give one of {', '.join(own.values())}" if own else "see conf/ for all keys"
    return f"{key}: no such key; " + (f"did you mean {' or '.join(near)}?" if near else remedy)


def problems(config: Config) -> Iterator[str]:
    """Name the values that no run could use, as far as each can be told by itself."""
    yield from (no_such_key(key, keys_of(asdict(config))) for key in _unknown_keys(config))
    for name, least in _LEAST.items():
        value = attrgetter(name)(config)
        if value is not None and not least <= value <= LARGEST_NUMBER:
            yield f"{name}={value}: give {least} or more" + (f", up to {LARGEST_NUMBER}" if value > least else "")
    for name, known in _KNOWN.items():
        if (value := attrgetter(name)(config)) not in known:
            yield f"{name}={value}: give {' or '.join(known)}"
    yield from config.augmentation.problems()
    clip, least_gain, decay = config.trainer.gradient_clip_val, config.early_stopping.min_delta, config.averaging.decay
    if clip is not None and not 0 < clip < math.inf:
        yield f"trainer.gradient_clip_val={clip}: give a number above 0, or null"
    if not math.isfinite(least_gain):
        yield f"early_stopping.min_delta={least_gain}: give a number"
    if decay is not None and not 0 <= decay < 1:
        yield f"averaging.decay={decay}: give a decay from 0 to below 1, or null"


def defaults() -> dict[str, Any]:
    """Give the values of all keys that have a default, nested as the configuration is.

    >>> defaults()["early_stopping"], "model" in defaults()
    ({'patience': 20, 'min_delta': 0.0}, False)
    """
    return asdict(Config(), dict_factory=lambda items: {key: value for key, value in items if value != MISSING})


def register() -> None:
    """Make the schema known to Hydra as ``schema``, the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=Config)
