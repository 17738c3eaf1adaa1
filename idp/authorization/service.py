"""Reading requests, storing them, and what has happened for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from idp.accounts.pending import PendingSignIn
from idp.accounts.rules import may_be_told
from idp.authorization import request, response_modes, rules, store
from idp.authorization.errors import AuthorizationError, RequestRefusedError
from idp.authorization.request import Reader
from idp.authorization.request_object import RequestObjects
from idp.authorization.response import ResponseIssuer
from idp.authorization.rules import AuthorizationRequest, Pending, Person, RequestProgress, Step
from idp.clients.display import Over
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.consent.pending import PendingConsent
from idp.consent.service import ConsentService
from idp.grants.service import CodeService
from idp.issuing.service import IssuingService
from idp.protocol import claims, response_types, uris
from idp.protocol.parameters import Parameters
from idp.runtime import secrets
from idp.runtime.database import Database, Transaction
from idp.runtime.outbound.addresses import network_of
from idp.sessions.rules import Session
from idp.tokens.service import TokenService

REQUEST_ID_BYTES = 24
#: For how long, in seconds, a request that expired is remembered, so that a page which stood open over night knows the way
#: back to the app; and how many at most, for anybody can begin one.
REMEMBERED, MOST_REMEMBERED = 86_400, 10_000
_TOOK_TOO_LONG = "The request expired before the person answered it. Send them here again."
CONTINUE = "continue"
#: Says that no page need stand before the app any more: see `pages.Dispatcher`.
ONWARD = "onward"


@dataclass(frozen=True, slots=True)
class AuthorizationServices:
    """What an authorization needs of the rooms below."""

    clients: ClientService
    tokens: TokenService
    codes: CodeService
    consents: ConsentService
    issuing: IssuingService
    request_objects: RequestObjects


@dataclass(frozen=True, slots=True)
class HintedSubjects:
    """See `asking.SubjectOf`."""

    database: Database
    tokens: TokenService

    def hint(self, hint: str, client: Client) -> str | None:
        """The person that an ID token names, which was issued to the client; None for anything else."""
        with self.database.reading() as tx:
            claims = self.tokens.id_token_hint(tx, hint)
            if claims is None or claims.get("aud") != client.client_id:
                return None
            return self.tokens.subject_of(tx, client, str(claims["sub"]))

    def named(self, subject: str, client: Client) -> str | None:
        """The person whom the client knows by `subject`; None for nobody."""
        with self.database.reading() as tx:
            return self.tokens.subject_of(tx, client, subject)


class AuthorizationService:
    """The state of every authorization request. `browser` is the secret that binds one to the browser that began it."""

    def __init__(
        self,
        database: Database,
        services: AuthorizationServices,
        request_lifetime: int,
        browser: Callable[[], str],
        *,
        issuer: str,
        response_types: Sequence[str] = (response_types.CODE,),
        most_of_network: int = 1000,
    ) -> None:
        """`most_of_network` is how many requests of one network may wait for somebody to sign in."""
        self._most_of_network = most_of_network
        self._issuer = issuer
        self.issuing = ResponseIssuer(services.clients, services.codes, services.issuing)
        self._services = services
        self._lifetime = request_lifetime
        self._browser = browser
        self._reader = Reader(
            find=services.clients.find,
            unfold=services.request_objects.unfold,
            subject_of=HintedSubjects(database, services.tokens),
            response_types=response_types,
            id_token_algs=services.tokens.id_token_algs,
        )

    def read(self, parameters: Parameters) -> tuple[Client, AuthorizationRequest]:
        """The request, valid. Raises UntrustedRequestError or RequestRefusedError. It may wait for a `request_uri`."""
        return request.read(parameters, self._reader)

    def next_step(
        self, tx: Transaction, client: Client, asked: AuthorizationRequest, progress: RequestProgress, session: Session | None
    ) -> Step:
        """What must happen next."""
        person = None if session is None else Person(session.subject, session.auth_time)
        needed = person is not None and self._consent_needed(tx, client, asked, progress, person)
        return rules.next_step(asked, progress, person, tx.now, consent_needed=needed)

    def _consent_needed(
        self, tx: Transaction, client: Client, asked: AuthorizationRequest, progress: RequestProgress, person: Person
    ) -> bool:
        """A person who is not asked for a client of the provider's own has signed in for it, or knows where it listens."""
        origin = _unassured_origin(client, asked)
        if client.first_party and (origin is None or rules.took_part(progress, person)):
            return False
        allowed = () if client.first_party else asked.to_be_allowed
        return not self._services.consents.covers(tx, person.subject, client.client_id, allowed, origin)

    # -- stored requests ------------------------------------------------------------------------------------------

    def store(self, tx: Transaction, asked: AuthorizationRequest, address: str, *, bound: bool) -> str:
        """Store a request, bound to this browser, or to the first that goes on with it. Returns its identifier.

        `address` is where it comes from: anybody can make requests, and nobody may fill the disk with them.
        """
        request_id = secrets.token(REQUEST_ID_BYTES)
        browser_hash = secrets.digest(self._browser()) if bound else None
        expires_at = tx.now + self._lifetime
        network = network_of(address)
        pending = Pending(request_id, asked.dump(), browser_hash, tx.now, expires_at, None, None, None, None, None, network)
        store.add(tx, pending, self._most_of_network)
        return request_id

    def resume(self, tx: Transaction, request_id: str) -> tuple[Client, AuthorizationRequest, RequestProgress] | None:
        """A stored request of this browser; None when it is unknown, expired, used, or another browser's."""
        pending = store.bind(tx, request_id, secrets.digest(self._browser()))
        return None if pending is None else self._read_pending(tx, pending)

    def _find(self, tx: Transaction, request_id: str) -> tuple[Client, AuthorizationRequest, RequestProgress] | None:
        pending = store.of_browser(tx, request_id, secrets.digest(self._browser()))
        return None if pending is None else self._read_pending(tx, pending)

    def _read_pending(self, tx: Transaction, pending: Pending) -> tuple[Client, AuthorizationRequest, RequestProgress] | None:
        asked = AuthorizationRequest.load(pending.asked)
        client = self._services.clients.get(tx, asked.client_id)
        if client is None or not client.check_redirect_uri(asked.redirect_uri):
            return None  # removed or changed while the person was away
        progress = RequestProgress(
            pending.created_at,
            signed_in_by=pending.signed_in_by,
            selected_by=pending.selected_by,
            consented_by=pending.consented_by,
            denied=pending.denied_at is not None,
        )
        return client, asked, progress

    def finish(self, tx: Transaction, request_id: str) -> bool:
        """Use the stored request up; False when something else already did."""
        return store.use(tx, request_id)

    def tidy(self, tx: Transaction) -> int:
        """Delete requests that nobody can go on with; returns their number."""
        return store.forget_expired(tx, REMEMBERED, MOST_REMEMBERED)

    # -- as every page of a request sees it ------------------------------------------------------------------------

    def over(self, tx: Transaction, request_id: str) -> Over | None:
        """What became of a request of this browser that is over; None while it is open, and when it is unknown."""
        pending = store.known_to_browser(tx, request_id, secrets.digest(self._browser()))
        if pending is None or (pending.used_at is None and pending.expires_at > tx.now):
            return None
        asked, answered = AuthorizationRequest.load(pending.asked), pending.used_at is not None
        client = self._services.clients.get(tx, asked.client_id)
        if client is None:
            return None
        refusal = None if answered or not client.check_redirect_uri(asked.redirect_uri) else _too_late(asked)
        return Over(client, asked.ui_locales, answered, None if refusal is None else self._error_at(request_id, refusal))

    def _error_at(self, request_id: str, refusal: RequestRefusedError) -> str:
        fields = response_modes.whole(response_modes.error_fields(refusal.error), refusal.state, self._issuer)
        return response_modes.address(refusal.redirect_uri, refusal.response_mode, fields) or self.location(
            request_id, onward=True
        )

    def expired(self, tx: Transaction, request_id: str) -> RequestRefusedError | None:
        """The refusal that takes the person back to the app from a request that expired; None for any other."""
        over = self.over(tx, request_id)
        pending = store.known_to_browser(tx, request_id, secrets.digest(self._browser()))
        return (
            None
            if over is None or over.error_at is None or pending is None
            else _too_late(AuthorizationRequest.load(pending.asked))
        )

    # -- as the sign-in page sees it (accounts.pages.PendingRequests) ---------------------------------------------

    def sign_in(self, tx: Transaction, request_id: str) -> PendingSignIn | None:
        """What the sign-in page shows of a stored request."""
        found = self._find(tx, request_id)
        if found is None:
            return None
        client, asked, _ = found
        return PendingSignIn(
            client=client,
            login_hint=asked.login_hint,
            redirect_uri=asked.redirect_uri,
            subject_required=asked.subject_required,
            ui_locales=asked.ui_locales,
        )

    def signed_in(self, tx: Transaction, request_id: str, subject: str) -> None:
        """Somebody signed in for this request."""
        if self._find(tx, request_id) is not None:
            store.done_by(tx, request_id, "signed_in_by", subject)

    def select(self, tx: Transaction, request_id: str, subject: str) -> None:
        """The person goes on as who they are."""
        if self._find(tx, request_id) is not None:
            store.done_by(tx, request_id, "selected_by", subject)

    def goes_on(self, tx: Transaction, request_id: str, session: Session) -> bool:
        """Whether the request asks for no sign-in of who is signed in already."""
        found = self._find(tx, request_id)
        if found is None:
            return False
        _, asked, progress = found
        person = Person(session.subject, session.auth_time)
        return rules.next_step(asked, progress, person, tx.now, consent_needed=False) is not Step.SIGN_IN

    # -- as the consent page sees it (consent.pages.PendingConsents) ----------------------------------------------

    def consent(self, tx: Transaction, request_id: str) -> PendingConsent | None:
        """What the consent page shows of a stored request."""
        found = self._find(tx, request_id)
        if found is None:
            return None
        client, asked, _ = found
        parts, origin = urlsplit(asked.redirect_uri), _unassured_origin(client, asked)
        host = (parts.hostname if origin is None else parts.netloc) or parts.scheme
        told = {name for place in claims.PLACES for name in may_be_told(asked.scope, client.scope, asked.claims, place)}
        return PendingConsent(client, asked.to_be_allowed, asked.redirect_uri, host, origin, asked.ui_locales, told)

    def allow(self, tx: Transaction, request_id: str, subject: str) -> None:
        """The person allowed it."""
        store.done_by(tx, request_id, "consented_by", subject)

    def deny(self, tx: Transaction, request_id: str) -> None:
        """The person did not allow it, or selected no account: they want to go back to the app."""
        store.deny(tx, request_id)

    def location(self, request_id: str, *, onward: bool = False) -> str:
        """Where the request goes on: from a form of ours, or `onward` from where no form of ours led."""
        return f"authorize?{CONTINUE}={request_id}" + (f"&{ONWARD}=1" if onward else "")


def _too_late(asked: AuthorizationRequest) -> RequestRefusedError:
    """Keycloak's answer to the same, too: the app may ask again, and nothing says that the person refused."""
    error = AuthorizationError("temporarily_unavailable", _TOOK_TOO_LONG)
    return RequestRefusedError(error, asked.redirect_uri, asked.response_mode, asked.state)


def _unassured_origin(client: Client, asked: AuthorizationRequest) -> str | None:
    """Where the answer would go to whichever program listens there; None where it reaches the client alone."""
    return None if client.is_assured_at(asked.redirect_uri) else uris.origin(asked.redirect_uri)
