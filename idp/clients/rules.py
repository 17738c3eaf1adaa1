"""What a client is, and what its registered metadata must hold to (RFC 7591 §2, OpenID Connect Registration 1.0 §2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from idp.clients import sectors
from idp.protocol import response_types, scopes, strict_json
from idp.protocol.signatures import ALGORITHMS, DEFAULT_ALG
from idp.protocol.uris import is_loopback_redirect, is_registered
from idp.runtime import secrets
from idp.runtime.clock import Instant

AUTH_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")
#: Algorithms of client assertions (OIDC Core §9), by the method that they go with.
ASSERTION_ALGORITHMS = {"client_secret_jwt": ("HS256", "HS384", "HS512"), "private_key_jwt": ALGORITHMS}
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
#: What is switched on unless `ClientService` is told of more.
SWITCHED_ON = (response_types.CODE,)
#: No grant at the token endpoint; a client registers it for tokens that come from the authorization endpoint.
IMPLICIT = "implicit"
SUBJECT_TYPES = ("public", "pairwise")
#: Encrypted ID tokens and userinfo: how the key is given to the client, and how the content is encrypted.
ENCRYPTION_ALGORITHMS = ("RSA-OAEP-256", "ECDH-ES")
CONTENT_ENCRYPTIONS = ("A256GCM",)
#: Members that may be said in several languages, as `client_name#de` (OIDC Registration §2.1).
LOCALISED = ("client_name", "client_uri", "logo_uri", "policy_uri", "tos_uri")


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A row: the metadata as registered, the secret as a hash.

    `secret_sealed` is set beside the hash only where the secret itself is needed to verify (`client_secret_jwt`).
    `registration_hash` is of the registration access token (RFC 7592 §3) and `expires_at` the instant at which the
    registration lapses if it is not used until then; both are None for a client that an operator added.
    `registration_hash_before` and `secret_hash_before` are what an update replaced, until its answer has arrived for sure.
    `retiring_hash` and `retiring_sealed` are of the secret before the last rotation; it counts until `retiring_until`.
    """

    client_id: str
    metadata: str
    secret_hash: str | None
    created_at: Instant
    ended_at: Instant | None
    secret_sealed: bytes | None = None
    registration_hash: str | None = None
    expires_at: Instant | None = None
    registration_hash_before: str | None = None
    secret_hash_before: str | None = None
    retiring_hash: str | None = None
    retiring_sealed: bytes | None = None
    retiring_until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A relying party, parsed once. Members are RFC 7591's and the logout specifications', and six of our own.

    Ours are `first_party` (its person is not asked for consent), `backchannel_logout_include_sub` (a `sub` stands
    beside the `sid` in its logout tokens), `access_token_header_typ` (`JWT` for resource servers that do not know
    `at+jwt`), `resources` (audiences its access tokens name beside it), `id_token_scope_claims` (what its scopes ask for
    stands in its ID tokens as well) and `insecure_uris` (it may use http in the local network, and any private scheme).
    The method names are those that Authlib's server calls.
    """

    client_id: str
    secret_hash: str | None
    created_at: Instant
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    token_endpoint_auth_method: str = "client_secret_basic"
    grant_types: tuple[str, ...] = ("authorization_code",)
    response_types: tuple[str, ...] = ("code",)
    scope: str = scopes.join(scopes.SUPPORTED)
    application_type: str = "web"
    client_name: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    default_max_age: int | None = None
    id_token_signed_response_alg: str = DEFAULT_ALG
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    backchannel_logout_include_sub: bool = False
    frontchannel_logout_uri: str | None = None
    frontchannel_logout_session_required: bool = False
    first_party: bool = False
    access_token_header_typ: str = "at+jwt"
    resources: tuple[str, ...] = ()
    id_token_scope_claims: bool = False
    insecure_uris: bool = False
    token_endpoint_auth_signing_alg: str | None = None
    jwks: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    jwks_uri: str | None = None
    subject_type: str = "public"
    sector_identifier_uri: str | None = None
    id_token_encrypted_response_alg: str | None = None
    id_token_encrypted_response_enc: str | None = None
    userinfo_signed_response_alg: str | None = None
    userinfo_encrypted_response_alg: str | None = None
    userinfo_encrypted_response_enc: str | None = None
    request_object_signing_alg: str | None = None
    request_uris: tuple[str, ...] = ()
    initiate_login_uri: str | None = None
    default_acr_values: tuple[str, ...] = ()
    require_auth_time: bool = False
    software_id: str | None = None
    software_version: str | None = None
    #: `client_name#de` and the like, by their whole names.
    localised: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    secret_sealed: bytes | None = field(default=None, repr=False)
    registration_hash: str | None = field(default=None, repr=False)
    expires_at: Instant | None = None
    registration_hash_before: str | None = field(default=None, repr=False)
    secret_hash_before: str | None = field(default=None, repr=False)
    retiring_hash: str | None = field(default=None, repr=False)
    retiring_sealed: bytes | None = field(default=None, repr=False)
    retiring_until: Instant | None = None

    @classmethod
    def of(cls, record: ClientRecord) -> "Client":
        """The client that a row describes."""
        metadata = strict_json.stored(record.metadata)
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in metadata.items()}
        return cls(
            record.client_id,
            record.secret_hash,
            record.created_at,
            secret_sealed=record.secret_sealed,
            registration_hash=record.registration_hash,
            expires_at=record.expires_at,
            registration_hash_before=record.registration_hash_before,
            secret_hash_before=record.secret_hash_before,
            retiring_hash=record.retiring_hash,
            retiring_sealed=record.retiring_sealed,
            retiring_until=record.retiring_until,
            **values,
        )

    def before_its_update(self) -> "Client":
        """The client, with the registration access token and the secret that it had before it was last updated.

        To whoever did not get the answer of that update, these are still the ones that hold.
        """
        kept = self.secret_hash == self.secret_hash_before
        return replace(
            self,
            secret_hash=self.secret_hash_before,
            secret_sealed=self.secret_sealed if kept else None,
            registration_hash=self.registration_hash_before,
            registration_hash_before=None,
            secret_hash_before=None,
        )

    @property
    def name(self) -> str:
        """How it is called on pages."""
        return self.client_name or self.client_id

    @property
    def is_public(self) -> bool:
        """Whether it cannot keep a secret (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method == "none"

    @property
    def is_native(self) -> bool:
        """Whether it runs on the person's device."""
        return self.application_type == "native"

    @property
    def has_any_port(self) -> bool:
        """Whether the port of its loopback redirects may vary (RFC 8252 §7.3): it is native, or has no other redirects."""
        return self.is_native or (bool(self.redirect_uris) and all(map(is_loopback_redirect, self.redirect_uris)))

    @property
    def sector(self) -> str:
        """Where its pairwise subjects are the same (OIDC Core §8.1): a host, or a sector of its own."""
        return sectors.sector_of(self.client_id, self.redirect_uris, self.sector_identifier_uri)

    @property
    def pairwise_sector(self) -> str | None:
        """Its sector if people and sessions have names of their own there; None for a client that knows their own names."""
        return self.sector if self.subject_type == "pairwise" else None

    # -- what Authlib's server asks (authlib.oauth2.rfc6749.ClientMixin) ------------------------------------------

    def get_client_id(self) -> str:
        """The client's identifier."""
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """The redirect URI of a request that names none: only where there is no choice (RFC 6749 §3.1.2.3)."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the redirect URI is registered: exact comparison (RFC 9700 §2.1)."""
        return is_registered(redirect_uri, self.redirect_uris, any_port=self.has_any_port)

    def is_assured_at(self, redirect_uri: str) -> bool:
        """Whether an answer at this redirect URI, which is registered, can reach nobody but the client (RFC 8252 §8.6).

        Any program of the machine may listen on a port of the loopback interface that registration left open. A secret, which
        `/token` asks for, shows who it is.
        """
        return not self.is_public or redirect_uri in self.redirect_uris

    def check_post_logout_redirect_uri(self, uri: str) -> bool:
        """Whether the URI is registered (RP-Initiated Logout 1.0 §3)."""
        return is_registered(uri, self.post_logout_redirect_uris, any_port=self.has_any_port)

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether the secret is the client's, compared in constant time over hashes."""
        return self.secret_hash is not None and secrets.same(secrets.digest(client_secret), self.secret_hash)

    def previous_secret_until(self, now: Instant) -> Instant | None:
        """Until when the secret before the last rotation counts as well; None when it does not."""
        return self.retiring_until if self.retiring_until is not None and now < self.retiring_until else None

    def knows_secret(self, client_secret: str, now: Instant) -> bool:
        """Whether the secret is one of those that count: both are compared, so that time tells of neither."""
        presented = secrets.digest(client_secret)
        current, previous = self.secret_hash or "", self.retiring_hash or ""
        is_current, is_previous = secrets.same(presented, current), secrets.same(presented, previous)
        return is_current or (is_previous and self.previous_secret_until(now) is not None)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whether the method is the registered one: at every endpoint, so that no later one forgets it.

        A client with a secret may send it by header or by form, whichever it registered: Flask-OIDC posts it to
        `/introspect` whatever it does elsewhere.
        """
        with_secret = {"client_secret_basic", "client_secret_post"}
        if endpoint != "token" and method in with_secret:
            return self.token_endpoint_auth_method in with_secret
        return method == self.token_endpoint_auth_method

    def check_response_type(self, response_type: str) -> bool:
        """Whether the client registered the response type."""
        return response_type in self.response_types

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client registered the grant type."""
        return grant_type in self.grant_types

    def get_allowed_scope(self, scope: str | None) -> str:
        """Those of the requested scopes that the client may have, in the order requested."""
        allowed = scopes.parse(self.scope)
        return scopes.join(name for name in scopes.parse(scope) if name in allowed)


#: Fields of `Client` that are no metadata as somebody registers it.
_OURS = frozenset(
    {
        "client_id",
        "secret_hash",
        "created_at",
        "secret_sealed",
        "registration_hash",
        "expires_at",
        "registration_hash_before",
        "secret_hash_before",
        "retiring_hash",
        "retiring_sealed",
        "retiring_until",
        "localised",
    }
)


def registered(client: Client) -> Mapping[str, object]:
    """The client's metadata as RFC 7591 §3.2.1 answers it: every member that has a value."""
    values = {name: getattr(client, name) for name in Client.__dataclass_fields__ if name not in _OURS}
    known = {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value not in (None, ())
    }
    return {**known, **client.localised}
