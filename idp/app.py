"""The web application: every room's routes over the services of `idp.provider`, and what every request goes through."""

from pathlib import Path
from urllib.parse import unquote

from flask import Flask, Response, g, request
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException, InternalServerError

from idp import resources
from idp.accounts import endpoints as accounts_endpoints
from idp.accounts import pages as accounts_pages
from idp.accounts import profile
from idp.authorization import pages as authorization_pages
from idp.authorization.browser_state import BrowserState
from idp.brand import pages as brand_pages
from idp.brand.pages import brand_of
from idp.clients import pages as clients_pages
from idp.config import Settings
from idp.consent import pages as consent_pages
from idp.discovery import endpoints as discovery_endpoints
from idp.discovery.health import HealthLane
from idp.discovery.metrics import Scrapes
from idp.discovery.service import document, metadata_of
from idp.grants import endpoints as grants_endpoints
from idp.grants.server import AuthorizationServer, GrantServices
from idp.keys.signer import SigningUnavailableError
from idp.logout import endpoints as logout_endpoints
from idp.logout import pages as logout_pages
from idp.protocol.uris import origin
from idp.provider import Provider, build
from idp.registration import endpoints as registration_endpoints
from idp.runtime import audit
from idp.runtime.inbound.documents import DocumentsFirst
from idp.runtime.outage import DatabaseUnavailableError
from idp.runtime.web.endpoints import brought_values, in_words, json_response
from idp.runtime.web.foreign_forms import OUR_ORIGIN, refuse_foreign_forms
from idp.runtime.web.headers import HSTS, NO_STORE, STRICT, content_security_policy
from idp.runtime.web.pages import PageError, error_page, set_up_templates
from idp.runtime.web.stale_forms import NOT_OF_NOW
from idp.signals import discovery as signals_discovery
from idp.signals import endpoints as signals_endpoints
from idp.signals.poll import PollLane
from idp.signals.poll_service import PollService
from idp.signals.set_signer import SetSigner
from idp.status_list import endpoints
from idp.tokens import endpoints as tokens_endpoints

__all__ = ["MAXIMUM_BODY", "Provider", "build", "create_app", "health_lane", "poll_lane"]

MAXIMUM_BODY = 64 * 1024
_NO_DATABASE = "The database does not do its work at this moment."
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


def poll_lane(provider: Provider) -> PollLane:
    """Where those wait who poll for security events, in the event loop of a server process."""
    settings = provider.settings
    sets = SetSigner(settings.issuer, provider.keys)
    return PollLane(
        PollService(provider.database, provider.tokens, provider.streams, sets, provider.hub),
        provider.hub,
        issuer_path=unquote(settings.issuer_path),
        secure=settings.secure,
        most=settings.signals_followers,
        longest_wait=settings.signals_longest_wait,
    )


def health_lane(provider: Provider) -> HealthLane:
    """Where a server process says how it is, in its event loop."""
    settings = provider.settings
    return HealthLane(provider.health, issuer_path=unquote(settings.issuer_path), secure=settings.secure)


def create_app(provider: Provider) -> Flask:
    """The web application over a provider's services."""
    settings = provider.settings
    app = Flask("idp", static_folder=str(Path(__file__).parent / "static"), template_folder=None)
    set_up_templates(app, _template_folders(settings), provider_name=settings.provider_name, brand=brand_of(settings))
    # Werkzeug would redirect `//jwks` to an address made of the request's `Host`.
    app.url_map.merge_slashes = app.url_map.strict_slashes = False
    _configure(app, provider)
    app.before_request(_keep_body)  # before CSRFProtect reads the form, after which the raw body would be gone
    app.before_request(refuse_foreign_forms)
    csrf = CSRFProtect(app)
    _register(app, provider, csrf)
    _harden(app, settings)
    _handle_errors(app)
    transmitter = signals_discovery.document(settings.issuer)
    announced = document(metadata_of(settings))
    app.wsgi_app = DocumentsFirst(  # type: ignore[method-assign]
        app.wsgi_app,
        issuer=settings.issuer,
        documents={
            "/jwks": provider.keys.document,
            "/.well-known/openid-configuration": lambda: announced,
            "/.well-known/oauth-authorization-server": lambda: announced,
            "/.well-known/ssf-configuration": lambda: transmitter,
        },
        trusted_proxies=settings.trusted_proxies,
        trusted_headers=settings.trusted_headers,
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
        **{clients_pages.LOGOS: provider.settings.clients_logos, OUR_ORIGIN: origin(provider.settings.issuer)},
    )


