"""A server in a process of its own, which can be killed: `python -m tests.serve.serving DATA WORK JOBS`."""

import socket
import sys
from pathlib import Path

import uvicorn
from tests.serve import doing

from musclesense.serve.app import application
from musclesense.serve.jobs import Jobs
from musclesense.serve.settings import Settings
from musclesense.serve.store import Store

if __name__ == "__main__":
    data, work, jobs = sys.argv[1:]
    asked = Settings(data=Path(data), jobs=int(jobs))
    with socket.create_server((asked.host, 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        app = application(asked, Jobs(Store(asked.data), asked, getattr(doing, work)))
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
