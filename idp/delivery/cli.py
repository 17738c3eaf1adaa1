"""`idp delivery`: what waits, what arrived, what died, and sending it again."""

from dataclasses import asdict
from typing import Protocol

import click

from idp.delivery.rules import Delivery, State
from idp.delivery.service import DeliveryError, DeliveryService
from idp.runtime.clock import Instant
from idp.runtime.console import Record, Refused, emit, json_option
from idp.runtime.database import Database

_COLUMNS = ("delivery_id", "state", "kind", "client_id", "sid", "created_at", "attempts", "last_status", "last_error")


class Needs(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> Database: ...  # noqa: D102
    @property
    def deliveries(self) -> DeliveryService: ...  # noqa: D102


@click.group(name="delivery")
def group() -> None:
    """What is sent to relying parties, and what became of it."""


@group.command(name="list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
def list_(needs: Needs, state: str | None, limit: int, *, as_json: bool) -> None:
    """List deliveries, the newest first."""
    with needs.database.reading() as tx:
        found = needs.deliveries.listed(tx, State(state) if state else None, limit)
    emit([_record(one, tx.now) for one in found], as_json=as_json, columns=_COLUMNS)


@group.command()
@click.argument("delivery_id", metavar="ID")
@json_option
@click.pass_obj
def show(needs: Needs, delivery_id: str, *, as_json: bool) -> None:
    """Show one delivery."""
    with needs.database.reading() as tx:
        found = needs.deliveries.get(tx, delivery_id)
        if found is None:
            message = "There is no such delivery."
            raise Refused(message)
    emit(_record(found, tx.now), as_json=as_json)


@group.command()
@click.argument("delivery_id", metavar="ID")
@json_option
@click.pass_obj
def retry(needs: Needs, delivery_id: str, *, as_json: bool) -> None:
    """Send a dead or waiting delivery again, now."""
    with needs.database.writing() as tx:
        try:
            found = needs.deliveries.retry(tx, delivery_id)
        except DeliveryError as error:
            raise Refused(str(error)) from None
    emit(_record(found, tx.now), as_json=as_json)


def _record(found: Delivery, now: Instant) -> Record:
    return {"delivery_id": found.delivery_id, "state": found.state(now).value, **asdict(found)}
