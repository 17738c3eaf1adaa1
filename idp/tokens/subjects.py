"""What people are called in each sector (OIDC Core §8.1): apps of two sectors cannot tell that they know the same person.

A name is made once, by a keyed hash, and then written down: it is the same for good, whatever becomes of the secret.
"""

from idp.runtime.database import Transaction
from idp.runtime.secrets import Secrets
from idp.tokens import rules, store

_PURPOSE = "pairwise subject"


class Subjects:
    """The names of people. A `sector` of None stands for clients that know a person's own `subject`, without any query."""

    def __init__(self, keys: Secrets) -> None:
        self._keys = keys

    def sub_in(self, tx: Transaction, sector: str | None, subject: str) -> str:
        """The person's name in a sector, made when there is none yet."""
        if sector is None:
            return subject
        return store.sub_in(tx, sector, subject) or self._made(tx, sector, subject)

    def subject_in(self, tx: Transaction, sector: str | None, sub: str) -> str | None:
        """The person who has that name in that very sector."""
        return sub if sector is None else store.subject_in(tx, sector, sub)

    def names(self, tx: Transaction, subject: str) -> list[tuple[str, str]]:
        """Every name that the person has, as (sector, sub)."""
        return store.names(tx, subject)

    def _made(self, tx: Transaction, sector: str, subject: str) -> str:
        store.name(tx, subject, sector, rules.pairwise_sub(self._keys.key(_PURPOSE), sector, subject))
        made = store.sub_in(tx, sector, subject)  # another process may have been first
        if made is None:
            message = f"the name of {subject} in {sector} was not written down"
            raise LookupError(message)
        return made
