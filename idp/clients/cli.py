"""`idp client`: relying parties, as RFC 7591 describes them. Removing one is in `logout`: it ends things."""

import json
from dataclasses import asdict
from typing import BinaryIO

import click

from idp.clients import rules
from idp.clients.metadata import MetadataError
from idp.clients.rules import Client
from idp.protocol import strict_json
from idp.runtime.clock import in_words
from idp.runtime.console import Refused, emit, json_option


@click.group(name="client")
def group() -> None:
    """Relying parties."""


@group.command()
@click.option("--file", "file", type=click.File("rb"), required=True, help="RFC 7591 metadata as JSON; - for standard input.")
@json_option
@click.pass_obj
def add(obj, file: BinaryIO, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
    """Register a relying party and print its RFC 7591 response: the only time that its secret is shown."""
    try:
        metadata = strict_json.loads(file.read(strict_json.MAXIMUM_SIZE + 1))
    except ValueError as error:
        message = f"{file.name} is not JSON ({error}): it must hold client metadata as RFC 7591 describes it."
        raise Refused(message) from None
    try:
        obj.clients.inspect(metadata, by_operator=True)  # looked up before the transaction begins
        with obj.database.writing() as tx:
            registration = obj.clients.add(tx, metadata)
    except MetadataError as error:
        message = f"{file.name} cannot be registered ({error.error}): {error}."
        raise Refused(message) from None
    click.echo(json.dumps(registration.response(), indent=2))


@group.command(name="list")
@json_option
@click.pass_obj
def list_(obj, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """List the relying parties, oldest first."""
    with obj.database.reading() as tx:
        clients = obj.clients.listed(tx)
    columns = (
        "client_id",
        "client_name",
        "token_endpoint_auth_method",
        "grant_types",
        "backchannel_logout_uri",
        "registered",
    )
    rows = [_shown(client) if as_json else _row(client, columns) for client in clients]
    emit(rows, as_json=as_json, columns=columns)


@group.command()
@click.argument("client_id")
@json_option
@click.pass_obj
def show(obj, client_id: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Show one relying party's metadata."""
    with obj.database.reading() as tx:
        client = obj.clients.get(tx, client_id)
    if client is None:
        message = f"There is no client {client_id!r}: see `idp client list`."
        raise Refused(message)
    emit(_shown(client), as_json=as_json)


@group.command()
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, help="How many clients may register with it.")
@click.option("--lifetime", type=click.IntRange(1, 31_536_000), default=86_400, help="Seconds for which it is good.")
@click.option("--list", "listing", is_flag=True, help="List those that are good, without showing them.")
@click.option("--revoke", "revoked", metavar="ID", help="Make the one of this name in the list worthless.")
@json_option
@click.pass_obj
def token(obj, uses: int, lifetime: int, listing: bool, revoked: str | None, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Make an initial access token, with which clients may register themselves, and print it: the only time it is shown."""
    if listing:
        with obj.database.reading() as tx:
            listed = [asdict(each) for each in obj.registrations.listed_tokens(tx)]
        emit(listed, as_json=as_json, columns=("token_id", "uses_left", "created_at", "expires_at"))
        return
    with obj.database.writing() as tx:
        if revoked is not None:
            done = obj.registrations.revoke_token(tx, revoked)
        else:
            made, shown = obj.registrations.make_token(tx, uses=uses, lifetime=lifetime)
    if revoked is None:
        emit({**asdict(made), "initial_access_token": shown}, as_json=as_json)
    elif done:
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


def _shown(client: Client) -> dict[str, object]:
    return {"client_id": client.client_id, "client_id_issued_at": int(client.created_at), **rules.registered(client)}


def _row(client: Client, columns: tuple[str, ...]) -> dict[str, object]:
    shown = _shown(client) | {"registered": in_words(client.created_at)}
    return {name: " ".join(value) if isinstance(value := shown.get(name, "-"), list) else value for name in columns}
