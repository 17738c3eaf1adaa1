"""Judging the tokens that come back. `issuing.py` makes them, for the door in `idp.issuing` alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import UnauthorizedClientError

from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.keys.service import InvalidTokenError, KeyService
from idp.protocol import scopes
from idp.protocol.signatures import switched_off
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Glance, Transaction
from idp.runtime.secrets import Secrets
from idp.sessions.rules import Session
from idp.sessions.service import SessionService
from idp.tokens import refresh, rules, store
from idp.tokens.rules import LEEWAY, Family, Statuses, TokenPolicy
from idp.tokens.subjects import Subjects

#: Whether what a person allowed a client is being ended, for the door to issue (`idp.issuing.store`).
IS_CLOSING = store.IS_CLOSING


@dataclass(frozen=True, slots=True)
class Live:
    """A token that counts right now."""

    claims: Mapping[str, object]
    family: Family | None
    session: Session | None = None


class TokenService:
    """The provider's tokens, as they are judged. It makes none (`idp.issuing`), and ends none (`idp.logout`)."""

    def __init__(
        self, policy: TokenPolicy, keys: KeyService, clients: ClientService, sessions: SessionService, keyring: Secrets
    ) -> None:
        self.policy = policy
        self.keys = keys
        self.clients = clients
        self.sessions = sessions
        self.secrets = keyring
        self.subjects = Subjects(keyring)

    @property
    def id_token_algs(self) -> tuple[str, ...]:
        """The algorithms by which an ID token may be signed."""
        return self.keys.algorithms

    def userinfo_jwt(self, client: Client, claims: Mapping[str, object], now: Instant) -> str | None:
        """The answer of `/userinfo` as a JWT for this client alone; None for a client that did not register it so.

        It has no `exp`, no `nonce` and no `at_hash`, so that it passes for no ID token (OIDC Core §5.3.2, RFC 8725 §3.11).
        Raises UnauthorizedClientError when the algorithm is switched off.
        """
        alg = client.userinfo_signed_response_alg
        if alg is None:
            return None
        if alg not in self.keys.algorithms:
            raise UnauthorizedClientError(switched_off(alg, "userinfo_signed_response_alg"))
        return self.keys.sign(rules.ID_TOKEN_TYP, {**claims, "iss": self.policy.issuer, "aud": client.client_id}, now, alg)

    # -- judging --------------------------------------------------------------------------------------------------

    def live_access_token(self, tx: Transaction, text: str) -> Live | None:
        """The access token, if it counts right now: ours, in time, and neither it nor what stands behind it has ended."""
        claims = self._access_token_claims(tx, text)
        if claims is None:
            return None
        token_id, expires = str(claims["jti"]), claims.get("exp")
        if not isinstance(expires, int) or expires <= tx.now or store.is_ended(tx, token_id):
            return None
        family_id = rules.family_of(token_id)
        if family_id is None:
            return Live(claims, None) if self._may_still(claims) else None
        family = store.open_by_id(tx, family_id)
        if family is None or not self._goes_on(family):
            return None
        session = None if family.session_behind is None else self.sessions.alive(tx, family.session_behind)
        return Live(claims, family, session) if session is not None or family.session_behind is None else None

    def note_arrival(self, tx: Transaction, live: Live) -> None:
        """Note that an access token was used: whoever has it got the answer of a refresh, whose parent is spent for good now.

        At most one statement for each answer, in a transaction of its own, so that no lock is held for it here.
        """
        family = live.family
        if family is not None and rules.shows_arrival(family, str(live.claims["jti"])):
            tx.write_afterwards(lambda own: store.seen(own, family.family_id, family.generation))

    def note_use_of_session(self, tx: Transaction, live: Live) -> None:
        """Note that an app uses the session behind an access token. What was allowed offline has none behind it."""
        if live.session is not None:
            self.sessions.note_use_by_app(tx, live.session)

    def _may_still(self, claims: Mapping[str, object]) -> bool:
        """Whether the client may still act for itself as this token of its own says: metadata may have been changed."""
        client = self.clients.find(str(claims["client_id"]))
        asked = set(scopes.parse(str(claims.get("scope", ""))))
        return client is not None and client.check_grant_type("client_credentials") and asked <= set(scopes.parse(client.scope))

    def live_refresh_token(self, tx: Transaction, text: str) -> Live | None:
        """The refresh token, if it is the live one of a family that has not ended."""
        token = refresh.read(text, self.secrets)
        family = None if token is None else store.open_by_id(tx, token.family_id)
        if token is None or family is None or family.expires_at <= tx.now or not self._counts(tx, family):
            return None
        if token.generation != family.generation or token.stored != family.secret_hash:
            return None
        claims: dict[str, object] = {
            "iss": self.policy.issuer,
            "sub": family.sub,
            "client_id": family.client_id,
            "scope": family.scope,
            "exp": int(family.expires_at),
            "iat": int(family.rotated_at),
        }
        return Live(claims if family.sid is None else claims | {"sid": family.told_sid}, family)

    def family_of_refresh_token(self, tx: Transaction, text: str) -> Family | None:
        """The family of any refresh token that was once ours, spent or not: who revokes an old one means the line."""
        token = refresh.read(text, self.secrets)
        return None if token is None else store.by_id(tx, token.family_id)

    def _counts(self, tx: Transaction, family: Family) -> bool:
        """The one question behind every token: whether this session, family and client may still go on."""
        if not self._goes_on(family):
            return False
        return family.session_behind is None or self.sessions.alive(tx, family.session_behind) is not None

    def _goes_on(self, family: Family) -> bool:
        return family.ended_at is None and self.clients.find(family.client_id) is not None

    def _access_token_claims(self, tx: Transaction, text: str) -> dict[str, object] | None:
        """The claims of an access token of ours. An ID or logout token is none, whatever its `typ` says (RFC 8725 §3.12)."""
        for typ in (rules.ACCESS_TOKEN_TYP, rules.ID_TOKEN_TYP):
            try:
                claims = self.keys.verify(text, typ, tx.now)
            except InvalidTokenError:
                continue
            client = self.clients.find(str(claims.get("client_id", "")))
            if (
                client is not None
                and client.access_token_header_typ == typ
                and isinstance(claims.get("jti"), str)
                and claims.get("iss") == self.policy.issuer
                and rules.is_for(claims, self.policy.issuer)
            ):
                return claims
        return None

    def id_token_hint(self, tx: Transaction, text: str) -> dict[str, object] | None:
        """The claims of an ID token of ours, expired or not, given back as a hint (OIDC Core §3.1.2.1); else None."""
        try:
            claims = self.keys.verify(text, rules.ID_TOKEN_TYP, tx.now, as_hint=True)
        except InvalidTokenError:
            return None
        # What came with no token beside it, from the authorization endpoint, has a nonce in any case.
        is_id_token = "client_id" not in claims and ("at_hash" in claims or "nonce" in claims)
        if claims.get("iss") != self.policy.issuer or not is_id_token:
            return None
        return claims

    def subject_of(self, tx: Transaction, client: Client, sub: str) -> str | None:
        """The person whom the client knows as `sub`; None when there is none. Another sector's name is nobody's here."""
        return self.subjects.subject_in(tx, client.pairwise_sector, sub)

    # -- for those who verify by themselves -----------------------------------------------------------------------

    def statuses(self, tx: Transaction) -> Statuses:
        """What `live_access_token` would say no to, for all families of which an access token can be alive."""
        since = tx.now - self.policy.access_token_lifetime - LEEWAY
        # What nobody marked yet comes first, what is marked last: PostgreSQL shows each statement what was committed
        # before it, so a session that the reaper ends between the two is seen by one of them at the least.
        overdue, removed = self.sessions.overdue(tx, since), self.clients.removed(tx, since)
        unmarked = {*store.open_of_sessions(tx, overdue), *store.open_of_clients(tx, removed), *store.open_of_closed(tx)}
        doubtful = frozenset(store.of_ended_tokens(tx, tx.now - LEEWAY))
        ended = unmarked.union(store.ended_since(tx, since))
        return Statuses(self.status_indices(tx), frozenset(ended), doubtful - ended)

    def is_closing(self, tx: Transaction) -> bool:
        """Whether an end of very many families of some person is carried out just now."""
        return store.any_closing(tx)

    def any_closing(self, database: Database) -> Glance:
        """Answers the same for next to nothing."""
        return database.glance(store.ANY_CLOSING)

    def status_indices(self, tx: Transaction) -> int:
        """How many status indices have been given to families."""
        return store.allocated(tx)

    def tidy(self, tx: Transaction) -> int:
        """Delete what is known of single tokens that have expired anyway; returns their number."""
        return store.forget_expired(tx)

    def forget(self, tx: Transaction, before: Instant, most: int) -> int:
        """Delete families that were over before `before`, at most `most` of each kind; returns the number."""
        return store.forget_families(tx, before, most)
