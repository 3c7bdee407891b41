"""``python train.py`` and ``musclesense train``: Hydra drives, and what it says of a wrong command is one line."""

import gc
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from omegaconf import DictConfig

from musclesense.errors import DiskError, InputError, report_input_errors
from musclesense.launch import overrides as given
from musclesense.launch.callback import EscapedError, this
from musclesense.launch.configuration import explain_composition
from musclesense.messages import log, to_console
from musclesense.storage.locks import locked_if_free
from musclesense.storage.processes import end_with_parent
from musclesense.studies.writing import record_failure
from musclesense.training.config import register
from musclesense.training.run import train
from musclesense.training.settings import Settings, build

_DEBUG = "--debug"


def command(main: Callable[[], Any], name: Sequence[str] = ("python", "train.py")) -> None:
    """Do what the command line asks for.

    Exits with 0 when every run is finished, 1 when some failed, 2 when the input cannot be used.

    Args:
        main: `run`, decorated by ``hydra.main``.
        name: What a user types before the arguments.
    """
    words = [argument for argument in sys.argv[1:] if argument != _DEBUG]
    to_console()
    register()
    logging.getLogger("hydra").setLevel(logging.CRITICAL)  # what it would log is raised, too
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what is raised comes through as it is
    with report_input_errors(debug=_DEBUG in sys.argv[1:]), ExitStack() as shown:
        this.typed, this.plan, this.shown = shlex.join([*name, *words]), None, shown
        flags, overrides = given.read(words)
        sys.argv[1:] = [*flags, *overrides]
        try:
            main()
        except InputError:
            raise
        except EscapedError as escaped:
            raise escaped.error from None
        except Exception as error:
            if this.plan is not None:
                raise
            raise explain_composition(error, overrides) from error


def run(config: DictConfig) -> float:
    """Do one run; a failure is written down and does not stop the runs that follow.

    Returns:
        Mean DSC of the test cases, not a number where the run failed.
    """
    end_with_parent()  # joblib's workers would do the runs they have been given, and then wait for it for ever
    try:
        settings = build(config)
    except InputError as error:  # of a sweeper that draws as it goes; all others have been checked
        log.error(f"not run: {error}")
        return float("nan")
    try:
        return train(settings)["dice"]
    except Exception as error:
        _record(error, settings)
        if isinstance(error, DiskError):
            raise SystemExit(1) from error  # the runs that follow would fare no better
        return float("nan")
    finally:
        gc.collect()  # networks of earlier runs must not fill the device
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _record(error: Exception, settings: Settings) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    try:
        with locked_if_free(settings.run.path) as mine:  # another sweep may be at the same run by now
            if mine:
                record_failure(settings.run, reason, details=traceback.format_exc(), **settings.fold)
    except InputError:
        raise SystemExit(f"error: {reason}") from error
