"""`idp client`: relying parties, as RFC 7591 describes them. Removing one is in `logout`: it ends things."""

from dataclasses import asdict
from typing import BinaryIO

import click

from idp.clients import rules
from idp.clients.metadata import MetadataError
from idp.clients.rules import Client
from idp.runtime.clock import Instant, in_words
from idp.runtime.console import (
    HELP,
    Refused,
    as_json_text,
    concerning,
    emit,
    json_option,
    name_of,
    only_reading,
    page_options,
    read_json,
    reads,
    warn,
)
from idp.runtime.paging import Page

METADATA = "client metadata as RFC 7591 describes it"
_COLUMNS = (
    "client_id",
    "client_name",
    "token_endpoint_auth_method",
    "grant_types",
    "backchannel_logout_uri",
    "registered",
    "previous_secret_until",
)


def not_registered(obj, file: BinaryIO, metadata: object, error: MetadataError) -> Refused:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Why metadata was refused, and the operator's word that would let it in, where there is one."""
    message = f"{name_of(file)} cannot be registered ({error.error}): {error}."
    if obj.clients.is_refused_for_safety_alone(metadata):
        message += ' If you know that network and that device to be safe, add "insecure_uris": true.'
    return Refused(message)


@click.group(name="client", context_settings=HELP)
def group() -> None:
    """Relying parties."""


@group.command()
@click.option("--file", "file", type=click.File("rb"), required=True, help="RFC 7591 metadata as JSON; - for standard input.")
@json_option
@click.pass_obj
def add(obj, file: BinaryIO, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
    """Register a relying party and print its RFC 7591 response: the only time that its secret is shown."""
    metadata = read_json(file, METADATA)
    try:
        obj.clients.inspect(metadata, by_operator=True)  # looked up before the transaction begins
        with obj.database.writing() as tx:
            registration = obj.clients.add(tx, metadata)
    except MetadataError as error:
        raise not_registered(obj, file, metadata, error) from None
    warn(obj.clients.warnings(metadata))
    concerning(registration.client.client_id)
    click.echo(as_json_text(registration.response(), indent=2))


@group.command(name="rotate-secret")
@click.argument("client_id")
@click.option(
    "--overlap",
    type=click.IntRange(0, 31_536_000),
    help="Seconds for which the secret that there is counts as well; 0 ends it now. Default: IDP_CLIENTS_SECRET_OVERLAP.",
)
@click.option("--force", is_flag=True, help="Also while the secret before this one still counts: that one then ends now.")
@json_option
@click.pass_obj
def rotate_secret(obj, client_id: str, overlap: int | None, *, force: bool, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Give a relying party another secret and print it, the only time that it is shown. Both count for a stated time."""
    seconds = obj.settings.clients_secret_overlap if overlap is None else overlap
    with obj.database.writing() as tx:
        client = _registered(obj.clients.get(tx, client_id), client_id)
        until = client.previous_secret_until(tx.now)
        if client.secret_hash is None:
            message = f"{client_id} has no secret: it authenticates by {client.token_endpoint_auth_method}."
            raise Refused(message)
        if until is not None and not force:
            message = (
                f"The secret before the last rotation still counts, until {in_words(until)}, and only two can:"
                " wait until then, or end it now with --force."
            )
            raise Refused(message)
        secret = obj.clients.rotate_secret(tx, client, seconds)
        if secret is None:
            message = f"{client_id} was changed by somebody else just now: look at it with `idp client show`, and try again."
            raise Refused(message)
        until = tx.now + seconds if seconds else None
    done = {"client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0, "previous_secret_until": until}
    if not as_json:
        done = {"client_id": client_id, "client_secret": secret, "previous_secret_until": in_words(until)}
    emit(done, as_json=as_json)


@group.command(name="list")
@page_options(1000)
@json_option
@click.pass_obj
@reads
def list_(obj, page: Page, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """List the relying parties, oldest first."""
    with obj.database.reading() as tx:
        clients, now = obj.clients.listed(tx, page), tx.now
    rows = [shown(client, now) if as_json else _row(client, now) for client in clients]
    emit(rows, as_json=as_json, columns=_COLUMNS, page=page)


@group.command()
@click.argument("client_id")
@json_option
@click.pass_obj
@reads
def show(obj, client_id: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Show one relying party's metadata."""
    with obj.database.reading() as tx:
        client, now = _registered(obj.clients.get(tx, client_id), client_id), tx.now
    row = shown(client, now)
    if not as_json and "previous_secret_until" in row:
        row["previous_secret_until"] = in_words(client.retiring_until)
    emit(row, as_json=as_json)


@group.command()
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, help="How many clients may register with it.")
@click.option("--lifetime", type=click.IntRange(1, 31_536_000), default=86_400, help="Seconds for which it is good.")
@click.option("--list", "listing", is_flag=True, help="List those that are good, without showing them.")
@click.option("--revoke", "revoked", metavar="ID", help="Make the one of this name in the list worthless.")
@page_options(1000)
@json_option
@click.pass_obj
def token(obj, uses: int, lifetime: int, listing: bool, revoked: str | None, page: Page, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Make an initial access token, with which clients may register themselves, and print it: the only time it is shown."""
    if listing:
        only_reading()
        with obj.database.reading() as tx:
            listed = [asdict(each) for each in obj.registrations.listed_tokens(tx, page)]
        emit(listed, as_json=as_json, columns=("token_id", "uses_left", "created_at", "expires_at"), page=page)
        return
    with obj.database.writing() as tx:
        if revoked is not None:
            done = obj.registrations.revoke_token(tx, revoked)
        else:
            made, shown = obj.registrations.make_token(tx, uses=uses, lifetime=lifetime)
    if revoked is None:
        concerning(made.token_id)
        emit({**asdict(made), "initial_access_token": shown}, as_json=as_json)
    elif done:
        concerning(revoked)
        emit({"token_id": revoked, "revoked": True}, as_json=as_json)
    else:
        message = f"There is no initial access token {revoked!r}: see `idp client token --list`."
        raise Refused(message)


@group.command()
@json_option
@click.pass_obj
def reseal(obj, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Seal the secrets of client_secret_jwt clients under the first secret of IDP_SECRET_KEY."""
    with obj.database.writing() as tx:
        resealed, secrets = obj.clients.secrets.reseal(tx)
    emit({"resealed": resealed, "secrets": secrets}, as_json=as_json)


def _registered(client: Client | None, client_id: str) -> Client:
    if client is None:
        message = f"There is no client {client_id!r}: see `idp client list`."
        raise Refused(message)
    return client


def shown(client: Client, now: Instant) -> dict[str, object]:
    """A client for programs. `previous_secret_until` is there while the secret before the last rotation counts."""
    row = {"client_id": client.client_id, "client_id_issued_at": int(client.created_at), **rules.registered(client)}
    until = client.previous_secret_until(now)
    return row if until is None else row | {"previous_secret_until": until}


def _row(client: Client, now: Instant) -> dict[str, object]:
    row = shown(client, now) | {"registered": in_words(client.created_at)}
    if "previous_secret_until" in row:
        row["previous_secret_until"] = in_words(client.retiring_until)
    return {name: " ".join(value) if isinstance(value := row.get(name, "-"), list) else value for name in _COLUMNS}
