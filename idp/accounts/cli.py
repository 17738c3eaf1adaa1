"""`idp user`: people. A password is read from standard input, never from an argument."""

from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from idp.accounts import profile, rules
from idp.accounts.refusals import AccountRefusedError
from idp.accounts.rules import Account
from idp.logout.rules import Reason
from idp.protocol import strict_json
from idp.runtime.console import Record, Refused, emit, json_option, read_secret_from_stdin

if TYPE_CHECKING:
    from idp.accounts.service import AccountService, Endings
    from idp.runtime.database import Database, Transaction
    from idp.sessions.service import SessionService

_MAXIMUM_FILE = 65_536
_COLUMNS = ("username", "subject", "name", "email", "created_at", "disabled_at")


class Needs(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> "Database": ...  # noqa: D102
    @property
    def accounts(self) -> "AccountService": ...  # noqa: D102
    @property
    def sessions(self) -> "SessionService": ...  # noqa: D102
    @property
    def logout(self) -> "Endings": ...  # noqa: D102


@click.group(name="user")
def group() -> None:
    """People who sign in here."""


@group.command()
@click.argument("username", metavar="NAME")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from standard input.")
@click.option("--email", help="Their email address.")
@click.option("--email-verified", is_flag=True, help="You know that the address is theirs.")
@click.option("--name", help="Their name, as apps show it.")
@click.option("--claims-file", type=click.File("rb"), help="What else is known of them: standard claims as a JSON object.")
@json_option
@click.pass_obj
def add(
    needs: Needs,
    username: str,
    email: str | None,
    name: str | None,
    claims_file: BinaryIO | None,
    *,
    password_stdin: bool,  # noqa: ARG001 - the caller says aloud where the password comes from
    email_verified: bool,
    as_json: bool,
) -> None:
    """Add a person."""
    claims = {} if claims_file is None else _claims_in(claims_file)
    password = read_secret_from_stdin("Password")
    try:
        new = needs.accounts.prepare(username, password, name=name, email=email, email_verified=email_verified, claims=claims)
        with needs.database.writing() as tx:
            account = needs.accounts.add(tx, new)
    except AccountRefusedError as error:
        raise Refused(str(error)) from None
    emit(_record(account), as_json=as_json)


@group.command(name="list")
@json_option
@click.pass_obj
def list_(needs: Needs, *, as_json: bool) -> None:
    """List everybody, by name."""
    with needs.database.reading() as tx:
        accounts = needs.accounts.listed(tx)
    emit([_record(account) for account in accounts], as_json=as_json, columns=_COLUMNS)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def show(needs: Needs, username: str, *, as_json: bool) -> None:
    """Show one person, and their live sessions."""
    with needs.database.reading() as tx:
        account = _named(needs, tx, username)
        sessions = needs.sessions.listed(tx, subject=account.subject)
    emit({**_record(account), "sessions": [session.sid for session in sessions]}, as_json=as_json)


@group.command(name="set")
@click.argument("username", metavar="NAME")
@click.option(
    "--claims-file",
    type=click.File("rb"),
    required=True,
    help="Standard claims as a JSON object (null takes one away); - for standard input.",
)
@json_option
@click.pass_obj
def set_(needs: Needs, username: str, claims_file: BinaryIO, *, as_json: bool) -> None:
    """Change what apps may be told of a person. Claims that are not named stay as they are."""
    try:
        claims = profile.read(_claims_in(claims_file))
    except AccountRefusedError as error:
        raise Refused(str(error)) from None
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        needs.accounts.set_claims(tx, account.subject, claims)
        account = _named(needs, tx, username)
    emit(_record(account), as_json=as_json)


@group.command(name="set-password")
@click.argument("username", metavar="NAME")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from standard input.")
@json_option
@click.pass_obj
def set_password(needs: Needs, username: str, *, password_stdin: bool, as_json: bool) -> None:  # noqa: ARG001
    """Give a person another password, and end their sessions: whoever had the old one is signed out by that."""
    with needs.database.reading() as tx:
        account = _named(needs, tx, username)
    password = read_secret_from_stdin("Password")
    try:
        password_hash = needs.accounts.hash_password(account.username, password)
    except AccountRefusedError as error:
        raise Refused(str(error)) from None
    with needs.database.writing() as tx:
        ended = needs.accounts.set_password(tx, account.subject, password_hash)
    done = {"username": account.username, "subject": account.subject, "password_set": True, "sessions_ended": ended}
    emit(done, as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def disable(needs: Needs, username: str, *, as_json: bool) -> None:
    """Bar a person from signing in, and end everything that they have open, offline access too."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.accounts.disable(tx, account.subject)
    if ended is None:
        message = f"{account.username} is disabled already."
        raise Refused(message)
    done = {"username": account.username, "subject": account.subject, "disabled": True, "sessions_ended": ended}
    emit(done, as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def enable(needs: Needs, username: str, *, as_json: bool) -> None:
    """Let a disabled person sign in again."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        done = needs.accounts.enable(tx, account.subject)
    if not done:
        message = f"{account.username} is not disabled."
        raise Refused(message)
    emit({"username": account.username, "subject": account.subject, "disabled": False}, as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def remove(needs: Needs, username: str, *, as_json: bool) -> None:
    """Remove a person for good, and end everything that they have open, offline access too."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.accounts.remove(tx, account.subject)
    emit({"username": account.username, "subject": account.subject, "removed": True, "sessions_ended": ended}, as_json=as_json)


@group.command(name="sign-out")
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def sign_out(needs: Needs, username: str, *, as_json: bool) -> None:
    """End every session of a person. What they allowed offline stays allowed."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.logout.end_account_sessions(tx, account.subject, Reason.OPERATOR)
    emit({"username": account.username, "subject": account.subject, "sessions_ended": ended}, as_json=as_json)


def _claims_in(file: BinaryIO) -> object:
    try:
        return strict_json.loads(file.read(_MAXIMUM_FILE + 1), maximum=_MAXIMUM_FILE)
    except ValueError as error:
        message = f"The claims file is not JSON ({error}): it must hold one object of at most {_MAXIMUM_FILE} bytes."
        raise Refused(message) from None


def _named(needs: Needs, tx: "Transaction", username: str) -> Account:
    account = needs.accounts.find(tx, username)
    if account is None:
        message = f"There is no user {username!r}: see `idp user list`."
        raise Refused(message)
    return account


def _record(account: Account) -> Record:
    """What may be shown: everything but the hash, and what names are compared by."""
    return {
        "username": account.username,
        "subject": account.subject,
        "name": account.name,
        "email": account.email,
        "email_verified": account.email_verified,
        **{name: value for name in rules.PROFILE if (value := getattr(account, name)) is not None},
        "created_at": account.created_at,
        "updated_at": account.updated_at,
        "disabled_at": account.disabled_at,
    }
