"""Serve the page until somebody ends it."""

import os
import socket
from pathlib import Path

import uvicorn

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.serve.app import application
from musclesense.serve.safety import Guard
from musclesense.serve.settings import Settings
from musclesense.storage.locks import locked_if_free
from musclesense.storage.paths import require_writable

_MOST_CONNECTIONS, _ANSWER_SECONDS = 200, 5


def serve(settings: Settings) -> None:
    """Serve the page.

    Raises:
        InputError: Another server has the folder or the port.
    """
    require_writable(settings.data)
    with locked_if_free(settings.data / "server") as free:
        if not free:
            raise InputError(f"{settings.data}: another server is at work there; give another --data")
        with listen(settings) as listening:
            log.info(f"uploads and results: {settings.data}, removed after {settings.keep_hours:g} h; end with Ctrl+C")
            answer(application(settings), listening)


def answer(app: Guard, listening: socket.socket) -> None:
    """Answer requests at a place that is listened at, until somebody ends it."""
    config = uvicorn.Config(
        app,
        access_log=False,  # addresses of results are known to their owners alone
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_ANSWER_SECONDS,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[listening])


def listen(settings: Settings) -> socket.socket:
    """Listen at the address that is asked for, and print it.

    Raises:
        InputError: It cannot be listened at.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        place = f"--host {settings.host} --port {settings.port}"
        raise InputError(
            f"{place}: cannot be listened at ({os.strerror(error.errno or 0)}); give another port"
        ) from error
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{listening.getsockname()[1]}", flush=True)
    return listening


def default_data() -> Path:
    """Give the folder of uploads and results where none is given: in the user's home, whatever is worked in."""
    return Path.home() / ".musclesense" / "serve"
