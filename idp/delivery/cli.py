"""`idp delivery`: what waits, what arrived, what died, and sending it again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import click

from idp.delivery.rules import Delivery, Party, State
from idp.runtime.clock import Instant
from idp.runtime.console import Record, Refused, emit, json_option, reads

if TYPE_CHECKING:
    from idp.delivery.service import DeliveryService
    from idp.runtime.database import Database

_COLUMNS = ("delivery_id", "state", "kind", "client_id", "sid", "created_at", "attempts", "last_status", "last_error")


class Needs(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> "Database": ...  # noqa: D102
    @property
    def deliveries(self) -> "DeliveryService": ...  # noqa: D102


@click.group(name="delivery")
def group() -> None:
    """What is sent to relying parties, and what became of it."""


@group.command(name="list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
@reads
def list_(needs: Needs, state: str | None, limit: int, *, as_json: bool) -> None:
    """List deliveries, the newest first."""
    with needs.database.reading() as tx:
        found = needs.deliveries.listed(tx, State(state) if state else None, limit)
    emit([_record(one, tx.now) for one in found], as_json=as_json, columns=_COLUMNS)


@group.command()
@click.argument("delivery_id", metavar="ID")
@json_option
@click.pass_obj
@reads
def show(needs: Needs, delivery_id: str, *, as_json: bool) -> None:
    """Show one delivery."""
    with needs.database.reading() as tx:
        found = needs.deliveries.get(tx, delivery_id)
        if found is None:
            message = "There is no such delivery."
            raise Refused(message)
    emit(_record(found, tx.now), as_json=as_json)


@group.command()
@click.argument("delivery_id", metavar="[ID]", required=False)
@click.option("--client", "client_id", help="Everything of this client that died.")
@json_option
@click.pass_obj
def retry(needs: Needs, delivery_id: str | None, client_id: str | None, *, as_json: bool) -> None:
    """Send a dead or waiting delivery again, now; or with --client all that died for want of an answer."""
    from idp.delivery.service import DeliveryError  # noqa: PLC0415 - when the command runs, not when it is described

    if (delivery_id is None) == (client_id is None):
        message = "Name one delivery, or a client with --client."
        raise click.UsageError(message)
    with needs.database.writing() as tx:
        if client_id is not None:
            count = needs.deliveries.retry_of_client(tx, client_id)
        else:
            try:
                found = needs.deliveries.retry(tx, str(delivery_id))
            except DeliveryError as error:
                raise Refused(str(error)) from None
    emit({"client_id": client_id, "sent_again": count} if client_id is not None else _record(found, tx.now), as_json=as_json)


@group.command()
@json_option
@click.pass_obj
@reads
def parties(needs: Needs, *, as_json: bool) -> None:
    """List the relying parties that do not answer, or that answered 400 and never took anything.

    Nothing is sent to one whose circuit is open, save a probe now and then.
    """
    with needs.database.reading() as tx:
        found = [*needs.deliveries.parties(tx), *needs.deliveries.refusing(tx)]
    rows = [_party(party, tx.now) for party in found]
    emit(rows, as_json=as_json, columns=("client_id", "circuit", "failures", "failing_since_at", "open_until_at", "last_error"))


def _record(found: Delivery, now: Instant) -> Record:
    return {"delivery_id": found.delivery_id, "state": found.state(now).value, **asdict(found)}


def _party(found: Party, now: Instant) -> Record:
    return {
        "client_id": found.client_id,
        "circuit": "open" if now < found.open_until else "closed",
        "failures": found.failures,
        "failing_since_at": found.failing_since,
        "open_until_at": found.open_until,
        "last_error": found.last_error,
    }
