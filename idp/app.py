"""The one place that knows every room: what is built from what, and what every request goes through."""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, g, request
from flask_wtf.csrf import CSRFError, CSRFProtect
from jinja2 import ChoiceLoader, FileSystemLoader
from werkzeug.exceptions import HTTPException, InternalServerError

from idp import resources, retention
from idp.accounts import endpoints as accounts_endpoints
from idp.accounts import pages as accounts_pages
from idp.accounts.service import AccountService
from idp.authorization import pages as authorization_pages
from idp.authorization.browser_state import BrowserState
from idp.authorization.request_object import RequestObjects
from idp.authorization.request_uri import Documents
from idp.authorization.service import AuthorizationService
from idp.authorization.service import Services as AuthorizationServices
from idp.clients import endpoints as clients_endpoints
from idp.clients import pages as clients_pages
from idp.clients.keys import ClientKeys
from idp.clients.outside import Outside
from idp.clients.registration import RegistrationService
from idp.clients.registration_rules import Policy as RegistrationPolicy
from idp.clients.service import ClientService
from idp.config import Settings, SettingsError
from idp.consent import pages as consent_pages
from idp.consent.service import ConsentService
from idp.delivery.service import DeliveryService
from idp.delivery.worker import Worker
from idp.discovery import endpoints as discovery_endpoints
from idp.discovery.service import document, metadata_of
from idp.grants import endpoints as grants_endpoints
from idp.grants.server import AuthorizationServer
from idp.grants.server import Services as GrantServices
from idp.grants.service import CodeService
from idp.housekeeping import Housekeeper
from idp.keys.holders import Holder, SigningUnavailableError
from idp.keys.rules import Policy as KeyPolicy
from idp.keys.service import KeyService
from idp.logout import endpoints as logout_endpoints
from idp.logout import pages as logout_pages
from idp.logout.check import Checker
from idp.logout.reaper import Reaper
from idp.logout.rules import BACKCHANNEL, LOGOUT_TOKEN_LIFETIME
from idp.logout.service import LogoutService
from idp.runtime import audit
from idp.runtime.clock import Clock, system_clock
from idp.runtime.database import Database
from idp.runtime.endpoints import in_words, json_response
from idp.runtime.front import Front
from idp.runtime.headers import HSTS, NO_STORE, STRICT, content_security_policy
from idp.runtime.lane import Lane
from idp.runtime.outbound import Outbound
from idp.runtime.pages import PageError, error_page
from idp.runtime.secrets import Secrets
from idp.sessions.rules import Policy as SessionPolicy
from idp.sessions.service import SessionService
from idp.signals import discovery as signals_discovery
from idp.signals import endpoints as signals_endpoints
from idp.signals import status_list_endpoints, status_list_rules
from idp.signals.answers import Answers
from idp.signals.hub import Hub
from idp.signals.poll import PollLane
from idp.signals.push import KIND as PUSHED
from idp.signals.push import Pushing
from idp.signals.service import SignalService
from idp.signals.sets import SetMaker
from idp.signals.status_list_service import StatusLists
from idp.signals.streams import StreamService, Timing
from idp.tokens import endpoints as tokens_endpoints
from idp.tokens.rules import Policy as TokenPolicy
from idp.tokens.service import TokenService

MAXIMUM_BODY = 64 * 1024
#: For the hub, and then for the attempts in flight: both together are less than the 4 seconds that a process has to stop in.
_STOP_SECONDS = 1.75
_FOR_MACHINES = (
    "/token",
    "/introspect",
    "/revoke",
    "/userinfo",
    "/health",
    "/metrics",
    "/jwks",
    "/.well-known",
    "/status",
    "/ssf",
    "/register",
)


@dataclass(frozen=True)
class Provider:
    """Every service of one deployment, built from its settings. Commands and the web application share it."""

    settings: Settings
    database: Database
    secrets: Secrets
    keys: KeyService
    clients: ClientService
    registrations: RegistrationService
    sessions: SessionService
    deliveries: DeliveryService
    tokens: TokenService
    status_lists: StatusLists
    signals: SignalService
    streams: StreamService
    logout: LogoutService
    outbound: Outbound
    checker: Checker
    accounts: AccountService
    consents: ConsentService
    codes: CodeService
    authorization: AuthorizationService
    worker: Worker
    hub: Hub
    reaper: Reaper
    housekeeper: Housekeeper

    def start(self) -> None:
        """Start what runs beside the requests: the key schedule, the delivery worker, the hub, the housekeeping."""
        self.keys.start()
        self.worker.start()
        self.hub.start()
        self.reaper.start()
        self.housekeeper.start()

    def stop(self) -> None:
        """Stop it again, and close the database."""
        self.housekeeper.stop()
        self.reaper.stop()
        self.worker.stop(0)  # from here on it takes nothing more: it has the hub's time, too
        self.hub.stop(_STOP_SECONDS)
        self.keys.stop()
        self.worker.stop(_STOP_SECONDS)
        self.database.dispose()


