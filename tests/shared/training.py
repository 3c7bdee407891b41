"""Small cohorts and configurations for the tests of training."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort.cache import Case, SliceCache
from musclesense.cohort.table import Acquisition
from musclesense.imaging.nifti import Geometry
from musclesense.phantom import any_scanner
from musclesense.training import inputs, run
from musclesense.training.composition import compose
from musclesense.training.settings import Settings
from musclesense.vocabulary import Limbs, Region

Compose = Callable[..., Settings]


@pytest.fixture(scope="session")
def composed() -> Compose:
    """Compose the smoke configuration with overrides; nothing of it need exist."""
    return lambda *overrides: compose("experiment=smoke", "trainer=cpu", *overrides)


@pytest.fixture
def configured(composed: Compose, data: Path, tmp_path: Path) -> Compose:
    """Compose the smoke configuration on the smoke phantom, with runs in the folder of the test."""
    return lambda *overrides: composed(f"data={data}", f"runs={tmp_path / 'runs'}", *overrides)


@pytest.fixture(scope="session")
def finished(composed: Compose, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run that trained to its end; not to be written to."""
    settings = composed(f"data={data}", f"runs={tmp_path_factory.mktemp('runs')}", "study=whole")
    run.train(settings)
    yield settings.run.path


@pytest.fixture(scope="session")
def slices(composed: Compose, data: Path, tmp_path_factory: pytest.TempPathFactory) -> inputs.Inputs:
    """Slices and split of the smoke phantom."""
    return inputs.prepare(composed(f"data={data}", f"runs={tmp_path_factory.mktemp('runs')}"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[any_scanner.SyntheticSlice]:
    """Let the generator of synthetic slices draw two discs in no time; the slices drawn in this process so far."""
    made: list[any_scanner.SyntheticSlice] = []

    def draw(
        rng: np.random.Generator, *, regions: Collection[Region], without: Collection[str]
    ) -> any_scanner.SyntheticSlice:
        x, y = np.meshgrid(np.arange(-200.0, 200.0, 6.4), np.arange(-100.0, 100.0, 6.4))
        image, compartments = (np.zeros(x.shape, dtype) for dtype in (np.float32, np.uint8))
        for value, centre in ((1, -90), (101, 90)):
            radius = np.hypot(x - centre - rng.normal(0, 8), y - rng.normal(0, 8))
            image[radius < 75] = 100
            image[radius < 55] = 20
            compartments[radius < 55] = value
        made.append(
            any_scanner.SyntheticSlice(
                image=image + np.asarray(rng.uniform(0, 5, image.shape), np.float32),
                mask=(compartments > 0).astype(np.uint8),
                compartments=compartments,
                geometry=Geometry.from_affine((*image.T.shape, 1), np.diag([-6.4, -6.4, 10.0, 1.0])),
                region=sorted(regions)[0],
                limbs=Limbs.BOTH,
            )
        )
        return made[-1]

    monkeypatch.setattr(any_scanner, "synthetic_slice", draw)
    return made


@pytest.fixture
def toy() -> SliceCache:
    """Slices of eight subjects, two slices each, channels fat and water on 6 x 8 pixels; no files behind them."""
    random = np.random.default_rng(0)
    acquisitions = [Acquisition(line=2 + i, subject=f"s{i}", region=Region.CALF) for i in range(8)]
    return SliceCache(
        channels=("fat", "water"),
        cases=tuple(Case(acquisition, number) for acquisition in acquisitions for number in (0, 1)),
        images=random.standard_normal((16, 2, 6, 8)).astype(np.float16),
        air=random.standard_normal((16, 2)).astype(np.float32),
        classes=random.integers(0, 3, (16, 6, 8), dtype=np.uint8),
        classes_of={Region.CALF: frozenset({1, 2})},
    )
