"""Registering and finding relying parties."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from joserfc.jwk import KeySet, OctKey

from idp.clients import assertions, client_jwt, jwks, metadata, near_misses, rules, store
from idp.clients.client_jwt import Unverified
from idp.clients.keys import ClientKeys, ClientKeysError
from idp.clients.rules import Client, ClientRecord
from idp.clients.secret import SecretKeeper
from idp.clients.uri_checks import Outside
from idp.protocol.signatures import DEFAULT_ALG
from idp.protocol.uris import is_wellformed
from idp.protocol.uris import origin as origin_of
from idp.runtime import audit, secrets
from idp.runtime.bounded import Bounded
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.outage import DatabaseUnavailableError
from idp.runtime.paging import Page
from idp.runtime.secrets import Secrets

CLIENT_ID_BYTES = 12
#: As many clients as are looked at together, where nobody says how many.
_FIRST = Page(1000)
#: What a client has registered, for the door to issue (`idp.issuing.store`).
REGISTERED_METADATA = store.REGISTERED_METADATA


@dataclass(frozen=True, slots=True, repr=False)
class Lease:
    """How a registration that a client made itself is held: its registration access token's hash, and until when."""

    registration_hash: str | None
    expires_at: Instant | None


#: What an operator added stays, and only operators change it.
FOR_GOOD = Lease(None, None)


@dataclass(frozen=True, slots=True)
class Registration:
    """A client and its secret: the only time that this secret is seen. `secret` is None for a public client."""

    client: Client
    secret: str | None

    def response(self) -> dict[str, object]:
        """The client information response (RFC 7591 §3.2.1)."""
        answer: dict[str, object] = {
            "client_id": self.client.client_id,
            "client_id_issued_at": int(self.client.created_at),
        }
        if self.secret is not None:
            answer |= {"client_secret": self.secret, "client_secret_expires_at": 0}
        return answer | dict(rules.registered(self.client))


