"""`idp signals`: who follows, and how far behind they are."""

from typing import TYPE_CHECKING, Protocol

import click

from idp.runtime.clock import Instant
from idp.runtime.console import HELP, Record, emit, json_option, page_options, reads
from idp.runtime.paging import Page

if TYPE_CHECKING:
    from idp.runtime.database import Database
    from idp.signals.rules import Lag, Stream
    from idp.signals.streams import StreamService

_COLUMNS = ("stream_id", "client_id", "method", "status", "behind", "behind_seconds", "seen_at", "description")


class SignalNeeds(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> "Database": ...  # noqa: D102
    @property
    def streams(self) -> "StreamService": ...  # noqa: D102


@click.group(name="signals", context_settings=HELP)
def group() -> None:
    """Security events, for those who verify tokens locally."""


@group.command(name="list")
@page_options(100)
@json_option
@click.pass_obj
@reads
def list_(needs: SignalNeeds, page: Page, *, as_json: bool) -> None:
    """List who follows: streams, and how far behind each is."""
    with needs.database.reading() as tx:
        rows = [_row(stream, needs.streams.lag(tx, stream), tx.now) for stream in needs.streams.listed(tx, page)]
    emit(rows, as_json=as_json, columns=_COLUMNS, page=page)


def _row(stream: "Stream", lag: "Lag", now: Instant) -> Record:
    return {
        "stream_id": stream.stream_id,
        "client_id": stream.client_id,
        "method": "push" if stream.endpoint_url else "poll",
        "endpoint_url": stream.endpoint_url,
        "status": stream.status,
        "status_reason": stream.status_reason,
        "behind": lag.events,
        "behind_seconds": None if lag.since is None else round(max(0.0, now - lag.since), 1),
        "events": list(stream.events_delivered),
        "removed_subjects": len(stream.removed_subjects),
        "created_at": stream.created_at,
        "seen_at": stream.seen_at,
        "description": stream.description,
    }
