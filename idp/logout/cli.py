"""Commands that end something, hung under the noun they end: `idp session end`, `idp client remove`, `idp key revoke`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import click

from idp.clients.cli import METADATA, not_registered
from idp.clients.metadata_fields import MetadataError
from idp.clients.rules import registered
from idp.clients.update import check_update
from idp.logout.rules import Reason
from idp.runtime.console import Meter, Refused, emit, json_option, only_reading, read_json, reads, warn

if TYPE_CHECKING:
    from idp.clients.rules import Client
    from idp.clients.service import Registration
    from idp.logout.service import Consequences
    from idp.runtime.database import Transaction

_MAXIMUM_REASON = 200


@click.command(name="end")
@click.argument("sid")
@json_option
@click.pass_obj
def end_session(obj, sid: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - see idp.cli.Deployment
    """End one session: its cookie, its tokens, and its place at every relying party."""
    with obj.database.writing() as tx:
        session = obj.logout.end_session(tx, sid, Reason.OPERATOR)
        told = obj.sessions.clients_of(tx, sid)
    if session is None:
        message = f"There is no live session {sid!r}: see `idp session list`."
        raise Refused(message)
    emit({"sid": sid, "ended": True, "clients": told if as_json else " ".join(told) or "-"}, as_json=as_json)


@click.command(name="check")
@click.argument("client_id")
@json_option
@click.pass_obj
@reads
def check_client(obj, client_id: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Send real logout tokens, good and broken, to a relying party, and say what is wrong with its answers."""
    with obj.database.reading() as tx:
        client = obj.clients.get(tx, client_id)
    if client is None:
        message = f"There is no client {client_id!r}: see `idp client list`."
        raise Refused(message)
    if client.backchannel_logout_uri is None:
        message = f"The client {client_id!r} registered no backchannel_logout_uri: it cannot be told of any sign-out."
        raise Refused(message)
    obj.keys.load()
    checks = list(obj.checker.check(client, client.backchannel_logout_uri, obj.database.clock()))
    emit([check.shown() for check in checks], as_json=as_json, columns=("sent", "answer", "ms", "verdict", "words", "said"))
    if any(check.verdict == "wrong" for check in checks):
        raise SystemExit(1)


@click.command(name="revoke")
@click.argument("kid")
@click.option("--reason", required=True, help="Why, in a few words: it is kept and logged.")
@json_option
@click.pass_obj
def revoke_key(obj, kid: str, reason: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Emergency: kill a signing key and all that it signed. Its successor signs at once; sessions go on."""
    if not 0 < len(reason) <= _MAXIMUM_REASON:
        message = f"The reason must have 1 to {_MAXIMUM_REASON} characters."
        raise Refused(message)
    try:
        spare = obj.keys.spare_for(kid)
    except LookupError as error:
        message = f"{error}: see `idp key list`."
        raise Refused(message) from None
    with obj.database.writing() as tx:
        revoked = obj.logout.end_key(tx, kid, reason, spare)
    if spare is not None and (revoked is None or revoked.successor != spare.kid):
        obj.keys.discard(spare)
    if revoked is None:
        message = f"The key {kid!r} is revoked already: see `idp key list`."
        raise Refused(message)
    emit({"kid": kid, "revoked": True, "alg": revoked.alg, "signs_now": revoked.successor}, as_json=as_json)


@click.command(name="set")
@click.argument("client_id")
@click.option("--file", "file", type=click.File("rb"), required=True, help="RFC 7591 metadata as JSON; - for standard input.")
@click.option("--dry-run", is_flag=True, help="Say what it would change and end, and change nothing.")
@json_option
@click.pass_obj
def set_client(obj, client_id: str, file: BinaryIO, *, dry_run: bool, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Put other metadata in the place of all of a relying party's. What it was given lives on, as far as it still may."""
    metadata = read_json(file, METADATA)
    if dry_run:
        only_reading()
    try:
        obj.clients.inspect(metadata, by_operator=True)  # looked up before the transaction begins
        with obj.database.trying() if dry_run else obj.database.writing() as tx:
            before, registration, ended = _set(obj, tx, client_id, metadata)
    except MetadataError as error:
        raise not_registered(obj, file, metadata, error) from None
    warn(obj.clients.warnings(metadata))
    answer, kept = registration.response(), registration.secret is None
    if dry_run:
        answer.pop("client_secret", None)  # it would be another one
    changed = _changed(registered(before), registered(registration.client))
    said = {"client_id": client_id, "dry_run": dry_run, "changed": changed, "secret_kept": kept, **ended.shown()}
    shown = {"client": answer} if as_json else {name: answer[name] for name in ("client_secret",) if name in answer}
    emit(said | shown, as_json=as_json)


def _set(obj, tx: "Transaction", client_id: str, metadata: dict[str, object]) -> "tuple[Client, Registration, Consequences]":  # type: ignore[no-untyped-def]  # noqa: ANN001
    before = obj.clients.get(tx, client_id)
    if before is None:
        message = f"There is no client {client_id!r}: see `idp client list`."
        raise Refused(message)
    check_update(before, metadata, by_operator=True)
    done = obj.clients.set_metadata(tx, client_id, metadata)
    if done is None:
        message = f"{client_id} was changed by somebody else just now: look at it with `idp client show`, and try again."
        raise Refused(message)
    before, registration = done
    return before, registration, obj.logout.end_withdrawn(tx, before, registration.client)


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The members that are not what they were."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


@click.command(name="remove")
@click.argument("client_id")
@json_option
@click.pass_obj
def remove_client(obj, client_id: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Remove a relying party: it can authenticate no more, and all that it was given is dead."""
    with obj.database.writing() as tx:
        removed = obj.logout.end_client(tx, client_id)
    obj.reaper.finish(Meter(client_id, as_json=as_json))
    if not removed:
        message = f"There is no client {client_id!r}: see `idp client list`."
        raise Refused(message)
    emit({"client_id": client_id, "removed": True}, as_json=as_json)
