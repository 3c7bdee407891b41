"""Fixtures that several rooms' tests share."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from musclesense.cohort.folds import draw
from musclesense.cohort.table import Acquisition, CohortTable, read_table, write_table
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.messages import to_console
from musclesense.nnunet.export import export
from musclesense.nnunet.record import Record
from musclesense.phantom.cohorts.generate import generate
from musclesense.vocabulary import Region

from .shared.waiting import LONGEST_SECONDS, end

# Other examples each time: pytest --hypothesis-profile=new
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True)  # one commit, one outcome
settings.load_profile("same")
pytest_plugins = ("tests.shared.commands", "tests.shared.studies", "tests.shared.training")

to_console()  # as a command does
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:  # in the background of a script; the commands under test hear them
        signal.signal(_number, lambda *_: None)
PROJECT = Path(__file__).parents[1]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: an archive holds the second it was made in, and each worker makes its own."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def no_handler_outlives_its_test() -> Iterator[None]:
    """Take away what a command in this process has let write to a stream that pytest closes after the test."""
    yield
    for handler in [one for one in logging.root.handlers if type(one) is logging.StreamHandler]:
        logging.root.removeHandler(handler)


def _start(folder: Path, *arguments: str, **user: Any) -> "subprocess.Popen[str]":
    """Start ``python train.py`` in ``folder`` as a user types it, with no input and no wandb account."""
    environment = {**os.environ, "WANDB_API_KEY": "", "WANDB_MODE": "offline", "NETRC": str(folder / "no-netrc")}
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # to be ended with all that it has started
        **user,
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``python train.py`` in a folder and do not wait for it; what still runs after the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def begin(folder: Path, *arguments: str, **user: Any) -> "subprocess.Popen[str]":
        processes.append(_start(folder, *arguments, **user))
        return processes[-1]

    yield begin
    for process in processes:
        end(process)


@pytest.fixture(scope="session")
def train() -> Command:
    """Run ``python train.py`` in a folder to its end."""

    def run(folder: Path, *arguments: str, **user: Any) -> "subprocess.CompletedProcess[str]":
        process = _start(folder, *arguments, **user)
        try:
            out, err = process.communicate(timeout=LONGEST_SECONDS)
        finally:
            end(process)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, outside the project."""
    folder = os.environ.get("MUSCLESENSE_REAL_DATA")
    if not folder:
        pytest.skip("MUSCLESENSE_REAL_DATA names no folder of real scans")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``data`` folder of a configuration, with the smoke phantom in it."""
    folder = tmp_path_factory.mktemp("data")
    generate(folder / "phantom-smoke-1", preset="smoke", seed=1)
    return folder


AXIAL = np.array([[-1.25, 0, 0, 31.5], [0, -1.5, 0, 12.25], [0, 0, 10, 400.125], [0, 0, 0, 1]])
SIDES = LabelSet.from_config({"left": [7], "right": [2, 3]})

WriteCohort = Callable[..., CohortTable]
Export = Callable[..., Record]


@pytest.fixture(scope="session")
def write_cohort() -> WriteCohort:
    """Write a tiny cohort of eight subjects, the first with two visits, stored along any axes, labels 2, 3 and 7."""

    def write(
        folder: Path,
        *,
        affine: NDArray[np.float64] = AXIAL,
        shape: tuple[int, int, int] = (5, 6, 4),
        across: int = 2,
        labelled: Sequence[int] = (1,),
        codes: tuple[int, int] = (1, 1),
    ) -> CohortTable:
        rng, rows = np.random.default_rng(0), []
        geometry = Geometry.from_affine(shape, affine)
        geometry.header.set_qform(affine, code=codes[0])
        geometry.header.set_sform(affine, code=codes[1])
        who = [("s, 1", "v1"), ("s, 1", "v/2"), *((f"s{number}", "") for number in range(2, 9))]
        for number, (subject, session) in enumerate(who):
            place = folder / f"scan{number}"
            mask = np.zeros(shape, np.uint16)
            for index in labelled:
                plane = np.moveaxis(mask, across, 0)[index]
                plane[:] = rng.choice([0, 2, 3, 7], plane.shape)
            write_volume(place / "fat.nii.gz", rng.integers(0, 4096, shape), geometry, np.int16)
            write_volume(place / "water.nii.gz", rng.normal(100, 20, shape), geometry, np.float32)
            write_volume(place / "mask.nii.gz", mask, geometry, np.uint16)
            rows.append(
                Acquisition(
                    line=2 + number,
                    subject=subject,
                    session=session,
                    group=f"g{int(subject[-1]) % 2}",
                    region=Region.CALF if number % 3 else Region.THIGH,
                    channels={name: place / f"{name}.nii.gz" for name in ("fat", "water")},
                    mask=place / "mask.nii.gz",
                    slice=labelled[0] if len(labelled) == 1 else None,
                )
            )
        write_table(folder / "cohort.csv", rows)
        return read_table(folder / "cohort.csv")

    return write


@pytest.fixture(scope="session")
def export_cohort() -> Export:
    """Export a whole table for nnU-Net, sides apart; a test names only what it is about."""

    def exported(table: CohortTable, out: Path, **changed: object) -> Record:
        asked: dict[str, object] = {
            "channels": ["water", "fat"],
            "labels": SIDES,
            "column": "mask",
            "regions": {*Region},
            "folds": draw(table.acquisitions, table=table.digest, seed=0),
            "outer": 1,
        }
        return export(table, out, **(asked | changed))  # type: ignore[arg-type]

    return exported
