"""Issuing tokens, and judging those that come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from authlib.oauth2.rfc6749.errors import InvalidGrantError, UnauthorizedClientError

from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.keys.service import InvalidTokenError, KeyService
from idp.protocol import scopes
from idp.protocol.signatures import half_hash, switched_off
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Glance, Transaction
from idp.runtime.secrets import Secrets
from idp.sessions.rules import Session
from idp.sessions.service import SessionService
from idp.tokens import refresh, rules, store
from idp.tokens.places import Places
from idp.tokens.refresh import RefreshToken
from idp.tokens.rules import LEEWAY, AccessToken, Authorization, Family, Policy, Statuses, Told
from idp.tokens.subjects import Subjects


class ReusedRefreshTokenError(Exception):
    """A refresh token came back that was spent long ago: somebody holds a copy, so its family must end (RFC 9700 §4.14)."""

    def __init__(self, family_id: str) -> None:
        super().__init__(family_id)
        self.family_id = family_id


class Rotated(NamedTuple):
    """What a refresh token was spent for: its family, the successor, and the live session behind them, if one is."""

    family: Family
    successor: str
    session: Session | None


@dataclass(frozen=True, slots=True)
class Live:
    """A token that counts right now."""

    claims: Mapping[str, object]
    family: Family | None
    session: Session | None = None


class TokenService:
    """The provider's tokens. It never ends one: see `idp.logout`."""

    def __init__(
        self, policy: Policy, keys: KeyService, clients: ClientService, sessions: SessionService, keyring: Secrets
    ) -> None:
        self.policy = policy
        self._keys = keys
        self._clients = clients
        self._sessions = sessions
        self._secrets = keyring
        self.subjects = Subjects(keyring)
        self._places = Places()

    @property
    def id_token_algs(self) -> tuple[str, ...]:
        """The algorithms by which an ID token may be signed."""
        return self._keys.algorithms

    # -- issuing --------------------------------------------------------------------------------------------------

    def new_family_id(self) -> str:
        """A name for a family that does not exist yet, so that a code can be consumed and name it in one statement."""
        return secrets.token(rules.FAMILY_ID_BYTES)

    def start_family(
        self, tx: Transaction, family_id: str, given: Authorization, *, refreshable: bool
    ) -> tuple[Family, str | None]:
        """Write down a family and make its first refresh token, if it is to have any.

        Raises InvalidGrantError while all that there is of this person and client is being ended.
        """
        if store.is_closing(tx, given.subject, given.client_id):
            description = "What was allowed before is just being ended: ask again in a moment."
            raise InvalidGrantError(description)
        token = RefreshToken.first(family_id) if refreshable else None
        told = self._told_in_sector(tx, given)
        family = Family(
            family_id=family_id,
            client_id=given.client_id,
            subject=given.subject,
            sid=given.sid,
            scope=given.scope,
            offline=given.offline,
            auth_time=given.auth_time,
            acr=given.acr,
            amr=given.amr,
            claims=given.claims,
            generation=0,
            secret_hash=None if token is None else token.stored,
            started_at=tx.now,
            rotated_at=tx.now,
            expires_at=tx.now + self.policy.refresh_token_lifetime,
            ended_at=None,
            end_reason=None,
            sector_sub=None if told is None else told.sub,
            sector_sid=None if told is None else told.sid,
            status_index=self._places.draw(tx),
        )
        store.add(tx, family)
        return family, None if token is None else token.text(self._secrets)

    def _told_in_sector(self, tx: Transaction, given: Authorization) -> Told | None:
        """What a family says instead of the names of person and session; None, without a query, if the client knows those."""
        client = self._clients.find(given.client_id)
        return None if client is None or client.pairwise_sector is None else self._told(tx, client, given)

    def _told(self, tx: Transaction, client: Client, given: Family | Authorization) -> Told:
        if isinstance(given, Family):
            return Told(given.sub, given.told_sid)
        sid = None if given.sid is None else self._sessions.sid_for(tx, client, given.sid)
        return Told(self.subjects.sub_in(tx, client.pairwise_sector, given.subject), sid)

    def rotate(self, tx: Transaction, client: Client, text: str) -> Rotated:
        """Spend a refresh token.

        One statement decides, so of many at once one rotates. The others get the same successor for
        `refresh_retry_window` seconds, and a client whose answer was lost gets a successor for as long as
        `rules.when_asked_again` says. Raises InvalidGrantError, or ReusedRefreshTokenError when the family must end for it.
        """
        presented = refresh.read(text, self._secrets)
        if presented is None:
            description = "The refresh token is none of ours."
            raise InvalidGrantError(description)
        successors = presented.successors(self._secrets)
        until = tx.now + self.policy.refresh_token_lifetime
        family = store.rotate(tx, client.client_id, presented, successors[0], until)
        if family is not None:
            return Rotated(family, successors[0].text(self._secrets), self._session_behind(tx, family))
        family, successor = self._asked_again(tx, client, presented)
        return Rotated(family, successor.text(self._secrets), self._session_behind(tx, family))

    def _asked_again(self, tx: Transaction, client: Client, presented: RefreshToken) -> tuple[Family, RefreshToken]:
        """What a token gets that is not the live one. Only the parent of the live one is good for anything.

        Of two lines that would go on from one parent the newest alone lives: the other one's next use ends the family.
        """
        while True:
            family = self._family_of(tx, client, presented)
            live = presented.successors(self._secrets, family.generation) if family.generation > presented.generation else []
            given = next((each for each in live if each.stored == family.secret_hash), None)
            answer = rules.AskedAgain.REUSED if given is None else rules.when_asked_again(self.policy, family, tx.now)
            if answer is rules.AskedAgain.REUSED or given is None:
                raise ReusedRefreshTokenError(family.family_id)
            if answer is rules.AskedAgain.SAME:
                return family, given
            another = presented.successors(self._secrets, family.generation + 1)[0]
            replaced = store.replace(tx, family, another)
            if replaced is not None:
                return replaced, another
            # Somebody else was first, and their change is decided upon now.

    def _family_of(self, tx: Transaction, client: Client, presented: RefreshToken) -> Family:
        """The family of a refresh token, which must be alive and the client's own. Raises InvalidGrantError."""
        family = store.by_id(tx, presented.family_id)
        if family is None or family.client_id != client.client_id:
            description = "The refresh token was not issued to this client."
            raise InvalidGrantError(description)
        if family.ended_at is not None or family.expires_at <= tx.now or store.open_by_id(tx, family.family_id) is None:
            description = "The refresh token has expired or was revoked."
            raise InvalidGrantError(description)
        return family

    def _session_behind(self, tx: Transaction, family: Family) -> Session | None:
        """Refuse a family whose session is over though nobody marked it yet; note that an app used a live one."""
        if family.session_behind is None:
            return None
        session = self._sessions.alive(tx, family.session_behind)
        if session is None:
            description = "The session has ended."
            raise InvalidGrantError(description)
        self._sessions.note_use_by_app(tx, session)
        return session

    def access_token(
        self, tx: Transaction, client: Client, family: Family, scope: str, session: Session | None = None
    ) -> AccessToken:
        """An access token of a family (RFC 9068). `session` is the one behind it, where the caller has it at hand."""
        if session is None and family.session_behind is not None:
            session = self._sessions.get(tx, family.session_behind)
        until = None if session is None or family.session_behind is None else self._sessions.runs_out(session)
        lasts = rules.access_token_lasts(self.policy, tx.now, until)
        token_id = rules.jti(family.family_id, family.generation, secrets.token(rules.JTI_BYTES))
        claims = rules.access_token_claims(
            self.policy,
            tx.now,
            lasts,
            client_id=client.client_id,
            subject=family.sub,
            scope=scope,
            audience=(self.policy.issuer, *client.resources),
            token_id=token_id,
        ) | rules.authentication_claims(family)
        if family.session_behind is not None:
            claims["sid"] = family.told_sid
        if self.policy.status_list and family.status_index is not None:
            claims["status"] = rules.status_claim(self.policy.issuer, family.status_index)
        return AccessToken(self._sign_access_token(tx, client, claims, family.session_behind), lasts)

    def client_access_token(self, tx: Transaction, client: Client, scope: str) -> AccessToken:
        """An access token for the client itself: no person, no session and no family stand behind it."""
        lasts = rules.access_token_lasts(self.policy, tx.now, None)
        claims = rules.access_token_claims(
            self.policy,
            tx.now,
            lasts,
            client_id=client.client_id,
            subject=client.client_id,
            scope=scope,
            audience=(self.policy.issuer, *client.resources),
            token_id=secrets.token(rules.JTI_BYTES),
        )
        return AccessToken(self._sign_access_token(tx, client, claims), lasts)

    def _sign_access_token(self, tx: Transaction, client: Client, claims: dict[str, object], sid: str | None = None) -> str:
        fields = {"client_id": client.client_id, "sid": sid}
        tx.after_commit(lambda: audit.record("token.issued", **fields))
        return self._keys.sign(client.access_token_header_typ, claims, tx.now)

    def id_token(
        self,
        tx: Transaction,
        client: Client,
        given: Family | Authorization,
        *,
        nonce: str | None,
        access_token: str | None,
        code: str | None = None,
        about: Mapping[str, object] | None = None,
    ) -> str:
        """An ID token (OIDC Core §2) of what was allowed, signed as its client registered it.

        It holds the hashes of the access token and the code that are issued beside it (§3.1.3.6, §3.3.2.11), and what it
        is to say `about` the person. Raises UnauthorizedClientError when that algorithm is switched off.
        """
        alg = client.id_token_signed_response_alg
        if alg not in self._keys.algorithms:
            raise UnauthorizedClientError(switched_off(alg))
        beside = {"at_hash": access_token, "c_hash": code}
        self._clients.in_use(tx, client)
        claims = rules.id_token_claims(
            self.policy,
            tx.now,
            given,
            self._told(tx, client, given),
            nonce=nonce,
            hashes={name: half_hash(value, alg) for name, value in beside.items() if value is not None},
            about=about or {},
            token_id=secrets.token(rules.JTI_BYTES),
        )
        return self._keys.sign(rules.ID_TOKEN_TYP, claims, tx.now, alg)

    def userinfo_jwt(self, client: Client, claims: Mapping[str, object], now: Instant) -> str | None:
        """The answer of `/userinfo` as a JWT for this client alone; None for a client that did not register it so.

        It has no `exp`, no `nonce` and no `at_hash`, so that it passes for no ID token (OIDC Core §5.3.2, RFC 8725 §3.11).
        Raises UnauthorizedClientError when the algorithm is switched off.
        """
        alg = client.userinfo_signed_response_alg
        if alg is None:
            return None
        if alg not in self._keys.algorithms:
            raise UnauthorizedClientError(switched_off(alg, "userinfo_signed_response_alg"))
        return self._keys.sign(rules.ID_TOKEN_TYP, {**claims, "iss": self.policy.issuer, "aud": client.client_id}, now, alg)

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
        session = None if family.session_behind is None else self._sessions.alive(tx, family.session_behind)
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
            self._sessions.note_use_by_app(tx, live.session)

    def _may_still(self, claims: Mapping[str, object]) -> bool:
        """Whether the client may still act for itself as this token of its own says: metadata may have been changed."""
        client = self._clients.find(str(claims["client_id"]))
        asked = set(scopes.parse(str(claims.get("scope", ""))))
        return client is not None and client.check_grant_type("client_credentials") and asked <= set(scopes.parse(client.scope))

    def live_refresh_token(self, tx: Transaction, text: str) -> Live | None:
        """The refresh token, if it is the live one of a family that has not ended."""
        token = refresh.read(text, self._secrets)
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
        token = refresh.read(text, self._secrets)
        return None if token is None else store.by_id(tx, token.family_id)

    def _counts(self, tx: Transaction, family: Family) -> bool:
        """The one question behind every token: whether this session, family and client may still go on."""
        if not self._goes_on(family):
            return False
        return family.session_behind is None or self._sessions.alive(tx, family.session_behind) is not None

    def _goes_on(self, family: Family) -> bool:
        return family.ended_at is None and self._clients.find(family.client_id) is not None

    def _access_token_claims(self, tx: Transaction, text: str) -> dict[str, object] | None:
        """The claims of an access token of ours. An ID or logout token is none, whatever its `typ` says (RFC 8725 §3.12)."""
        for typ in (rules.ACCESS_TOKEN_TYP, rules.ID_TOKEN_TYP):
            try:
                claims = self._keys.verify(text, typ, tx.now)
            except InvalidTokenError:
                continue
            client = self._clients.find(str(claims.get("client_id", "")))
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
            claims = self._keys.verify(text, rules.ID_TOKEN_TYP, tx.now, as_hint=True)
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
        overdue, removed = self._sessions.overdue(tx, since), self._clients.removed(tx, since)
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
