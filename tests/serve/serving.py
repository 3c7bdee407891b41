"""A server in a process of its own, which can be killed: `python -m tests.serve.serving DATA`."""

import socket
import sys
from pathlib import Path

import uvicorn
from tests.serve.doing import waits_if_calf

from musclesense.serve.app import application
from musclesense.serve.jobs import Jobs
from musclesense.serve.settings import Settings
from musclesense.serve.store import Store

if __name__ == "__main__":
    asked = Settings(data=Path(sys.argv[1]))
    with socket.create_server((asked.host, 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        app = application(asked, Jobs(Store(asked.data), asked, waits_if_calf))
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
