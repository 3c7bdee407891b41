"""Train the network that tells what a slice shows, on one core.

``python -m experiments.region.train --pool POOL --work DIR --out FILE``

POOL is a pool of slices of any contrast that a run of ``experiment=any_contrast`` has filled; it is only read. What is
not of a leg is drawn by `others`. All is kept in DIR: a command that was stopped goes on where it was.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from experiments.region.others import draw_other
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from musclesense.imaging.frame import Frame
from musclesense.messages import log, to_console
from musclesense.phantom.anatomy.limbs import relative_level
from musclesense.phantom.any_contrast import who
from musclesense.segmentation.place import FRAME, PLACES, STRIDES, Place, PlaceNetwork
from musclesense.storage.atomic import atomic_path
from musclesense.training.synthesis.pool import Pool
from musclesense.vocabulary import Limbs, Region

SEED, STREAM = 1, 18
OTHERS = {Place.ABDOMEN: 1536, Place.HEAD: 1024, Place.ARM: 1536, Place.FOOT: 1024, Place.NOTHING: 1536}
SLICES = 24576
"""Of the pool."""
CHUNK = 512
UNKNOWN = -1
WIDTHS = (16, 24, 32, 48, 64, 96, 128)
EPSILON = nn.BatchNorm2d(1).eps
VALIDATION = 8
"""Every so many-th chunk of the pool, and of each other place, is not trained on."""
ROUNDS, EPOCHS, BATCH, RATE = 1, 30, 64, 3e-3
WEIGHT_DECAY, SMOOTHING = 1e-2, 0.05


def place_of(region: Region, level: float) -> Place:
    """Name the place of a level of the phantom's limbs: 0 at the lower end of the region, 1 at the upper.

    The knee begins where the calf's muscles end below it and the thigh's above it; hips where both thighs are joined.
    """
    if region is Region.CALF:
        return Place.FOOT if level < 0 else Place.CALF if level <= 1.0 else Place.KNEE
    return Place.KNEE if level < 0 else Place.THIGH if level <= 1.0 else Place.HIP


def main() -> None:
    """Read the command line, draw what is missing, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of {EPOCHS} epochs (default {ROUNDS})")
    options = parser.parse_args()
    to_console()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    files = [*_of_pool(options.pool, options.work), *_of_others(options.work)]
    train, validation = (Slices.read([file for held, file in files if held is kept]) for kept in (False, True))
    network = fit(train, validation, options.work, options.rounds)
    folded(network).write(options.out)


class TorchPlaceNetwork(nn.Module):
    """`PlaceNetwork` as it is trained, with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width, stride in zip((1, *WIDTHS), WIDTHS, STRIDES, strict=False):
            convolution = nn.Conv2d(before, width, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * WIDTHS[-1], len(PLACES) + 1)

    def one_way(self, images: Tensor) -> Tensor:
        """Give logits of places and, last, that of a left limb, as the images are: (batch, places + 1)."""
        # From 0 to 1: a small limb stands out of much air, so its standard deviations are many.
        low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
        found = self.features((images - low) / (high - low).clamp(min=1e-6))
        heads: Tensor = self.head(torch.cat([found.mean((-2, -1)), found.amax((-2, -1))], dim=1))
        return heads

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits of places, (batch, places), and that of a left limb, (batch,), alike in a mirror.

        Args:
            images: (batch, 1, rows, columns), as `FRAME` prepares them.
        """
        one, other = self.one_way(torch.cat([images, images.flip(-1)])).chunk(2)
        return (one + other)[:, :-1] / 2, one[:, -1] - other[:, -1]


def folded(network: TorchPlaceNetwork) -> PlaceNetwork:
    """Fold batch normalisation into the convolutions."""
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    weights = {f"head.{kind}": state[f"head.{kind}"] for kind in ("weight", "bias")}
    for number in range(len(WIDTHS)):
        norm = f"features.{3 * number + 1}"
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        weights[f"{number}.weight"] = state[f"features.{3 * number}.weight"] * scale[:, None, None, None]
        weights[f"{number}.bias"] = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
    return PlaceNetwork({name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()})


class Slices(NamedTuple):
    """Slices as the network is given them, indices of what they show, and the side of a single limb (1: left)."""

    images: Tensor  # (slices, rows, columns), half precision
    places: Tensor
    sides: Tensor

    @classmethod
    def read(cls, files: list[Path]) -> Self:
        """Read files that `_keep` wrote."""
        kept = [np.load(file) for file in files]
        images = np.concatenate([one["images"] for one in kept])
        places, sides = (np.concatenate([one[name] for one in kept]) for name in ("places", "sides"))
        return cls(torch.from_numpy(images), torch.from_numpy(places), torch.from_numpy(sides))


