"""`python -m examples.arena`: serve on port 8002, or PORT."""

import socket

import uvicorn

from examples.arena.app import create_app
from examples.arena.game import LONGEST_MESSAGE
from examples.journal import tell
from examples.settings import Settings

settings = Settings.from_environment(port=8002)
listening = socket.create_server(("127.0.0.1", settings.port), backlog=256)
config = uvicorn.Config(create_app(settings), log_level="warning", ws_max_size=LONGEST_MESSAGE, timeout_graceful_shutdown=1)
tell("started", app="arena", url=settings.base)
uvicorn.Server(config).run(sockets=[listening])
