"""Registering and finding relying parties."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import KeySet

from idp.clients import jwks, metadata, rules, signed, store
from idp.clients.keys import ClientKeys, ClientKeysError
from idp.clients.rules import Client, ClientRecord
from idp.protocol.signatures import DEFAULT_ALG
from idp.protocol.uris import origin as origin_of
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction

CLIENT_ID_BYTES = 12
SECRET_BYTES = 32


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
        response_types: Collection[str] = rules.RESPONSE_TYPES,
        keys: ClientKeys | None = None,
    ) -> None:
        """`keys` fetches what clients registered as their `jwks_uri`; without it only `jwks` counts."""
        self._database = database
        self._keys = keys
        self._response_types = tuple(response_types)
        self._cache_seconds = cache_seconds
        self._loopback_http = loopback_http
        self._id_token_algs = tuple(id_token_algs)
        self._cache: dict[str, tuple[Instant, Client]] = {}
        self._origins: tuple[Instant, frozenset[str]] | None = None

    def add(self, tx: Transaction, sent: Mapping[str, object]) -> Registration:
        """Register a client from RFC 7591 metadata. Raises MetadataError."""
        known = metadata.parse(
            sent,
            loopback_http=self._loopback_http,
            id_token_algs=self._id_token_algs,
            response_types=self._response_types,
        )
        public = known.get("token_endpoint_auth_method") == "none"
        secret = None if public else secrets.token(SECRET_BYTES)
        record = ClientRecord(
            client_id=secrets.token(CLIENT_ID_BYTES),
            metadata=json.dumps(known),
            secret_hash=None if secret is None else secrets.digest(secret),
            created_at=tx.now,
            ended_at=None,
        )
        store.add(tx, record)
        tx.after_commit(lambda: audit.record("client.added", client_id=record.client_id))
        return Registration(Client.of(record), secret)

    def find(self, client_id: str | None) -> Client | None:
        """The client, as it was at most `clients_cache_seconds` ago. Only clients that exist are kept in memory."""
        if not client_id or len(client_id) > metadata.MAXIMUM_STRING:
            return None
        now = self._database.clock()
        kept = self._cache.get(client_id)
        if kept is not None and now - self._cache_seconds < kept[0] <= now:
            return kept[1]
        with self._database.reading() as tx:
            client = self.get(tx, client_id)
        if client is None:
            self._cache.pop(client_id, None)
        else:
            self._cache[client_id] = (now, client)
        return client

    def get(self, tx: Transaction, client_id: str) -> Client | None:
        """The client as it is in this transaction."""
        record = store.by_id(tx, client_id)
        return None if record is None else Client.of(record)

    def listed(self, tx: Transaction) -> list[Client]:
        """Every client, oldest first."""
        return [Client.of(record) for record in store.listed(tx)]

    def removed(self, tx: Transaction, since: Instant) -> list[str]:
        """Clients that were removed after `since`: what they are given while a process still knows them counts nowhere."""
        return store.removed_since(tx, since)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may read our answers (CORS): some client's redirect URI must be at home there."""
        now = self._database.clock()
        kept = self._origins
        if kept is None or not now - self._cache_seconds < kept[0] <= now:
            with self._database.reading() as tx:
                uris = [uri for client in self.listed(tx) for uri in client.redirect_uris]
            kept = self._origins = (now, frozenset(filter(None, map(origin_of, uris))))
        return origin in kept[1]

    def keys_of(self, client: Client, kid: str | None = None) -> KeySet:
        """The client's public keys. With a `kid` that is not among them they are fetched anew, though not too often.

        Raises ClientKeysError. It may wait for the client's server: never call it inside a transaction.
        """
        if client.jwks is not None:
            return jwks.read(client.jwks)
        if self._keys is None or client.jwks_uri is None:
            message = "The client registered neither jwks nor jwks_uri."
            raise ClientKeysError(message)
        return self._keys.at(client.jwks_uri, kid)

    def verify(self, client: Client, token: str, algorithms: Collection[str]) -> dict[str, Any]:
        """The claims of a JWT that the client signed with a key of its own, by one of `algorithms`.

        What the claims say is the caller's to judge. Raises BadSignatureError and ClientKeysError; as `keys_of`, never
        inside a transaction.
        """
        unverified = signed.take_apart(token)
        signed.verify(unverified, lambda kid: self.keys_of(client, kid), algorithms)
        return unverified.claims

    def forget(self, client_id: str) -> None:
        """Drop what this process remembers of a client."""
        self._cache.pop(client_id, None)