def _register(app: Flask, provider: Provider, csrf: CSRFProtect) -> None:
    database, clients, tokens, settings = provider.database, provider.clients, provider.tokens, provider.settings
    authorization = provider.authorization
    browser_state = BrowserState(provider.secrets, secure=settings.secure) if settings.sessions_management else None
    grants = GrantServices(settings.issuer, clients, provider.codes, provider.issuing, provider.logout)
    machines = [
        grants_endpoints.endpoints(database, AuthorizationServer(grants)),
        tokens_endpoints.endpoints(database, clients, tokens),
        logout_endpoints.endpoints(database, clients, tokens, provider.logout),
        accounts_endpoints.endpoints(database, clients, provider.accounts, tokens),
        signals_endpoints.endpoints(database, tokens, provider.streams, loopback_http=not settings.secure),
        discovery_endpoints.endpoints(provider.health, Scrapes.of(settings)),
    ]
    if settings.clients_registration != "off":
        ends = provider.logout.end_client, provider.logout.end_withdrawn
        machines.append(registration_endpoints.endpoints(database, clients, provider.registrations, *ends, settings.issuer))
    if settings.signals_status_list:
        machines.append(endpoints.endpoints(provider.status_lists))
    # These two are posted to by relying parties; what a person answers on their pages is checked there.
    open_pages = [
        authorization_pages.pages(database, authorization, settings.issuer, browser_state),
        logout_pages.pages(database, clients, tokens, provider.logout, provider.streams, settings.issuer),
    ]
    for open_to_others in (*machines, *open_pages):
        csrf.exempt(open_to_others)
        app.register_blueprint(open_to_others)
    app.register_blueprint(brand_pages.pages(settings))
    app.register_blueprint(
        consent_pages.pages(
            database,
            clients,
            provider.consents,
            authorization,
            accounts_pages.Addresses(settings),
            profile.told,
            settings.issuer,
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
    audit.hide(brought_values)

    @app.errorhandler(CSRFError)
    def csrf(_error: CSRFError) -> Response:
        return error_page(PageError("invalid_request", "The CSRF token is missing or does not match.", NOT_OF_NOW))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        # What answers an error, or follows an answer, may need the database as well.
        reason = getattr(error, "original_exception", None)
        if isinstance(reason, DatabaseUnavailableError):
            return _not_now(_NO_DATABASE, reason.retry_after)
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
        audit.warn("key.cannot_sign", error=str(error), path=request.path)
        return _not_now("Tokens cannot be signed at this moment.", 5)

    @app.errorhandler(DatabaseUnavailableError)
    def cannot_store(error: DatabaseUnavailableError) -> Response:
        """The log knows it already (`idp.runtime.availability`)."""
        return _not_now(_NO_DATABASE, error.retry_after)

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        audit.fail("request.failed", error, path=request.path)
        return refused(InternalServerError())


def _not_now(description: str, retry_after: int) -> Response:
    """RFC 6749 §4.1.2.1 names the code; the transaction is rolled back, so nothing that was presented is used up."""
    code = "temporarily_unavailable"
    if request.path.startswith(_FOR_MACHINES):
        response = json_response(503, {"error": code, "error_description": description}, tuple(NO_STORE.items()))
    else:
        sentence = "We cannot do that at this moment. Nothing was changed: please try again in a minute."
        response = error_page(PageError(code, description, sentence, 503))
    response.headers["Retry-After"] = str(retry_after)
    return response