def key_policy(settings: Settings) -> KeyPolicy:
    """The schedule of keys; what the rooms above sign decides how long a retired key must verify."""
    longest = max(
        _longest_token(settings),
        LOGOUT_TOKEN_LIFETIME,
        status_list_rules.lifetime(settings.signals_status_ttl) if settings.signals_status_list else 0,
    )
    return KeyPolicy(
        settings.keys_rotation_period,
        settings.keys_jwks_max_age,
        settings.keys_clock_skew,
        longest,
        settings.keys_verifier_cooldown,
    )


def _longest_token(settings: Settings) -> int:
    """For how many seconds a token of a person may be valid."""
    return max(settings.tokens_access_token_lifetime, settings.tokens_id_token_lifetime)


def registration_policy(settings: Settings) -> RegistrationPolicy:
    """Who may register clients, and how many."""
    return RegistrationPolicy(
        settings.clients_registration,
        settings.clients_registration_limit,
        settings.clients_registration_hourly,
        settings.clients_registration_unused,
    )


def build(settings: Settings, clock: Clock = system_clock) -> Provider:
    """Build every service. Nothing is started, and the database is not touched yet. Raises SettingsError."""
    problem = key_policy(settings).problem()
    if problem is not None:
        raise SettingsError(problem)
    database = Database(settings.database, clock)
    secrets = Secrets(settings.secret_keys)
    keys = KeyService(
        database,
        secrets,
        key_policy(settings),
        settings.keys_rsa_bits,
        algorithms=settings.keys_algorithms,
        hsm=_hsm(settings, clock),
    )
    outbound = Outbound(
        allow=settings.outbound_allow,
        allow_loopback=not settings.secure,
        ca_file=settings.outbound_ca_file,
        timeout=settings.delivery_timeout,
    )
    clients = ClientService(
        database,
        cache_seconds=settings.clients_cache_seconds,
        loopback_http=not settings.secure,
        id_token_algs=settings.keys_algorithms,
        response_types=settings.authorization_response_types,
        issuer=settings.issuer,
        secrets=secrets,
        keys=ClientKeys(outbound, clock, cache_seconds=settings.clients_jwks_cache_seconds),
        outside=Outside(outbound),
        unused_seconds=settings.clients_registration_unused,
    )
    registrations = RegistrationService(database, clients, registration_policy(settings), secrets)
    session_policy = SessionPolicy(settings.sessions_idle_timeout, settings.sessions_absolute_timeout)
    sessions = SessionService(database, session_policy, secrets)
    deliveries = DeliveryService(database, lanes=settings.delivery_lanes)
    token_policy = TokenPolicy(
        settings.issuer,
        settings.tokens_access_token_lifetime,
        settings.tokens_id_token_lifetime,
        settings.tokens_refresh_token_lifetime,
        settings.tokens_refresh_retry_window,
        settings.signals_status_list,
    )
    tokens = TokenService(token_policy, keys, clients, sessions, secrets)
    delivery_lifetime = max(settings.delivery_lifetime, _longest_token(settings))
    pushing = Pushing(settings.issuer, deliveries, keys, secrets, delivery_lifetime)
    signals = SignalService(
        database,
        settings.issuer,
        pushing,
        longest_token=_longest_token(settings),
        clock_skew=settings.keys_clock_skew,
        retention=settings.signals_retention,
    )
    timing = Timing(settings.signals_inactivity_timeout, settings.signals_min_verification_interval)
    streams = StreamService(signals, pushing, timing, clients)
    codes = CodeService(settings.authorization_code_lifetime)
    logout = LogoutService(
        settings.issuer,
        sessions,
        clients,
        deliveries,
        keys,
        delivery_lifetime,
        codes,
        signals,
        tokens.subjects,
        frontchannel=settings.logout_frontchannel,
    )
    worker = Worker(
        database,
        deliveries,
        outbound,
        {BACKCHANNEL: logout.compose, PUSHED: pushing.compose},
        concurrency=settings.delivery_concurrency,
        queue_limit=settings.delivery_queue_limit,
        poll_seconds=settings.delivery_poll_seconds,
    )
    accounts = AccountService(database, settings, secrets, logout)
    consents = ConsentService(logout)
    request_objects = RequestObjects(
        settings.issuer, clients, Documents(outbound.get), clock, settings.authorization_request_objects
    )
    authorization = AuthorizationService(
        database,
        AuthorizationServices(clients, accounts, sessions, tokens, codes, consents, request_objects),
        settings.authorization_request_lifetime,
        accounts_pages.browser_of_request,
        response_types=settings.authorization_response_types,
    )
    kept = retention.kept_for(settings, _longest_token(settings))
    return Provider(
        settings=settings,
        database=database,
        secrets=secrets,
        keys=keys,
        clients=clients,
        registrations=registrations,
        sessions=sessions,
        deliveries=deliveries,
        tokens=tokens,
        status_lists=StatusLists(database, tokens, keys, ttl=settings.signals_status_ttl),
        signals=signals,
        streams=streams,
        logout=logout,
        outbound=outbound,
        checker=Checker(settings.issuer, keys, outbound),
        accounts=accounts,
        consents=consents,
        codes=codes,
        authorization=authorization,
        worker=worker,
        hub=Hub(database, signals, keys.load),
        reaper=Reaper(database, logout),
        housekeeper=Housekeeper(
            database,
            [
                accounts.tidy,
                authorization.tidy,
                clients.tidy,
                codes.tidy,
                deliveries.tidy,
                registrations.tidy,
                tokens.tidy,
                signals.tidy,
                streams.tidy,
                *retention.tidies(kept, deliveries.forget, tokens.forget, sessions.forget),
            ],
        ),
    )


