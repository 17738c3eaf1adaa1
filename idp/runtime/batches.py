"""Work on many rows, batch by batch: each in a transaction of its own, with a rest between two.

SQLite has one writer at a time, and whoever waits for the lock looks for it every millisecond: who took it again at once
would have it again, and another writer waited for seconds. So every job of several batches goes through `in_batches`, and a
house rule finds a loop that does not.
"""

import time
from collections.abc import Callable, Iterator

from idp.runtime.clock import elapsed
from idp.runtime.database import Database, Transaction

#: Seconds between two batches at the least: time for some twenty others to write.
REST_SECONDS = 0.02
#: Rows of a kind that one batch deletes: some 20 ms on SQLite.
AT_ONCE = 1000


def in_batches(
    database: Database, batch: Callable[[Transaction], int], rest: Callable[[float], object] = time.sleep
) -> Iterator[int]:
    """Run `batch` until it finds nothing more to do; yields what each one returned: how much it did.

    Between two it rests for half as long as the last one took, at the least for `REST_SECONDS`. `rest` waits for so many
    seconds, and returns true when the work is to stop (`Periodic.rest`).
    """
    seconds = 0.0
    while not rest(seconds):
        began = elapsed()
        with database.writing() as tx:
            tx.take_time()
            done = batch(tx)
        if done == 0:
            return
        yield done
        seconds = max(REST_SECONDS, (elapsed() - began) / 2)
