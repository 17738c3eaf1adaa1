"""Statements on people, prepared once."""

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from idp.accounts.models import AccountRow, LikenessRow
from idp.accounts.rules import Account
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.paging import Page

_accounts = table_of(AccountRow)
_likenesses = table_of(LikenessRow)
_all = columns_for(AccountRow, Account)

_BY_SUBJECT = select_of(AccountRow, Account).where(_accounts.c.subject == bindparam("subject"))
_BY_NAME = select_of(AccountRow, Account).where(_accounts.c.username_folded == bindparam("folded"))
_HOLD = _BY_SUBJECT.where(_accounts.c.disabled_at.is_(None)).with_for_update(read=True)
#: A part of somebody else's statement: whether there is such an account, and it is not disabled.
IS_OPEN = exists().where(_accounts.c.subject == bindparam("subject"), _accounts.c.disabled_at.is_(None))
_LISTED = (
    select_of(AccountRow, Account).order_by(_accounts.c.username_folded).limit(bindparam("most")).offset(bindparam("skipped"))
)
_IS_TAKEN = select(func.count()).where(_accounts.c.username_folded == bindparam("folded"))
_INSERT = {
    "sqlite": sqlite_insert(_accounts).on_conflict_do_nothing().returning(_accounts.c.subject),
    "postgresql": postgresql_insert(_accounts).on_conflict_do_nothing().returning(_accounts.c.subject),
}
_INSERT_LIKENESS = {
    "sqlite": sqlite_insert(_likenesses).on_conflict_do_nothing().returning(_likenesses.c.skeleton),
    "postgresql": postgresql_insert(_likenesses).on_conflict_do_nothing().returning(_likenesses.c.skeleton),
}
_FORGET_LIKENESSES = delete(_likenesses).where(_likenesses.c.subject == bindparam("of"))
_REMOVE = delete(_accounts).where(_accounts.c.subject == bindparam("of"))
_NO_DEVICES = {"device_generation": _accounts.c.device_generation + 1}
_hash = update(_accounts).where(_accounts.c.subject == bindparam("of")).values(password_hash=bindparam("new_hash"))
_SET_PASSWORD = _hash.values(_NO_DEVICES).returning(*_all)
_CHANGE_PASSWORD = _SET_PASSWORD.where(_accounts.c.password_hash == bindparam("old_hash"), _accounts.c.disabled_at.is_(None))
_REHASH = _hash.where(_accounts.c.password_hash == bindparam("old_hash")).returning(_accounts.c.subject)
_DISABLE = (
    update(_accounts)
    .where(_accounts.c.subject == bindparam("of"), _accounts.c.disabled_at.is_(None))
    .values(disabled_at=bindparam("now"), **_NO_DEVICES)
    .returning(_accounts.c.subject)
)
_ENABLE = (
    update(_accounts)
    .where(_accounts.c.subject == bindparam("of"), _accounts.c.disabled_at.is_not(None))
    .values(disabled_at=None)
    .returning(_accounts.c.subject)
)
_HAS_SUBJECT = _accounts.c.subject == bindparam("of")


def add(tx: Transaction, account: Account, skeletons: Iterable[str]) -> bool:
    """Insert an account; False, and nothing inserted, when its name is taken, or prints like one that is."""
    dialect = tx.connection.dialect.name
    values = {column.name: getattr(account, column.name) for column in _all}
    if not tx.changed(_INSERT[dialect], values):
        return False
    for skeleton in sorted(skeletons):  # in one order, so that two who want the same wait for each other only one way
        if not tx.changed(_INSERT_LIKENESS[dialect], {"skeleton": skeleton, "subject": account.subject}):
            tx.execute(_REMOVE, {"of": account.subject})
            return False
    return True


def rename(tx: Transaction, account: Account, skeletons: Iterable[str]) -> bool:
    """Give the account the names in `account`; False when they are taken, or print like others: then roll back."""
    names = {"username": account.username, "username_folded": account.username_folded}
    try:
        with tx.connection.begin_nested():
            tx.execute(update(_accounts).where(_HAS_SUBJECT).values(**names, updated_at=tx.now), {"of": account.subject})
    except IntegrityError:
        return False
    tx.execute(_FORGET_LIKENESSES, {"of": account.subject})
    dialect = tx.connection.dialect.name
    return all(
        tx.changed(_INSERT_LIKENESS[dialect], {"skeleton": skeleton, "subject": account.subject})
        for skeleton in sorted(skeletons)
    )


def is_taken(tx: Transaction, folded: str) -> bool:
    """Whether the very name is taken, not only one that prints like it."""
    return bool(tx.execute(_IS_TAKEN, {"folded": folded}).scalar_one())


def by_subject(tx: Transaction, subject: str) -> Account | None:
    """The account, disabled or not."""
    return tx.one(Account, _BY_SUBJECT, {"subject": subject})


def by_name(tx: Transaction, folded: str) -> Account | None:
    """The account of a folded username, disabled or not."""
    return tx.one(Account, _BY_NAME, {"folded": folded})


def hold(tx: Transaction, subject: str) -> Account | None:
    """The account unless disabled, its row locked until the commit (SQLite's one writer needs no lock)."""
    return tx.one(Account, _HOLD, {"subject": subject})


def listed(tx: Transaction, page: Page) -> list[Account]:
    """One page of the accounts, by name."""
    return tx.all(Account, _LISTED, {"most": page.size, "skipped": page.skipped})


def set_password(tx: Transaction, subject: str, new_hash: str) -> Account | None:
    """Give the account another password, and forget its devices; None when there is no such account."""
    return tx.one(Account, _SET_PASSWORD, {"of": subject, "new_hash": new_hash})


def change_password(tx: Transaction, subject: str, old_hash: str, new_hash: str) -> Account | None:
    """The same for whoever proved the old password; None when it was changed meanwhile, or the account disabled."""
    return tx.one(Account, _CHANGE_PASSWORD, {"of": subject, "old_hash": old_hash, "new_hash": new_hash})


def rehash(tx: Transaction, subject: str, old_hash: str, new_hash: str) -> bool:
    """Keep the same password under other parameters; False when the password was changed meanwhile."""
    return tx.changed(_REHASH, {"of": subject, "old_hash": old_hash, "new_hash": new_hash})


def set_claims(tx: Transaction, subject: str, claims: Mapping[str, object]) -> bool:
    """Write down what is told of the person, and since when; False when nobody is there."""
    changed = update(_accounts).where(_HAS_SUBJECT).values(**claims, updated_at=tx.now).returning(_accounts.c.subject)
    return tx.changed(changed, {"of": subject})


def remove(tx: Transaction, subject: str) -> bool:
    """Delete the account, and with it what its name prints like; False when there was none."""
    return tx.execute(_REMOVE, {"of": subject}).rowcount == 1


def disable(tx: Transaction, subject: str) -> bool:
    """Mark the account disabled, and forget its devices; False when it was already, or never was."""
    return tx.changed(_DISABLE, {"of": subject, "now": tx.now})


def enable(tx: Transaction, subject: str) -> bool:
    """Let the account sign in again; False when it could."""
    return tx.changed(_ENABLE, {"of": subject})