def fit(train: Slices, validation: Slices, work: Path, rounds: int) -> TorchPlaceNetwork:
    """Train from the beginning, or from the last epoch that was finished; rates begin anew in each round."""
    torch.manual_seed(SEED)
    network: TorchPlaceNetwork = TorchPlaceNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps, last, first = len(train.places) // BATCH, work / "last.pt", 0
    state: dict[str, Any] = {}
    if last.is_file():
        state = torch.load(last, weights_only=True)
        first = state["epoch"] + 1
        network.load_state_dict(state["network"])
    for epoch in range(first, rounds * EPOCHS):
        if epoch in (first, epoch // EPOCHS * EPOCHS):
            optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
            if epoch % EPOCHS:
                optimizer.load_state_dict(state["optimizer"])
                schedule.load_state_dict(state["schedule"])
        rng = np.random.default_rng([STREAM, SEED, epoch])
        order = torch.from_numpy(rng.permutation(len(train.places)))
        network.train()
        losses = []
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            loss = _loss(network, *_varied(rng, Slices(*(own[rows] for own in train))))
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        log.info(f"epoch {epoch}: loss {np.mean(losses):.4f}; {_checked(network, validation)}")
        parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
        with atomic_path(last) as draft:
            torch.save({"epoch": epoch} | {name: part.state_dict() for name, part in parts.items()}, draft)
    network.eval()
    return network


def _varied(rng: np.random.Generator, slices: Slices) -> Slices:
    """Mirror, turn, shift and scale slices somewhat, and change their greys."""
    images, places, sides = slices.images.float()[:, None], slices.places, slices.sides.clone()
    count = len(places)
    mirrored = torch.from_numpy(rng.random(count) < 0.5)
    turn, size = rng.normal(0, 0.12, count), np.exp(rng.normal(0, 0.05, count))
    across, down = FRAME.grid.columns, FRAME.grid.rows
    way = np.where(mirrored, -1, 1)
    matrix = np.zeros((count, 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = way * np.cos(turn) / size, -np.sin(turn) / size * down / across
    matrix[:, 1, 0], matrix[:, 1, 1] = way * np.sin(turn) / size * across / down, np.cos(turn) / size
    matrix[:, :, 2] = rng.normal(0, 0.05, (count, 2))
    grid = functional.affine_grid(torch.from_numpy(matrix).float(), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    power = torch.from_numpy(np.exp(rng.normal(0, 0.25, (count, 1, 1, 1)))).float()
    images = ((images - low) / (high - low).clamp(min=1e-6)) ** power
    sides[mirrored & (sides >= 0)] = 1 - sides[mirrored & (sides >= 0)]
    return Slices(images, places, sides)


def _loss(network: TorchPlaceNetwork, images: Tensor, places: Tensor, sides: Tensor) -> Tensor:
    found = network.one_way(images)
    known = sides >= 0
    loss = functional.cross_entropy(found[:, :-1], places, label_smoothing=SMOOTHING)
    if known.any():
        # Twice, as the difference of an image and its mirror image is.
        loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(2 * found[known, -1], sides[known])
    return loss


@torch.inference_mode()
def _checked(network: TorchPlaceNetwork, slices: Slices) -> str:
    """Say how often what slices show is told rightly."""
    network.eval()
    starts = range(0, len(slices.places), 4 * BATCH)
    found = [network(slices.images[at : at + 4 * BATCH].float()[:, None]) for at in starts]
    places, sides = (torch.cat(parts) for parts in zip(*found, strict=True))
    right = places.argmax(1) == slices.places
    said = [f"{place} {right[slices.places == i].float().mean():.3f}" for i, place in enumerate(PLACES)]
    known = slices.sides >= 0
    told = (sides > 0) == (slices.sides > 0.5)
    return f"right: {', '.join(said)}; side {told[known].float().mean():.3f}"


def _of_pool(folder: Path, work: Path) -> Iterator[tuple[bool, Path]]:
    """Keep the slices of a pool on the network's grid, with what they show; the side where one limb is scanned."""
    pool = Pool.open(folder)
    for number in range(SLICES // CHUNK):
        path = work / f"pool-{number:04}.npz"
        if not path.is_file():
            rows = range(number * CHUNK, (number + 1) * CHUNK)
            shown = [_shown(pool, row) for row in rows]
            images = in_blocks(pool.read(rows)["image"], FRAME)
            _keep(path, images, [place for place, _ in shown], [side for _, side in shown])
            log.info(f"{path}: {number}")
        yield number % VALIDATION == 0, path


def _shown(pool: Pool, number: int) -> tuple[Place, int]:
    """Say what a slice of a pool shows, by drawing its subject anew."""
    _, region, limbs, seen = who(pool.recipe.random_state(number), regions=pool.recipe.regions)
    level = float(np.mean([relative_level(limb.anatomy, limb.pose.level_mm) for limb in limbs]))
    side = {Limbs.LEFT: 1, Limbs.RIGHT: 0}.get(seen, UNKNOWN)
    return place_of(region, level), side


def in_blocks(images: NDArray[np.float16], frame: Frame) -> NDArray[np.float32]:
    """Take means of blocks of pixels, which are a whole part of a frame's, and standardise each image again."""
    rows, columns = frame.grid.rows, frame.grid.columns
    count, own_rows, own_columns = images.shape
    parts = images.astype(np.float32).reshape(count, rows, own_rows // rows, columns, own_columns // columns)
    means = parts.mean(axis=(2, 4))
    means -= means.mean(axis=(1, 2), keepdims=True)
    normal: NDArray[np.float32] = means / np.maximum(means.std(axis=(1, 2), keepdims=True), 1e-6)
    return normal


def _of_others(work: Path) -> Iterator[tuple[bool, Path]]:
    for place, count in OTHERS.items():
        for number in range(count // CHUNK):
            path = work / f"{place}-{number:04}.npz"
            if not path.is_file():
                states = [np.random.default_rng([STREAM, SEED, PLACES.index(place), number, i]) for i in range(CHUNK)]
                images = np.stack([draw_other(rng, place, FRAME) for rng in states])
                _keep(path, images, [place] * CHUNK, [UNKNOWN] * CHUNK)
                log.info(f"{path}")
            yield number == 0, path


def _keep(path: Path, images: NDArray[np.float32], places: list[Place], sides: list[int]) -> None:
    with atomic_path(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            images=images.astype(np.float16),
            places=np.array([PLACES.index(place) for place in places], np.int64),
            sides=np.array(sides, np.float32),
        )


if __name__ == "__main__":
    main()
