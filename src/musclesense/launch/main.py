"""``python train.py`` and ``musclesense train``: Hydra drives, and what it says of a wrong command is one line."""

import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from omegaconf import DictConfig

from musclesense.errors import InputError, report_input_errors
from musclesense.launch import overrides as given
from musclesense.launch.callback import EscapedError, this
from musclesense.messages import log, to_console
from musclesense.storage.processes import end_with_parent
from musclesense.training.config import register
from musclesense.training.run import attempt
from musclesense.training.settings import build

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
        except EscapedError as escaped:
            raise escaped.args[0] from None
        except Exception as error:
            if this.plan is not None or isinstance(error, InputError):
                raise
            raise given.explain(error, overrides) from error


def run(config: DictConfig) -> float:
    """Do one run, whose failure does not stop the runs that follow.

    Returns:
        Mean DSC of the test cases, not a number where the run failed.
    """
    end_with_parent()  # joblib's workers would do the runs they have been given, and then wait for it for ever
    try:
        return attempt(build(config))
    except InputError as error:  # of a sweeper that draws as it goes; all others have been checked
        log.error(f"not run: {error}")
        return float("nan")