class ClientService:
    """The relying parties. A client is parsed once and kept for a stated time (`clients_cache_seconds`)."""

    def __init__(
        self,
        database: Database,
        *,
        cache_seconds: int,
        loopback_http: bool,
        id_token_algs: Collection[str] = (DEFAULT_ALG,),
        response_types: Collection[str] = rules.SWITCHED_ON,
        issuer: str = "",
        secrets: Secrets | None = None,
        keys: ClientKeys | None = None,
        outside: Outside | None = None,
        unused_seconds: int = 0,
    ) -> None:
        """`keys` fetches what clients registered as their `jwks_uri`; without it only `jwks` counts.

        `unused_seconds` is how long a registration lasts that a client made itself and does not use.
        """
        self._database = database
        self._keys = keys
        self.secrets = SecretKeeper(secrets)
        self._outside = outside
        self._unused_seconds = unused_seconds
        #: Whom a client assertion may be for: this provider, by its name or by that of its token endpoint.
        self.audiences = (issuer, f"{issuer}/token")
        self._response_types = tuple(response_types)
        self._cache_seconds = cache_seconds
        self._loopback_http = loopback_http
        self._id_token_algs = tuple(id_token_algs)
        #: Each with the instant at which it was read, and with its metadata as they were stored.
        self._cache: Bounded[str, tuple[Instant, Client, str]] = Bounded()
        #: Origins of clients, and when that was seen. Strangers' are not kept: they could fill the memory.
        self._origins: Bounded[str, Instant] = Bounded()

    def read(self, sent: object) -> dict[str, Any]:
        """The members of `sent` that count, checked. Raises MetadataError."""
        return metadata.parse(
            sent,
            loopback_http=self._loopback_http,
            id_token_algs=self._id_token_algs,
            response_types=self._response_types,
        )

    def inspect(self, sent: object, *, by_operator: bool = False) -> None:
        """Check what can only be seen from outside. Before `add` and `change`, and never inside a transaction.

        An operator is told why an address may not be contacted; anybody else would learn of the network that we are in.
        Raises MetadataError, and BusyError when too many are waiting for other servers.
        """
        known = self.read(sent)
        if self._outside is not None:
            self._outside.check(known, by_operator=by_operator)

    def add(self, tx: Transaction, sent: object, lease: Lease = FOR_GOOD) -> Registration:
        """Register a client from RFC 7591 metadata. Raises MetadataError."""
        known, client_id = self.read(sent), secrets.token(CLIENT_ID_BYTES)
        secret = self.secrets.secret_for(client_id, _method(known))
        record = ClientRecord(
            client_id, json.dumps(known), secret.hash, tx.now, None, secret.sealed, lease.registration_hash, lease.expires_at
        )
        store.add(tx, record, _origins(known))
        tx.after_commit(lambda: audit.record("client.added", client_id=client_id))
        return Registration(Client.of(record), secret.shown)

    def change(self, tx: Transaction, before: Client, sent: object, lease: Lease) -> Registration | None:
        """Put other metadata in the place of a client's, if its registration token is still the one in `before`.

        None when it is not. The same update may be repeated with the same token, until the one in `lease` is used.
        Raises MetadataError.
        """
        known = self.read(sent)
        secret = self.secrets.secret_for(before.client_id, _method(known), before)
        record = ClientRecord(
            before.client_id,
            json.dumps(known),
            secret.hash,
            before.created_at,
            None,
            secret.sealed,
            lease.registration_hash,
            lease.expires_at,
            before.registration_hash,
            before.secret_hash,
        )
        if before.registration_hash is None or not store.replace(tx, record, _origins(known)):
            return None
        tx.after_commit(lambda: self.forget(before.client_id))
        tx.after_commit(lambda: audit.record("client.replaced", client_id=before.client_id))
        return Registration(Client.of(record), secret.shown)

    def warnings(self, sent: object) -> list[str]:
        """What was likely meant otherwise, in sentences. Raises MetadataError."""
        return near_misses.warnings(sent, self.read(sent)) if isinstance(sent, Mapping) else []

    def is_refused_for_safety_alone(self, sent: object) -> bool:
        """Whether the metadata would be registered if the operator said `insecure_uris`."""
        if not isinstance(sent, Mapping) or sent.get("insecure_uris"):
            return False
        try:
            self.read({**sent, "insecure_uris": True})
        except metadata.MetadataError:
            return False
        return True

    def set_metadata(self, tx: Transaction, client_id: str, sent: object) -> tuple[Client, Registration] | None:
        """Put other metadata in the place of a client's, by the operator's word: what it was, and what it is.

        The secret stays where that is possible. None when there is no such client, or somebody else was faster; what must
        end by it is `logout`'s to say. Raises MetadataError.
        """
        known, before = self.read(sent), store.by_id(tx, client_id)
        if before is None:
            return None
        client = Client.of(before)
        secret = self.secrets.secret_for(client_id, _method(known), client)
        record = replace(before, metadata=json.dumps(known), secret_hash=secret.hash, secret_sealed=secret.sealed)
        if not store.set_metadata(tx, record, before.metadata, _origins(known)):
            return None
        tx.after_commit(lambda: self.forget(client_id))
        tx.after_commit(lambda: audit.record("client.set", client_id=client_id))
        return client, Registration(Client.of(record), secret.shown)

    def rotate_secret(self, tx: Transaction, client: Client, overlap: int) -> str | None:
        """Another secret: the only time that it is seen. The one before it counts for `overlap` seconds more.

        None when the client has no secret, or somebody else was faster.
        """
        secret = self.secrets.secret_for(client.client_id, client.token_endpoint_auth_method)
        if client.secret_hash is None or secret.hash is None:
            return None
        if not store.rotate_secret(tx, client.client_id, client.secret_hash, secret.hash, secret.sealed, tx.now + overlap):
            return None
        tx.after_commit(lambda: self.forget(client.client_id))
        tx.after_commit(lambda: audit.record("client.secret_rotated", client_id=client.client_id, overlap=overlap))
        return secret.shown

    def arrived(self, tx: Transaction, client: Client) -> None:
        """The client has its registration access token: whoever still has the one before it can do nothing with that."""
        if client.registration_hash is not None:
            store.arrived(tx, client.client_id, client.registration_hash)

    def find(self, client_id: str | None) -> Client | None:
        """The client, as it was at most `clients_cache_seconds` ago. Only clients that exist are kept in memory."""
        if not client_id or len(client_id) > metadata.MAXIMUM_STRING:
            return None
        now = self._database.clock()
        kept = self._cache.get(client_id)
        if kept is not None and now - self._cache_seconds < kept[0] <= now:
            return kept[1]
        with self._database.reading() as tx:
            record = store.by_id(tx, client_id)
        if record is None:
            self._cache.forget(client_id)
            return None
        client = Client.of(record)
        self._cache[client_id] = (now, client, record.metadata)
        return client

    def as_registered(self, tx: Transaction, client: Client, registered: str) -> Client:
        """The client as this transaction sees it, which is stored as `registered`: read again only if that has changed."""
        kept = self._cache.get(client.client_id)
        if kept is not None and kept[1] is client and kept[2] == registered:
            return client
        return self.get(tx, client.client_id) or client

    def find_anew(self, client: Client) -> Client | None:
        """The client as it is now, if it has another secret than this copy of it: it may have been given one just now."""
        with self._database.reading() as tx:
            now = self.get(tx, client.client_id)
        if now is None or (now.secret_hash, now.retiring_until) == (client.secret_hash, client.retiring_until):
            return None
        self.forget(client.client_id)
        return now

    def get(self, tx: Transaction, client_id: str) -> Client | None:
        """The client as it is in this transaction."""
        record = store.by_id(tx, client_id)
        return None if record is None else Client.of(record)

    def get_each(self, tx: Transaction, client_ids: Collection[str]) -> dict[str, Client]:
        """Those of the clients that there are, as they are in this transaction: one question for all."""
        return {record.client_id: Client.of(record) for record in store.by_ids(tx, client_ids)}

    def listed(self, tx: Transaction, page: Page = _FIRST) -> list[Client]:
        """One page of the clients, oldest first."""
        return [Client.of(record) for record in store.listed(tx, page)]

    def every(self, tx: Transaction) -> Iterator[Client]:
        """All clients, oldest first, read page by page."""
        page = _FIRST
        while found := self.listed(tx, page):
            yield from found
            page = replace(page, number=page.number + 1)

    def removed(self, tx: Transaction, since: Instant) -> list[str]:
        """Clients that were removed after `since`: what they are given while a process still knows them counts nowhere."""
        return store.removed_since(tx, since)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may read our answers (CORS): some client's redirect URI must be at home there."""
        now = self._database.clock()
        seen = self._origins.get(origin)
        if seen is not None and now - self._cache_seconds < seen <= now:
            return True
        if not is_wellformed(origin) or origin_of(origin) != origin:
            return False  # no origin at all, or not as browsers write it
        try:
            with self._database.reading() as tx:
                found = store.is_origin(tx, origin)
        except DatabaseUnavailableError:
            return seen is not None  # whose pages called before may read that they are to come again
        if found:
            self._origins[origin] = now
        else:
            self._origins.forget(origin)
        return found

    def keys_of(self, client: Client, kid: str | None = None) -> KeySet:
        """The client's public keys. With a `kid` that is not among them they are fetched anew, though not too often.

        Raises ClientKeysError. It may wait for the client's server: never call it inside a transaction.
        """
        if client.jwks is not None:
            return _registered_keys(client.jwks)
        if self._keys is None or client.jwks_uri is None:
            message = "The client registered neither jwks nor jwks_uri."
            raise ClientKeysError(message)
        return self._keys.at(client.jwks_uri, kid)

    def verify(self, client: Client, token: str, algorithms: Collection[str]) -> dict[str, Any]:
        """The claims of a JWT that the client signed with a key of its own, by one of `algorithms`.

        What the claims say is the caller's to judge. Raises BadSignatureError and ClientKeysError; as `keys_of`, never
        inside a transaction.
        """
        unverified = client_jwt.take_apart(token)
        client_jwt.verify(unverified, lambda kid: self.keys_of(client, kid), algorithms)
        return unverified.claims

    def verify_assertion(self, client: Client, method: str, assertion: Unverified) -> None:
        """Raise BadSignatureError or ClientKeysError unless the client itself signed it, as its registered method demands."""
        registered = client.token_endpoint_auth_signing_alg
        algorithms = rules.ASSERTION_ALGORITHMS[method] if registered is None else (registered,)
        if method == "private_key_jwt":
            client_jwt.verify(assertion, lambda kid: self.keys_of(client, kid), algorithms)
            return
        known = self.secrets.of(client, self.now())
        if not known:
            message = "The secret was sealed under another IDP_SECRET_KEY."
            raise ClientKeysError(message)
        keys = KeySet([OctKey.import_key(secret) for secret in known])
        client_jwt.verify(assertion, lambda _kid: keys, algorithms, is_secret=True)

    def spend(self, client: Client, jti: str) -> bool:
        """Use up the `jti` of an assertion, in a transaction of its own: it counts once, whatever becomes of the request."""
        once = secrets.digest(f"{client.client_id}\n{jti}")
        with self._database.writing() as tx:
            return store.spend(tx, once, tx.now + assertions.MAXIMUM_LIFETIME + 2 * assertions.SKEW)

    def used(self, client: Client) -> Client:
        """The client, which has just authenticated: in a transaction of its own, where there is anything to write down."""
        until = self._lasts_until(client)
        if until is None:
            return client
        with self._database.writing() as tx:
            self.in_use(tx, client)
        return replace(client, expires_at=until)

    def in_use(self, tx: Transaction, client: Client) -> None:
        """A client that registered itself lasts on when it is used. That is written down once in a tenth of its time."""
        until = self._lasts_until(client)
        if until is not None:
            store.used(tx, client.client_id, until)
            tx.after_commit(lambda: self.forget(client.client_id))

    def _lasts_until(self, client: Client) -> Instant | None:
        """Until when a client lasts that is used now; None when that is hardly longer than is written down."""
        until = self.now() + self._unused_seconds
        is_longer = client.expires_at is not None and until - client.expires_at >= self._unused_seconds / 10
        return until if is_longer else None

    def now(self) -> Instant:
        """The instant at which what is not in a transaction happens."""
        return self._database.clock()

    def unused(self, tx: Transaction, limit: int) -> list[str]:
        """Clients that registered themselves and were not used for too long; `logout` ends them."""
        return store.unused(tx, limit)

    def count_registered(self, tx: Transaction) -> int:
        """How many clients live that registered themselves."""
        return store.count_registered(tx)

    def tidy(self, tx: Transaction) -> int:
        """Forget the assertions that have long expired, and the secrets that count no more."""
        return store.forget_spent(tx) + store.forget_retired(tx)

    def delete_removed(self, tx: Transaction, before: Instant, most: int) -> int:
        """Delete clients that were removed before `before`, at most `most`; returns the number."""
        return store.forget(tx, before, most)

    def forget(self, client_id: str) -> None:
        """Drop what this process remembers of a client."""
        self._cache.forget(client_id)


def _registered_keys(document: Mapping[str, Any]) -> KeySet:
    """Those of the keys that can be used. A key that was registered by an older version may be none to this one."""
    try:
        return jwks.read(document, lenient=True)
    except jwks.JwksError as error:
        message = f"jwks {error}."
        raise ClientKeysError(message) from None


def _origins(known: Mapping[str, Any]) -> set[str]:
    """Where pages of a client are at home: browsers send it as `Origin`."""
    return {found for uri in known.get("redirect_uris", ()) if (found := origin_of(uri)) is not None}


def _method(known: Mapping[str, Any]) -> str:
    return str(known.get("token_endpoint_auth_method", "client_secret_basic"))
