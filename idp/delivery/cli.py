"""`idp delivery`: what waits, what arrived, what died, and sending it again."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Protocol

import click

from idp.delivery.rules import Delivery, DeliveryState, Party
from idp.runtime.clock import Instant
from idp.runtime.console import HELP, Record, Refused, emit, json_option, page_options, reads
from idp.runtime.paging import Page

if TYPE_CHECKING:
    from idp.delivery.service import DeliveryService
    from idp.runtime.database import Database

_COLUMNS = ("delivery_id", "state", "kind", "client_id", "sid", "created_at", "attempts", "last_status", "last_error")


class DeliveryNeeds(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> "Database": ...  # noqa: D102
    @property
    def deliveries(self) -> "DeliveryService": ...  # noqa: D102


@click.group(name="delivery", context_settings=HELP)
def group() -> None:
    """What is sent to relying parties, and what became of it."""


@group.command(name="list")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only those in this state.")
@page_options(100)
@json_option
@click.pass_obj
@reads
def list_(needs: DeliveryNeeds, state: str | None, page: Page, *, as_json: bool) -> None:
    """List deliveries, the newest first."""
    with needs.database.reading() as tx:
        found = needs.deliveries.listed(tx, DeliveryState(state) if state else None, page.size, page.number)
    emit([_record(one, tx.now) for one in found], as_json=as_json, columns=_COLUMNS, page=page)


@group.command()
@click.argument("delivery_id", metavar="ID")
@json_option
@click.pass_obj
@reads
def show(needs: DeliveryNeeds, delivery_id: str, *, as_json: bool) -> None:
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
def retry(needs: DeliveryNeeds, delivery_id: str | None, client_id: str | None, *, as_json: bool) -> None:
    """Send a dead or waiting delivery again, now; or with --client all that died for want of an answer."""
    from idp.delivery.service import DeliveryError  # noqa: PLC0415 - when the command runs, not when it is described
    from idp.runtime.batches import in_batches  # noqa: PLC0415

    if (delivery_id is None) == (client_id is None):
        message = "Name one delivery, or a client with --client."
        raise click.UsageError(message)
    if client_id is not None:
        of_client = partial(needs.deliveries.retry_of_client, client_id=client_id)
        emit({"client_id": client_id, "sent_again": sum(in_batches(needs.database, of_client))}, as_json=as_json)
        return
    with needs.database.writing() as tx:
        try:
            found = needs.deliveries.retry(tx, str(delivery_id))
        except DeliveryError as error:
            raise Refused(str(error)) from None
    emit(_record(found, tx.now), as_json=as_json)


@group.command()
@page_options(1000)
@json_option
@click.pass_obj
@reads
def parties(needs: DeliveryNeeds, page: Page, *, as_json: bool) -> None:
    """List the relying parties that do not answer, or that answered 400 and never took anything.

    Nothing is sent to one whose circuit is open, save a probe now and then.
    """
    with needs.database.reading() as tx:
        found = [*needs.deliveries.parties(tx, page), *needs.deliveries.refusing(tx, page)]
    rows = [_party(party, tx.now) for party in found]
    columns = ("client_id", "circuit", "failures", "failing_since_at", "open_until_at", "last_error")
    emit(rows, as_json=as_json, columns=columns, page=page)


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
