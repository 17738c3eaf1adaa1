"""Ending one session costs the same with ten and with a million in the table: every statement goes by an index.

`IDP_SCALE=1000000` fills the table first and prints what an ending costs then; `make test` asks for the plans alone.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, insert, text

from idp.app import Provider
from idp.runtime import migrations
from idp.runtime.database import table_of
from idp.sessions.models import SessionClientRow, SessionRow
from idp.sessions.rules import SignIn
from idp.tokens.issuing import TokenIssuer
from idp.tokens.models import FamilyRow
from idp.tokens.rules import Authorization
from tests.endings.test_reaper import build
from tests.keys.grounds import EPOCH, Clock
from tests.support.databases import DIALECTS, migrated

#: In no status list that is drawn from here.
_FAR = 10**9
FEW, MANY = 10, int(os.environ.get("IDP_SCALE", "2000"))
ROUNDS = 40
TABLES = ("pairwise_subjects", "sessions", "session_clients", "token_families", "deliveries", "authorization_codes")


@pytest.fixture(params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    built = build(migrated(request, tmp_path), Clock())
    migrations.upgrade(built.database)
    yield built
    built.database.dispose()


def fill(provider: Provider, count: int, before: int = 0) -> None:
    """Sessions that have ended, and some that have not, of other people."""
    with provider.database.writing() as tx:
        client = provider.clients.add(tx, {"redirect_uris": ["https://other.example/cb"]}).client.client_id
    for start in range(before, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        with provider.database.writing() as tx:
            tx.execute(insert(table_of(SessionRow)), [session(number) for number in numbers])
            parts = [{"sid": f"s{n}", "client_id": client, "first_used_at": EPOCH} for n in numbers]
            tx.execute(insert(table_of(SessionClientRow)), parts)
            tx.execute(insert(table_of(FamilyRow)), [family(number, client) for number in numbers])
    with provider.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def session(number: int) -> dict[str, object]:
    open_ = number % 10 == 0
    return {
        "sid": f"s{number}",
        "cookie_hash": f"c{number}",
        "subject": f"p{number // 3}",
        "started_at": EPOCH,
        "auth_time": EPOCH,
        "last_used_at": EPOCH,
        "expires_at": EPOCH + 36_000,
        "amr": "pwd",
        "address": "192.0.2.1",
        "user_agent": "a browser",
        "ended_at": None if open_ else EPOCH,
        "end_reason": None if open_ else "idle",
    }


def family(number: int, client: str) -> dict[str, object]:
    return {
        "family_id": f"f{number}",
        "client_id": client,
        "subject": f"p{number // 3}",
        "sid": f"s{number}",
        "scope": "openid",
        "offline": False,
        "auth_time": EPOCH,
        "acr": "1",
        "amr": "pwd",
        "generation": 0,
        "secret_hash": None,
        "started_at": EPOCH,
        "rotated_at": EPOCH,
        "expires_at": EPOCH + 86_400,
        "ended_at": None,
        "end_reason": None,
        "status_index": _FAR + number,
    }


def sign_in(provider: Provider) -> tuple[str, str]:
    with provider.database.writing() as tx:
        started = provider.sessions.start(tx, SignIn("alice", "pwd", "192.0.2.1", "a browser")).session
        uri = "https://app.example/logout"
        metadata = {"redirect_uris": ["https://app.example/cb"], "backchannel_logout_uri": uri}
        pairwise = {"subject_type": "pairwise", "backchannel_logout_include_sub": True}
        client = provider.clients.add(tx, metadata | pairwise).client
        provider.sessions.take_part(tx, started, client)
        given = Authorization(client.client_id, "alice", started.sid, "openid", False, EPOCH, "1", "pwd")
        TokenIssuer(provider.tokens).start_family(tx, TokenIssuer(provider.tokens).new_family_id(), given, refreshable=True)
    return started.sid, client.client_id


def end(provider: Provider, sid: str) -> None:
    with provider.database.writing() as tx:
        assert provider.logout.end_session(tx, sid, "signed_out") is not None


def middle_cost(provider: Provider) -> float:
    """Seconds for one ending: the median of many."""
    costs = []
    for _ in range(ROUNDS):
        sid, _ = sign_in(provider)
        began = time.perf_counter()
        end(provider, sid)
        costs.append(time.perf_counter() - began)
    return sorted(costs)[ROUNDS // 2]


def test_every_statement_of_an_ending_goes_by_an_index(provider: Provider) -> None:
    fill(provider, 2_000)
    sid, client_id = sign_in(provider)
    asked: list[tuple[str, object]] = []
    event.listen(provider.database.engine, "before_cursor_execute", lambda _c, _cur, sql, given, *_: asked.append((sql, given)))
    end(provider, sid)
    with provider.database.writing() as tx:
        provider.logout.end_stale_sessions(tx, 10)
        provider.consents.withdraw(tx, "alice", client_id)
        provider.tokens.statuses(tx)
    statements = [(sql, given) for sql, given in asked if sql.split()[0] in {"SELECT", "UPDATE", "DELETE"}]
    assert len(statements) >= 8
    with provider.database.engine.connect() as connection:
        if provider.database.dialect == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # small tables are read whole; is there a way by an index?
        for sql, given in statements:
            prefix = "EXPLAIN QUERY PLAN " if provider.database.dialect == "sqlite" else "EXPLAIN "
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(prefix + sql, given))
            for table in TABLES:
                assert f"SCAN {table}" not in plan.replace("USING", "\n"), f"{sql}\n{plan}"
                assert f"Seq Scan on {table}" not in plan, f"{sql}\n{plan}"


def test_what_an_ending_costs_does_not_grow_with_the_table(provider: Provider) -> None:
    fill(provider, FEW)
    few = middle_cost(provider)
    fill(provider, MANY, FEW)
    many = middle_cost(provider)
    print(
        f"\n{provider.database.dialect}: one ending {few * 1000:.2f} ms with {FEW} sessions, {many * 1000:.2f} ms with {MANY},"
        f" ratio {many / few:.2f}"
    )