def _hsm(settings: Settings, clock: Clock) -> Holder | None:
    """The HSM in which new keys are made, where there is one. Raises SettingsError."""
    if settings.keys_pkcs11_module is None:
        return None
    try:
        from idp.keys.hsm import Hsm  # noqa: PLC0415 - it needs a package that is optional
    except ModuleNotFoundError:
        message = 'IDP_KEYS_PKCS11_MODULE needs the package python-pkcs11: install it with `pip install "idp[pkcs11]"`.'
        raise SettingsError(message) from None
    pin = settings.keys_pkcs11_pin.get_secret_value()
    return Hsm(str(settings.keys_pkcs11_module), settings.keys_pkcs11_token, pin, settings.keys_rsa_bits, clock)


def poll_lane(provider: Provider) -> Lane:
    """Where those wait who poll for security events, in the event loop of a server process."""
    settings = provider.settings
    sets = SetMaker(settings.issuer, provider.keys)
    return PollLane(
        Answers(provider.database, provider.tokens, provider.streams, sets, provider.hub),
        provider.hub,
        issuer_path=settings.issuer_path,
        secure=settings.secure,
        most=settings.signals_followers,
        longest_wait=settings.signals_longest_wait,
    )


def create_app(provider: Provider) -> Flask:
    """The web application over a provider's services."""
    settings = provider.settings
    app = Flask("idp", static_folder=str(Path(__file__).parent / "static"), template_folder=None)
    app.jinja_env.autoescape = True
    app.jinja_loader = ChoiceLoader([FileSystemLoader(folder) for folder in _template_folders(settings)])
    app.jinja_env.globals["provider_name"] = settings.provider_name
    # Werkzeug would redirect `//jwks` to an address made of the request's `Host`.
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    _configure(app, provider)
    app.before_request(_keep_body)  # before CSRFProtect reads the form, after which the raw body would be gone
    csrf = CSRFProtect(app)
    _register(app, provider, csrf)
    _harden(app, settings)
    _handle_errors(app)
    transmitter = signals_discovery.document(settings.issuer)
    announced = document(metadata_of(settings))
    app.wsgi_app = Front(  # type: ignore[method-assign]
        app.wsgi_app,
        issuer=settings.issuer,
        documents={
            "/jwks": provider.keys.document,
            "/.well-known/openid-configuration": lambda: announced,
            "/.well-known/oauth-authorization-server": lambda: announced,
            "/.well-known/ssf-configuration": lambda: transmitter,
        },
        trusted_proxies=settings.trusted_proxies,
    )
    app.extensions["idp"] = provider
    return app


def _keep_body() -> None:
    """Keep the body as it came: parameters are read from it strictly, once (`idp.protocol.parameters`)."""
    request.get_data()


def _template_folders(settings: Settings) -> list[str]:
    """An operator's pages come first; what they leave out is ours."""
    own = [str(settings.templates_dir)] if settings.templates_dir is not None else []
    return [*own, str(resources.folder("templates"))]


def _configure(app: Flask, provider: Provider) -> None:
    secure = provider.settings.secure
    cookie_keys = provider.secrets.keys("browser cookie")
    app.config.update(
        SECRET_KEY=cookie_keys[0],
        SECRET_KEY_FALLBACKS=list(cookie_keys[1:]),
        MAX_CONTENT_LENGTH=MAXIMUM_BODY,
        MAX_FORM_MEMORY_SIZE=MAXIMUM_BODY,
        SESSION_COOKIE_NAME="__Host-idp_session" if secure else "idp_session",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # `__Host-` demands the path `/` (RFC 6265bis §4.1.3.2).
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_TIME_LIMIT=None,
        # Flask-WTF would demand a Referer, which our own Referrer-Policy withholds; the token is what counts.
        WTF_CSRF_SSL_STRICT=False,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        **{clients_pages.LOGOS: provider.settings.clients_logos},
    )


