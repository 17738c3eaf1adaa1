"""Accounts that are there without anybody having chosen a password: for tests of what is issued to their people."""

from idp.accounts import store
from idp.accounts.rules import Account
from idp.runtime.database import Transaction


def there_is(tx: Transaction, subject: str) -> None:
    """An account of that `subject`, unless there is one."""
    if store.by_subject(tx, subject) is None:
        name = f"account of {subject}"
        assert store.add(tx, Account(subject, name, name, None, None, False, "", tx.now, tx.now, None), ())
