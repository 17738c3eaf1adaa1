"""`python -m examples.notes`: serve on port 8001, or PORT."""

import logging

from werkzeug.serving import make_server

from examples.journal import tell
from examples.notes.app import create_app
from examples.settings import Settings

settings = Settings.from_environment(port=8001)
logging.getLogger("werkzeug").setLevel(logging.WARNING)
server = make_server("127.0.0.1", settings.port, create_app(settings), threaded=True)
tell("started", app="notes", url=settings.base)
server.serve_forever()
