"""`idp session`: who is signed in. Ending one is in `logout`."""

from dataclasses import asdict

import click

from idp.runtime.clock import Instant, in_words
from idp.runtime.console import HELP, Refused, emit, json_option, page_options, reads
from idp.runtime.paging import Page
from idp.sessions.rules import Session


@click.group(name="session", context_settings=HELP)
def group() -> None:
    """Browser sessions at this provider."""


@group.command(name="list")
@click.option("--user", "username", help="Only the sessions of this person.")
@click.option("--client", "client_id", help="Only those in which this client takes part.")
@page_options(100)
@json_option
@click.pass_obj
@reads
def list_(obj, username: str | None, client_id: str | None, page: Page, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - see idp.cli.Deployment
    """List live sessions, newest use first."""
    with obj.database.reading() as tx:
        account = obj.accounts.find(tx, username) if username is not None else None
        if username is not None and account is None:
            message = f"There is no user {username!r}: see `idp user list`."
            raise Refused(message)
        subject = None if account is None else account.subject
        sessions = obj.sessions.listed(tx, page, subject=subject, client_id=client_id)
        parts = obj.sessions.taken_part_in(tx, [session.sid for session in sessions])
    rows = [_row(each, [part.client_id for part in parts[each.sid]], as_json=as_json) for each in sessions]
    emit(
        rows,
        as_json=as_json,
        columns=("sid", "subject", "started_at", "last_used_at", "expires_at", "address", "clients"),
        page=page,
    )


@group.command()
@click.argument("sid")
@json_option
@click.pass_obj
@reads
def show(obj, sid: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Show one session, ended or not, who took part, how far each was told of its end, and what is exposed still."""
    with obj.database.reading() as tx:
        session = obj.sessions.get(tx, sid)
        if session is None:
            message = f"There is no session {sid!r}: see `idp session list`."
            raise Refused(message)
        row = _row(session, obj.sessions.clients_of(tx, sid), as_json=as_json)
        row["state"] = "alive" if obj.sessions.alive(tx, sid) is not None else "ended"
        told = {delivery.client_id: str(delivery.state(tx.now)) for delivery in obj.deliveries.of_session(tx, sid)}
        row["told"] = told if as_json else told or "-"
        exposure = obj.streams.exposure(tx, sid)
        if exposure is not None:
            sentence = exposure.sentence(tx.now)
            row["exposure"] = {**asdict(exposure), "sentence": sentence} if as_json else sentence
    emit(row, as_json=as_json)


def _row(session: Session, clients: list[str], *, as_json: bool) -> dict[str, object]:
    def at(instant: Instant | None) -> object:
        return instant if as_json else in_words(instant)

    return {
        "sid": session.sid,
        "subject": session.subject,
        "started_at": at(session.started_at),
        "auth_time": at(session.auth_time),
        "last_used_at": at(session.last_used_at),
        "expires_at": at(session.expires_at),
        "ended_at": at(session.ended_at),
        "end_reason": session.end_reason,
        "address": session.address,
        "user_agent": session.user_agent,
        "clients": clients if as_json else " ".join(clients) or "-",
    }
