"""Random histories of rotations, revocations, restarts, clocks and policies: no valid token ever fails to verify.

A few in `make test`; `IDP_HISTORIES=5000` runs so many.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from idp.keys import rules
from idp.keys.models import SigningKeyRow
from idp.runtime.database import Base, Database, table_of
from tests.keys.histories import INSTANCES, Histories

COUNT = int(os.environ.get("IDP_HISTORIES", "20"))
SETTINGS = settings(max_examples=COUNT, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[Histories]]:
    """The machine over instances that share a database, each with a clock of its own."""
    url = f"sqlite:///{tmp_path / 'histories.sqlite3'}"
    offsets = [0.0] * INSTANCES
    databases = [Database(url, lambda number=number: Histories.now[0] + offsets[number]) for number in range(INSTANCES)]
    Base.metadata.create_all(databases[0].engine, tables=[table_of(SigningKeyRow)])
    Histories.databases, Histories.offsets = databases, offsets
    yield Histories
    for database in databases:
        database.dispose()


def test_no_valid_token_ever_fails_to_verify_and_no_revoked_key_is_believed(machine: type[Histories]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_the_same_machine_without_an_announcement_sees_tokens_fail(
    machine: type[Histories], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: were this to pass, the test above would prove nothing."""
    announced = rules.wanted

    def unannounced(*arguments, **named):
        want = announced(*arguments, **named)
        return None if want is None else replace(want, published_at=want.active_at)

    monkeypatch.setattr(rules, "wanted", unannounced)
    with pytest.raises(AssertionError, match="a valid token of k[0-9]+ fails to verify"):
        run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=100, phases=[Phase.generate]))
