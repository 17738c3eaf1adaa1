"""A worker on a machine whose clock is AHEAD seconds ahead: `python -m tests.delivery.skewed URL AHEAD LANES`.

It holds at most LANES at once, and ends with its input.
"""

import os
import sys
import threading
import time
from types import SimpleNamespace

import idp.tables
from idp.delivery.service import DeliveryService
from idp.delivery.worker import Worker
from idp.runtime import clock
from idp.runtime.database import Database
from idp.runtime.outbound.client import Outbound
from tests.delivery.conftest import compose

TIMEOUT = 60.0


def main(url: str, ahead: float, lanes: int) -> None:
    assert idp.tables
    machine = SimpleNamespace(time=lambda: time.time() + ahead, monotonic=time.monotonic)
    clock.time = machine  # type: ignore[assignment]  # what the system itself says, as far as this process can tell
    database = Database(url)
    service, outbound = DeliveryService(database), Outbound(allow_loopback=True, timeout=TIMEOUT)
    worker = Worker(database, service, outbound, {"test": compose}, concurrency=lanes, poll_seconds=0.02)
    threading.Thread(target=worker.run_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
