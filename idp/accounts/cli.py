"""`idp user`: people. A password is read from standard input, never from an argument."""

from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from idp.accounts import profile, rules
from idp.accounts.errors import AccountRefusedError
from idp.accounts.rules import Account
from idp.logout.rules import Reason
from idp.runtime.console import (
    HELP,
    Meter,
    Record,
    Refused,
    emit,
    json_option,
    page_options,
    read_json,
    read_secret_from_stdin,
    reads,
)
from idp.runtime.paging import Page

if TYPE_CHECKING:
    from idp.accounts.service import AccountEndings, AccountService
    from idp.logout.reaper import Reaper
    from idp.runtime.database import Database, Transaction
    from idp.sessions.service import SessionService

_CLAIMS = "standard claims as a JSON object"
_MOST_SESSIONS = 100
_COLUMNS = ("username", "subject", "name", "email", "created_at", "disabled_at")


class AccountNeeds(Protocol):
    """What these commands use of the application."""

    @property
    def database(self) -> "Database": ...  # noqa: D102
    @property
    def accounts(self) -> "AccountService": ...  # noqa: D102
    @property
    def sessions(self) -> "SessionService": ...  # noqa: D102
    @property
    def logout(self) -> "AccountEndings": ...  # noqa: D102
    @property
    def reaper(self) -> "Reaper": ...  # noqa: D102


@click.group(name="user", context_settings=HELP)
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
    needs: AccountNeeds,
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
    claims = {} if claims_file is None else read_json(claims_file, _CLAIMS)
    password = read_secret_from_stdin("Password")
    try:
        new = needs.accounts.prepare(username, password, name=name, email=email, email_verified=email_verified, claims=claims)
        with needs.database.writing() as tx:
            account = needs.accounts.add(tx, new)
    except AccountRefusedError as error:
        raise Refused(str(error)) from None
    emit(_record(account), as_json=as_json)


@group.command(name="list")
@page_options(1000)
@json_option
@click.pass_obj
@reads
def list_(needs: AccountNeeds, page: Page, *, as_json: bool) -> None:
    """List everybody, by name."""
    with needs.database.reading() as tx:
        accounts = needs.accounts.listed(tx, page)
    emit([_record(account) for account in accounts], as_json=as_json, columns=_COLUMNS, page=page)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
@reads
def show(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
    """Show one person: whether they are locked out, what they sign in with, and the live sessions that they used last."""
    with needs.database.reading() as tx:
        account = _named(needs, tx, username)
        sessions = needs.sessions.listed(tx, Page(_MOST_SESSIONS), subject=account.subject)
        count = needs.sessions.count(tx, account.subject)
        until = needs.accounts.locked_until(tx, account)
    state = {"locked": until is not None, "locked_until_at": until, "factors": list(needs.accounts.factors(account))}
    shown = {"sessions": [session.sid for session in sessions], "session_count": count}
    emit({**_record(account), **state, **shown}, as_json=as_json)


@group.command(name="set")
@click.argument("username", metavar="NAME")
@click.option("--username", "new_username", metavar="NEW", help="Another name to sign in by.")
@click.option("--name", help="Their name, as apps show it; empty takes it away.")
@click.option("--email", help="Their email address; empty takes it away. One that is new is not verified.")
@click.option("--email-verified", is_flag=True, help="You know that the address is theirs.")
@click.option(
    "--claims-file",
    type=click.File("rb"),
    help="Standard claims as a JSON object (null takes one away); - for standard input.",
)
@json_option
@click.pass_obj
def set_(
    needs: AccountNeeds,
    username: str,
    new_username: str | None,
    name: str | None,
    email: str | None,
    claims_file: BinaryIO | None,
    *,
    email_verified: bool,
    as_json: bool,
) -> None:
    """Change what is known of a person. What is not named stays as it is, and so does everything that is open."""
    if claims_file is None and new_username is name is email is None and not email_verified:
        message = "Say what to change: --username, --name, --email, --email-verified or --claims-file."
        raise click.UsageError(message)
    sent = {} if claims_file is None else read_json(claims_file, _CLAIMS)
    sent |= {claim: value for claim, value in (("name", name), ("email", email)) if value is not None}
    sent |= {"email_verified": True} if email_verified else {}
    try:
        with needs.database.writing() as tx:
            account = _named(needs, tx, username)
            claims = profile.change(account, sent)
            if claims.get("email_verified") and claims.get("email", account.email) is None:
                message = f"{account.username} has no email address that could be verified: give one with --email."
                raise Refused(message)
            if claims:
                needs.accounts.set_claims(tx, account.subject, claims)
            if new_username is not None:
                account = needs.accounts.rename(tx, account, new_username)
            account = _named(needs, tx, account.username)
    except AccountRefusedError as error:
        raise Refused(str(error)) from None
    emit(_record(account), as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def unlock(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
    """Forget a person's failed sign-ins, so that they can try again now."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        until = needs.accounts.locked_until(tx, account)
        sids = [session.sid for session in needs.sessions.listed(tx, subject=account.subject)]
        done = needs.accounts.unlock(tx, account, sids)
    if not done:
        message = f"{account.username} is not locked: no sign-in of theirs failed lately."
        raise Refused(message)
    emit(
        {"username": account.username, "subject": account.subject, "unlocked": True, "was_locked": until is not None},
        as_json=as_json,
    )


@group.command(name="set-password")
@click.argument("username", metavar="NAME")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from standard input.")
@json_option
@click.pass_obj
def set_password(needs: AccountNeeds, username: str, *, password_stdin: bool, as_json: bool) -> None:  # noqa: ARG001
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
    needs.reaper.finish(Meter(account.username, as_json=as_json))
    done = {"username": account.username, "subject": account.subject, "password_set": True, "sessions_ended": ended}
    emit(done, as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def disable(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
    """Bar a person from signing in, and end everything that they have open, offline access too."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.accounts.disable(tx, account.subject)
    needs.reaper.finish(Meter(account.username, as_json=as_json))
    if ended is None:
        message = f"{account.username} is disabled already."
        raise Refused(message)
    done = {"username": account.username, "subject": account.subject, "disabled": True, "sessions_ended": ended}
    emit(done, as_json=as_json)


@group.command()
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def enable(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
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
def remove(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
    """Remove a person for good, and end everything that they have open, offline access too."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.accounts.remove(tx, account.subject)
    needs.reaper.finish(Meter(account.username, as_json=as_json))
    emit({"username": account.username, "subject": account.subject, "removed": True, "sessions_ended": ended}, as_json=as_json)


@group.command(name="sign-out")
@click.argument("username", metavar="NAME")
@json_option
@click.pass_obj
def sign_out(needs: AccountNeeds, username: str, *, as_json: bool) -> None:
    """End every session of a person. What they allowed offline stays allowed."""
    with needs.database.writing() as tx:
        account = _named(needs, tx, username)
        ended = needs.logout.end_account_sessions(tx, account.subject, Reason.OPERATOR)
    needs.reaper.finish(Meter(account.username, as_json=as_json))
    emit({"username": account.username, "subject": account.subject, "sessions_ended": ended}, as_json=as_json)


def _named(needs: AccountNeeds, tx: "Transaction", username: str) -> Account:
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
