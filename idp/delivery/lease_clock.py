"""By whose clock a lease is judged.

Workers on several machines have clocks of their own, and one that is ahead would think the others' leases over: on PostgreSQL
the server's clock decides for all of them. SQLite is one machine's, whose clock everybody has.
"""

from typing import Any

from sqlalchemy import Double, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from idp.runtime.database import Transaction


class LeaseClock(FunctionElement[float]):
    """The instant of a statement, as leases have it. Statements with it are given `instants`."""

    type = Double()
    inherit_cache = True

    def __init__(self) -> None:
        super().__init__(bindparam("now", type_=Double()), bindparam("shift", type_=Double()))


def instants(tx: Transaction) -> dict[str, float]:
    """What `LeaseClock` needs to know: a test's own time counts on the server, too."""
    return {"now": tx.now, "shift": tx.shift}


@compiles(LeaseClock)
def _of_the_caller(element: LeaseClock, compiler: SQLCompiler, **options: Any) -> str:
    now, _ = element.clauses
    return compiler.process(now, **options)


@compiles(LeaseClock, "postgresql")
def _of_the_server(element: LeaseClock, compiler: SQLCompiler, **options: Any) -> str:
    # The statement's instant, and not `clock_timestamp`, which PostgreSQL would ask for again in each row.
    _, shift = element.clauses
    return f"(extract(epoch FROM statement_timestamp())::double precision + {compiler.process(shift, **options)})"
