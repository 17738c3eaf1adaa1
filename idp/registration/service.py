"""Dynamic registration (RFC 7591, OpenID Registration 1.0) and its management (RFC 7592): who may, how often, for how long."""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import ceil

from idp.clients.rules import Client
from idp.clients.service import ClientService, Lease, Registration
from idp.registration import store
from idp.registration.rules import WINDOW, InitialToken, RegistrationPolicy, check_reach
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.outbound.addresses import network_of
from idp.runtime.paging import Page
from idp.runtime.secrets import Secrets, b64url

PURPOSE = "client registration"
TOKEN_BYTES = 32
_EVERYBODY = "everybody"
#: What a path may name: anything else is not looked for in the database.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class NotAllowedError(Exception):
    """The token that was presented opens nothing here, or none was: 401 (RFC 6750 §3.1)."""


class TooManyError(Exception):
    """A limit is reached: it may be tried again after `retry_after` seconds. The text says which limit."""

    def __init__(self, description: str, retry_after: float) -> None:
        super().__init__(description)
        self.retry_after = max(1, ceil(retry_after))


@dataclass(frozen=True, slots=True, repr=False)
class Registered:
    """A registration and the token that manages it: the only time that this token is seen."""

    registration: Registration
    token: str


class RegistrationService:
    """Clients that register themselves. Each holds a registration access token, which opens its own registration alone."""

    def __init__(self, database: Database, clients: ClientService, policy: RegistrationPolicy, own: Secrets) -> None:
        self._database = database
        self._clients = clients
        self._secrets = own
        self.policy = policy

    def admit(self, bearer: str | None, address: str) -> None:
        """Let somebody try to register, before anything that they sent is looked at.

        With tokens the token is looked at, and not used up yet; without, the tries of an address are counted, those that
        are refused afterwards too. Raises NotAllowedError and TooManyError.
        """
        if self._needs_token(bearer):
            with self._database.reading() as tx:
                if bearer is None or not store.is_good(tx, secrets.digest(bearer)):
                    raise NotAllowedError
            return
        with self._database.writing() as tx:
            tries, over_at = store.count(tx, self._bucket(network_of(address)), WINDOW)
            if tries > self.policy.hourly:
                message = f"This address may try to register {self.policy.hourly} times an hour."
                raise TooManyError(message, over_at - tx.now)

    def register(self, tx: Transaction, bearer: str | None, sent: object) -> Registered:
        """Register a client. Raises NotAllowedError, TooManyError, MetadataError."""
        trusted = self._needs_token(bearer)
        if trusted and (bearer is None or not store.use_token(tx, secrets.digest(bearer))):
            raise NotAllowedError
        check_reach(self._clients.read(sent), trusted=trusted)
        self._check_room(tx)
        token, lease = self._lease(tx.now)
        return Registered(self._clients.add(tx, sent, lease), token)

    def find(self, tx: Transaction, client_id: str, bearer: str | None) -> Client:
        """The client, for whoever holds its registration access token. Raises NotAllowedError, for an unknown client too.

        The token before it counts until it is used for the first time: the answer that it was in may have been lost. Then
        the client is as it was before that update, as far as its token and its secret go.
        """
        client = self._clients.get(tx, client_id) if _ID.fullmatch(client_id) else None
        if client is None or bearer is None:
            raise NotAllowedError
        presented = secrets.digest(bearer)
        if _same(presented, client.registration_hash):
            return client
        if _same(presented, client.registration_hash_before):
            return client.before_its_update()
        raise NotAllowedError

    def enter(self, client_id: str, bearer: str | None) -> Client:
        """As `find`, in transactions of its own. A token that is used has arrived: the one before it is worthless."""
        with self._database.reading() as tx:
            client = self.find(tx, client_id, bearer)
        if client.registration_hash_before is not None:
            with self._database.writing() as tx:
                self._clients.arrived(tx, client)
        return client

    def replace(self, tx: Transaction, before: Client, sent: Mapping[str, object]) -> Registered:
        """Put other metadata in the place of what is registered. The token that did it can only repeat it afterwards.

        Raises NotAllowedError when another update was faster, and MetadataError.
        """
        trusted = self.policy.mode == "token"
        check_reach(self._clients.read(sent), trusted=trusted, already=before.grant_types)
        token, lease = self._lease(tx.now)
        replaced = self._clients.change(tx, before, sent, lease)
        if replaced is None:
            raise NotAllowedError
        return Registered(replaced, token)

    def _needs_token(self, bearer: str | None) -> bool:
        """Whoever brings a token is judged by it, also where the door is open."""
        return self.policy.mode == "token" or bearer is not None

    def _lease(self, now: Instant) -> tuple[str, Lease]:
        token = secrets.token(TOKEN_BYTES)
        return token, Lease(secrets.digest(token), now + self.policy.unused)

    def _check_room(self, tx: Transaction) -> None:
        """Count what lives. Counting everybody first makes those wait who register at the same moment."""
        store.count(tx, self._bucket(_EVERYBODY), WINDOW)
        if self._clients.count_registered(tx) >= self.policy.limit:
            audit.warn("client.registrations_full", limit=self.policy.limit)
            message = "As many clients have registered themselves as may; unused ones make room in time."
            raise TooManyError(message, WINDOW)

    def _bucket(self, who: str) -> str:
        """Keyed: a stolen database does not say who registered."""
        return b64url(hmac.digest(self._secrets.key(PURPOSE), who.encode("utf-8", "surrogatepass"), sha256))

    # -- initial access tokens ------------------------------------------------------------------------------------

    def make_token(self, tx: Transaction, *, uses: int, lifetime: int) -> tuple[InitialToken, str]:
        """Another initial access token (RFC 7591 §3): the only time that it is seen."""
        shown = secrets.token(TOKEN_BYTES)
        made = InitialToken(secrets.token(8), uses, tx.now, tx.now + lifetime)
        store.add_token(tx, made, secrets.digest(shown))
        tx.after_commit(lambda: audit.record("client.token_made", token_id=made.token_id, uses=uses))
        return made, shown

    def listed_tokens(self, tx: Transaction, page: Page) -> list[InitialToken]:
        """The initial access tokens that still open something, oldest first: one page of them."""
        return store.listed_tokens(tx, page)

    def revoke_token(self, tx: Transaction, token_id: str) -> bool:
        """Make an initial access token worthless; False when there is none of this name."""
        return store.revoke_token(tx, token_id)

    def tidy(self, tx: Transaction) -> int:
        """Forget tokens that are used up or over, and windows that are."""
        return store.forget(tx)


def _same(presented: str, known: str | None) -> bool:
    return known is not None and secrets.same(presented, known)


Ends = Callable[[Transaction, str], bool]
#: What follows when a client's metadata was changed: from what it was, to what it is.
EndsWithdrawn = Callable[[Transaction, Client, Client], object]