def _register(app: Flask, provider: Provider, csrf: CSRFProtect) -> None:
    database, clients, tokens, settings = provider.database, provider.clients, provider.tokens, provider.settings
    authorization = provider.authorization
    browser_state = BrowserState(provider.secrets, secure=settings.secure) if settings.sessions_management else None
    grants = GrantServices(
        settings.issuer, clients, provider.sessions, tokens, provider.codes, provider.logout, provider.accounts
    )
    machines = [
        grants_endpoints.endpoints(database, AuthorizationServer(grants)),
        tokens_endpoints.endpoints(database, clients, tokens),
        logout_endpoints.endpoints(database, clients, tokens, provider.logout),
        accounts_endpoints.endpoints(database, clients, provider.accounts, tokens),
        signals_endpoints.endpoints(database, tokens, provider.streams, loopback_http=not settings.secure),
        discovery_endpoints.endpoints(
            database, provider.keys, settings.metrics_allow, proxies_are_named=bool(settings.trusted_proxies)
        ),
    ]
    if settings.clients_registration != "off":
        end_client = provider.logout.end_client
        machines.append(clients_endpoints.endpoints(database, clients, provider.registrations, end_client, settings.issuer))
    if settings.signals_status_list:
        machines.append(status_list_endpoints.endpoints(provider.status_lists))
    # These two are posted to by relying parties; what a person answers on their pages is checked there.
    open_pages = [
        authorization_pages.pages(database, authorization, settings.issuer, browser_state),
        logout_pages.pages(database, clients, tokens, provider.logout, provider.streams),
    ]
    for open_to_others in (*machines, *open_pages):
        csrf.exempt(open_to_others)
        app.register_blueprint(open_to_others)
    app.register_blueprint(
        consent_pages.pages(
            database, clients, provider.consents, authorization, accounts_pages.Addresses(settings), settings.issuer
        )
    )
    accounts_pages.install(app, provider, authorization)


def _harden(app: Flask, settings: Settings) -> None:
    """Security headers on every answer, error pages too."""

    @app.after_request
    def headers(response: Response) -> Response:
        for name, value in STRICT.items():
            response.headers.setdefault(name, value)
        if settings.secure:
            response.headers.setdefault(*HSTS)
        policy = content_security_policy(
            form_targets=g.get("form_targets", ()),
            forms_lead_anywhere=g.get("forms_lead_anywhere", False),
            scripts=g.get("scripts", False),
            frames=g.get("frames", ()),
            framed=g.get("framed", False),
            images=g.get("images", ()),
        )
        response.headers.setdefault("Content-Security-Policy", policy)
        if g.get("framed", False):
            del response.headers["X-Frame-Options"]
        return response


def _handle_errors(app: Flask) -> None:
    """Whatever goes wrong: JSON for machines, a page for people, and never a stack trace."""

    @app.errorhandler(CSRFError)
    def csrf(_error: CSRFError) -> Response:
        sentence = "This page was open for too long, or your browser did not send its cookie. Please try again."
        return error_page(PageError("invalid_request", "The CSRF token is missing or does not match.", sentence))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status = error.code or InternalServerError.code
        code = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}.get(status, "invalid_request")
        if status >= InternalServerError.code:
            code = "server_error"
        allowed = dict(error.get_headers()).get("Allow")
        description = in_words(error)
        if request.path.startswith(_FOR_MACHINES):
            response = json_response(status, {"error": code, "error_description": description}, tuple(NO_STORE.items()))
        else:
            response = error_page(PageError(code, description, "This page is not there, or not in this way.", status))
        if allowed is not None:
            response.headers["Allow"] = allowed
        return response

    @app.errorhandler(SigningUnavailableError)
    def cannot_sign(error: SigningUnavailableError) -> Response:
        """RFC 6749 §4.1.2.1 names the code; the transaction is rolled back, so nothing that was presented is used up."""
        audit.warn("key.cannot_sign", error=str(error), path=request.path)
        code, description = "temporarily_unavailable", "Tokens cannot be signed at this moment."
        if request.path.startswith(_FOR_MACHINES):
            response = json_response(503, {"error": code, "error_description": description})
        else:
            response = error_page(PageError(code, description, "Please try again in a minute.", 503))
        response.headers["Retry-After"] = "5"
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        audit.fail("request.failed", error, path=request.path)
        return refused(InternalServerError())
