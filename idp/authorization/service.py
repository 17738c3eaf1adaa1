"""Stored requests, their progress, and the code at the end."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from idp.accounts.pages import PendingSignIn
from idp.authorization import request, rules, store
from idp.authorization.rules import Asked, Pending, Person, Progress, Step
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.consent.pages import PendingConsent
from idp.consent.service import ConsentService
from idp.grants.service import Binding, CodeService
from idp.protocol import scopes
from idp.protocol.parameters import Parameters
from idp.runtime import secrets
from idp.runtime.database import Database, Transaction
from idp.sessions.rules import Session
from idp.tokens.rules import Authorization
from idp.tokens.service import TokenService

REQUEST_ID_BYTES = 24
CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Services:
    """What an authorization needs of the rooms below."""

    clients: ClientService
    tokens: TokenService
    codes: CodeService
    consents: ConsentService


class AuthorizationService:
    """The state of every authorization request. `browser` is the secret that binds one to the browser that began it."""

    def __init__(self, database: Database, services: Services, request_lifetime: int, browser: Callable[[], str]) -> None:
        self._database = database
        self._services = services
        self._lifetime = request_lifetime
        self._browser = browser

    def read(self, parameters: Parameters) -> tuple[Client, Asked]:
        """The request, valid. Raises UntrustedRequestError or RequestRefusedError."""

        def subject_of_hint(hint: str, client: Client) -> str | None:
            with self._database.reading() as tx:
                claims = self._services.tokens.id_token_hint(tx, hint)
                if claims is None or claims.get("aud") != client.client_id:
                    return None
                return self._services.tokens.subject_of(tx, client, str(claims["sub"]))

        return request.read(parameters, self._services.clients.find, subject_of_hint, self._services.tokens.id_token_algs)

    def next_step(self, tx: Transaction, client: Client, asked: Asked, progress: Progress, session: Session | None) -> Step:
        """What must happen next."""
        person = None if session is None else Person(session.subject, session.auth_time)
        needed = (
            person is not None
            and not client.first_party
            and not self._services.consents.covers(tx, person.subject, client.client_id, asked.scopes)
        )
        return rules.next_step(asked, progress, person, tx.now, consent_needed=needed)

    # -- stored requests ------------------------------------------------------------------------------------------

    def store(self, tx: Transaction, asked: Asked, *, bound: bool) -> str:
        """Store a request, bound to this browser, or to the first that goes on with it. Returns its identifier."""
        request_id = secrets.token(REQUEST_ID_BYTES)
        browser_hash = secrets.digest(self._browser()) if bound else None
        expires_at = tx.now + self._lifetime
        store.add(tx, Pending(request_id, asked.dump(), browser_hash, tx.now, expires_at, None, None, None, None, None))
        return request_id

    def resume(self, tx: Transaction, request_id: str) -> tuple[Client, Asked, Progress] | None:
        """A stored request of this browser; None when it is unknown, expired, used, or another browser's."""
        pending = store.bind(tx, request_id, secrets.digest(self._browser()))
        return None if pending is None else self._read_pending(tx, pending)

    def _find(self, tx: Transaction, request_id: str) -> tuple[Client, Asked, Progress] | None:
        pending = store.of_browser(tx, request_id, secrets.digest(self._browser()))
        return None if pending is None else self._read_pending(tx, pending)

    def _read_pending(self, tx: Transaction, pending: Pending) -> tuple[Client, Asked, Progress] | None:
        asked = Asked.load(pending.asked)
        client = self._services.clients.get(tx, asked.client_id)
        if client is None or not client.check_redirect_uri(asked.redirect_uri):
            return None  # removed or changed while the person was away
        progress = Progress(
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

    def issue(self, tx: Transaction, asked: Asked, session: Session) -> str:
        """The code for what the person allowed."""
        given = Authorization(
            client_id=asked.client_id,
            subject=session.subject,
            sid=session.sid,
            scope=asked.scope,
            offline=scopes.OFFLINE_ACCESS in asked.scopes,
            auth_time=session.auth_time,
            acr=session.acr,
            amr=session.amr,
        )
        redirect_uri = asked.redirect_uri if asked.redirect_uri_given else None
        return self._services.codes.issue(tx, session.sid, given, Binding(redirect_uri, asked.code_challenge, asked.nonce))

    def tidy(self, tx: Transaction) -> int:
        """Delete requests that nobody can go on with; returns their number."""
        return store.forget_expired(tx)

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
        )

    def signed_in(self, tx: Transaction, request_id: str, subject: str) -> None:
        """Somebody signed in for this request."""
        if self._find(tx, request_id) is not None:
            store.done_by(tx, request_id, "signed_in_by", subject)

    def select(self, tx: Transaction, request_id: str, subject: str) -> None:
        """The person goes on as who they are."""
        if self._find(tx, request_id) is not None:
            store.done_by(tx, request_id, "selected_by", subject)

    # -- as the consent page sees it (consent.pages.PendingConsents) ----------------------------------------------

    def consent(self, tx: Transaction, request_id: str) -> PendingConsent | None:
        """What the consent page shows of a stored request."""
        found = self._find(tx, request_id)
        if found is None:
            return None
        client, asked, _ = found
        host = urlsplit(asked.redirect_uri).hostname or urlsplit(asked.redirect_uri).scheme
        return PendingConsent(client, asked.scopes, asked.redirect_uri, host)

    def allow(self, tx: Transaction, request_id: str, subject: str) -> None:
        """The person allowed it."""
        store.done_by(tx, request_id, "consented_by", subject)

    def deny(self, tx: Transaction, request_id: str) -> None:
        """The person did not allow it."""
        store.deny(tx, request_id)

    def location(self, request_id: str) -> str:
        """Where the request goes on."""
        return f"authorize?{CONTINUE}={request_id}"
