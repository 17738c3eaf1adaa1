"""Authorization codes: made by `authorization`, spent once at `/token`."""

from collections.abc import Callable
from dataclasses import dataclass

from idp.grants import rules, store
from idp.grants.rules import Code
from idp.runtime import secrets
from idp.runtime.database import Transaction
from idp.tokens.rules import Authorization

#: A code that comes again is recognised as a replay for this long after it expired; later it is simply unknown.
REMEMBERED_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Binding:
    """What a code is bound to besides its client (RFC 6749 §4.1.3, RFC 7636 §4.4, OIDC Core §3.1.2.1).

    `front_family_id` is what came with the code already, in the hybrid flow: a replay of the code ends it, too.
    """

    redirect_uri: str | None
    code_challenge: str | None
    nonce: str | None
    front_family_id: str | None = None


class CodeService:
    """Issues codes. They are random, kept as hashes, and live for a minute."""

    def __init__(self, lifetime: int) -> None:
        self._lifetime = lifetime

    def issue(self, tx: Transaction, sid: str, given: Authorization, binding: Binding) -> str:
        """A new code for what the person allowed in the session `sid`."""
        code = secrets.token(rules.CODE_BYTES)
        store.add(
            tx,
            Code(
                code_hash=secrets.digest(code),
                client_id=given.client_id,
                redirect_uri=binding.redirect_uri,
                code_challenge=binding.code_challenge,
                nonce=binding.nonce,
                sid=sid,
                subject=given.subject,
                scope=given.scope,
                offline=given.offline,
                auth_time=given.auth_time,
                acr=given.acr,
                amr=given.amr,
                expires_at=tx.now + self._lifetime,
                used_at=None,
                family_id=None,
                front_family_id=binding.front_family_id,
                claims=given.claims,
            ),
        )
        return code

    def spend(self, tx: Transaction, code: str, client_id: str, family_id: str) -> Code | None:
        """Spend a code for a family: of many at once one wins. None when it is unknown, another's, expired or spent."""
        return store.consume(tx, secrets.digest(code), client_id, family_id)

    def given_by(self, tx: Transaction, code: str, client_id: str) -> list[str]:
        """The families that a spent code of this client gave or came with: what must end when the code comes again."""
        known = store.of_client(tx, secrets.digest(code), client_id)
        if known is None or known.used_at is None:
            return []
        return [family_id for family_id in (known.family_id, known.front_family_id) if family_id is not None]

    def end_access(self, tx: Transaction, subject: str, client_id: str) -> int:
        """Make the codes worthless that are in flight between a person and a client; for `logout`. Returns their number."""
        return store.end(tx, subject, client_id)

    def end_of_client(self, tx: Transaction, client_id: str, dead: Callable[[str | None, str], bool]) -> int:
        """Make those codes of a client worthless that are in flight and of whose redirect URI and scope `dead` says so."""
        found = sorted(code.code_hash for code in store.in_flight(tx, client_id) if dead(code.redirect_uri, code.scope))
        return sum(store.end_one(tx, code_hash) for code_hash in found)

    def tidy(self, tx: Transaction) -> int:
        """Delete codes that expired long ago; returns their number."""
        return store.forget(tx, tx.now - REMEMBERED_SECONDS)
