"""Making tokens. Nothing is decided here: the door in `idp.issuing` decides, and is the only one that may import this.

A later endpoint that forgets a check of the first one is how providers came to issue what was withdrawn (docs/adr/0024).
"""

from collections.abc import Mapping
from typing import NamedTuple

from authlib.oauth2.rfc6749.errors import InvalidGrantError, UnauthorizedClientError

from idp.clients.rules import Client
from idp.protocol.signatures import half_hash, switched_off
from idp.runtime import audit, secrets
from idp.runtime.database import Transaction
from idp.sessions.rules import Session
from idp.tokens import refresh, rules, store
from idp.tokens.positions import Positions
from idp.tokens.refresh import RefreshToken
from idp.tokens.rules import AccessToken, Authorization, ClientNames, Family
from idp.tokens.service import TokenService


class ReusedRefreshTokenError(Exception):
    """A refresh token came back that was spent long ago: somebody holds a copy, so its family must end (RFC 9700 §4.14)."""

    def __init__(self, family_id: str) -> None:
        super().__init__(family_id)
        self.family_id = family_id


class Rotated(NamedTuple):
    """What a refresh token was spent for: its family, and the successor."""

    family: Family
    successor: str


class TokenIssuer:
    """Writes families down and signs tokens of them, over what `TokenService` judges by."""

    def __init__(self, tokens: TokenService) -> None:
        self._tokens = tokens
        self._policy = tokens.policy
        self._places = Positions()

    def new_family_id(self) -> str:
        """A name for a family that does not exist yet, so that a code can be consumed and name it in one statement."""
        return secrets.token(rules.FAMILY_ID_BYTES)

    def start_family(
        self, tx: Transaction, family_id: str, given: Authorization, *, refreshable: bool
    ) -> tuple[Family, str | None]:
        """Write down a family and make its first refresh token, if it is to have any."""
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
            expires_at=tx.now + self._policy.refresh_token_lifetime,
            ended_at=None,
            end_reason=None,
            sector_sub=None if told is None else told.sub,
            sector_sid=None if told is None else told.sid,
            status_index=self._places.draw(tx),
        )
        store.add(tx, family)
        return family, None if token is None else token.text(self._tokens.secrets)

    def _told_in_sector(self, tx: Transaction, given: Authorization) -> ClientNames | None:
        """What a family says instead of the names of person and session; None, without a query, if the client knows those."""
        client = self._tokens.clients.find(given.client_id)
        return None if client is None or client.pairwise_sector is None else self._told(tx, client, given)

    def _told(self, tx: Transaction, client: Client, given: Family | Authorization) -> ClientNames:
        if isinstance(given, Family):
            return ClientNames(given.sub, given.told_sid)
        sid = None if given.sid is None else self._tokens.sessions.sid_for(tx, client, given.sid)
        return ClientNames(self._tokens.subjects.sub_in(tx, client.pairwise_sector, given.subject), sid)

    def rotate(self, tx: Transaction, client: Client, text: str) -> Rotated:
        """Spend a refresh token.

        One statement decides, so of many at once one rotates. The others get the same successor for
        `refresh_retry_window` seconds, and a client whose answer was lost gets a successor for as long as
        `rules.when_asked_again` says. Raises InvalidGrantError, or ReusedRefreshTokenError when the family must end for it.
        """
        presented = refresh.read(text, self._tokens.secrets)
        if presented is None:
            description = "The refresh token is none of ours."
            raise InvalidGrantError(description)
        successors = presented.successors(self._tokens.secrets)
        until = tx.now + self._policy.refresh_token_lifetime
        family = store.rotate(tx, client.client_id, presented, successors[0], until)
        if family is not None:
            return Rotated(family, successors[0].text(self._tokens.secrets))
        family, successor = self._asked_again(tx, client, presented)
        return Rotated(family, successor.text(self._tokens.secrets))

    def _asked_again(self, tx: Transaction, client: Client, presented: RefreshToken) -> tuple[Family, RefreshToken]:
        """What a token gets that is not the live one. Only the parent of the live one is good for anything.

        Of two lines that would go on from one parent the newest alone lives: the other one's next use ends the family.
        """
        while True:
            family = self._family_of(tx, client, presented)
            live = (
                presented.successors(self._tokens.secrets, family.generation)
                if family.generation > presented.generation
                else []
            )
            given = next((each for each in live if each.stored == family.secret_hash), None)
            answer = rules.AskedAgain.REUSED if given is None else rules.when_asked_again(self._policy, family, tx.now)
            if answer is rules.AskedAgain.REUSED or given is None:
                raise ReusedRefreshTokenError(family.family_id)
            if answer is rules.AskedAgain.SAME:
                return family, given
            another = presented.successors(self._tokens.secrets, family.generation + 1)[0]
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

    def access_token(
        self, tx: Transaction, client: Client, family: Family, scope: str, session: Session | None = None
    ) -> AccessToken:
        """An access token of a family (RFC 9068). `session` is the one behind it, where the caller has it at hand."""
        if session is None and family.session_behind is not None:
            session = self._tokens.sessions.get(tx, family.session_behind)
        until = None if session is None or family.session_behind is None else self._tokens.sessions.runs_out(session)
        lasts = rules.access_token_lasts(self._policy, tx.now, until)
        token_id = rules.jti(family.family_id, family.generation, secrets.token(rules.JTI_BYTES))
        claims = rules.access_token_claims(
            self._policy,
            tx.now,
            lasts,
            client_id=client.client_id,
            subject=family.sub,
            scope=scope,
            audience=(self._policy.issuer, *client.resources),
            token_id=token_id,
        ) | rules.authentication_claims(family)
        if family.session_behind is not None:
            claims["sid"] = family.told_sid
        if self._policy.status_list and family.status_index is not None:
            claims["status"] = rules.status_claim(self._policy.issuer, family.status_index)
        return AccessToken(self._sign_access_token(tx, client, claims, family.session_behind), lasts)

    def client_access_token(self, tx: Transaction, client: Client, scope: str) -> AccessToken:
        """An access token for the client itself: no person, no session and no family stand behind it."""
        lasts = rules.access_token_lasts(self._policy, tx.now, None)
        claims = rules.access_token_claims(
            self._policy,
            tx.now,
            lasts,
            client_id=client.client_id,
            subject=client.client_id,
            scope=scope,
            audience=(self._policy.issuer, *client.resources),
            token_id=secrets.token(rules.JTI_BYTES),
        )
        return AccessToken(self._sign_access_token(tx, client, claims), lasts)

    def _sign_access_token(self, tx: Transaction, client: Client, claims: dict[str, object], sid: str | None = None) -> str:
        fields = {"client_id": client.client_id, "sid": sid}
        tx.after_commit(lambda: audit.record("token.issued", **fields))
        return self._tokens.keys.sign(client.access_token_header_typ, claims, tx.now)

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
        if alg not in self._tokens.keys.algorithms:
            raise UnauthorizedClientError(switched_off(alg))
        beside = {"at_hash": access_token, "c_hash": code}
        self._tokens.clients.in_use(tx, client)
        claims = rules.id_token_claims(
            self._policy,
            tx.now,
            given,
            self._told(tx, client, given),
            nonce=nonce,
            hashes={name: half_hash(value, alg) for name, value in beside.items() if value is not None},
            about=about or {},
            token_id=secrets.token(rules.JTI_BYTES),
        )
        return self._tokens.keys.sign(rules.ID_TOKEN_TYP, claims, tx.now, alg)
