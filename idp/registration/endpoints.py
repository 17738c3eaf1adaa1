"""`/register` (RFC 7591, OpenID Registration 1.0), and `/register/ID` for whoever holds this client's own token (RFC 7592)."""

from authlib.oauth2.rfc6749.errors import OAuth2Error
from flask import Blueprint, Response, request

from idp.clients import rules
from idp.clients.metadata_fields import MetadataError
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.clients.update import check_update
from idp.clients.uri_checks import RegistrationBusyError
from idp.protocol import errors, strict_json
from idp.protocol.strict_json import JsonError
from idp.registration.service import Ends, EndsWithdrawn, NotAllowedError, Registered, RegistrationService, TooManyError
from idp.runtime import audit
from idp.runtime.database import Database
from idp.runtime.web.endpoints import blueprint, json_response


def endpoints(
    database: Database,
    clients: ClientService,
    registrations: RegistrationService,
    end_client: Ends,
    end_withdrawn: EndsWithdrawn,
    issuer: str,
) -> Blueprint:
    """The registration endpoint, and each client's own."""
    routes = blueprint("clients")
    routes.register_error_handler(MetadataError, _unfit)
    routes.register_error_handler(NotAllowedError, _not_allowed)
    routes.register_error_handler(TooManyError, _too_many)
    routes.register_error_handler(
        RegistrationBusyError, lambda _error: _too_many(TooManyError("Too many register at this moment.", 5))
    )

    @routes.post("/register")
    def register() -> Response:
        bearer = _bearer()
        registrations.admit(bearer, request.remote_addr or "unknown")
        sent = _sent()
        clients.inspect(sent)
        with database.writing() as tx:
            registered = registrations.register(tx, bearer, sent)
        return json_response(201, _answer(registered, issuer), _warned(clients, registered, sent))

    @routes.get("/register/<client_id>")
    def read(client_id: str) -> Response:
        bearer = _bearer()
        client = registrations.enter(client_id, bearer)
        return json_response(200, _managed(client, str(bearer), issuer) | dict(rules.registered(client)))

    @routes.put("/register/<client_id>")
    def update(client_id: str) -> Response:
        bearer = _bearer()
        client = registrations.enter(client_id, bearer)
        sent = _sent()
        check_update(client, sent)
        clients.inspect(sent)
        with database.writing() as tx:
            was = clients.get(tx, client_id)
            registered = registrations.replace(tx, client, sent)
            if was is not None:
                end_withdrawn(tx, was, registered.registration.client)
        return json_response(200, _answer(registered, issuer), _warned(clients, registered, sent))

    @routes.delete("/register/<client_id>")
    def delete(client_id: str) -> Response:
        bearer = _bearer()
        with database.writing() as tx:
            if not end_client(tx, registrations.find(tx, client_id, bearer).client_id):
                raise NotAllowedError  # somebody else was faster
        return Response(status=204)

    return routes


def _bearer() -> str | None:
    """The token in the header: never in the query, never in the body."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _sent() -> dict[str, object]:
    """The JSON object in the body."""
    if request.mimetype != "application/json":
        raise _NotJsonError
    try:
        return strict_json.load_object(request.get_data(cache=False))
    except JsonError as error:
        message = f"the body must be a JSON object ({error})"
        code = "invalid_redirect_uri" if error.where.startswith("redirect_uris") else "invalid_client_metadata"
        raise MetadataError(message, code) from None


def _answer(registered: Registered, issuer: str) -> dict[str, object]:
    """The client information response (RFC 7591 §3.2.1, RFC 7592 §3)."""
    registration = registered.registration
    return _managed(registration.client, registered.token, issuer) | registration.response()


def _warned(clients: ClientService, registered: Registered, sent: dict[str, object]) -> list[tuple[str, str]]:
    """What was likely meant otherwise: for the developer, in a header, and for the operator whom they ask, in the log.

    Unknown members are ignored, as RFC 7591 §2 demands; it does not demand silence. The body is what holds for the client, and
    nothing else; a header is passed over by whoever does not look for it.
    """
    warnings = clients.warnings(sent)
    if warnings:
        audit.record("client.doubtful", client_id=registered.registration.client.client_id, warning=warnings[0])
    said = ", ".join(f'299 - "{errors.description(each)}"' for each in warnings)
    return [("Warning", said)] if warnings else []


def _managed(client: Client, token: str, issuer: str) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at),
        "registration_client_uri": f"{issuer}/register/{client.client_id}",
        "registration_access_token": token,
    }


class _NotJsonError(OAuth2Error):
    """415 (RFC 9110 §15.5.16)."""

    def __init__(self) -> None:
        super().__init__("The body must be JSON, with Content-Type application/json.", error="invalid_request", status_code=415)


def _unfit(error: MetadataError) -> Response:
    return json_response(400, {"error": error.error, "error_description": errors.description(f"{error}.")})


def _not_allowed(_error: NotAllowedError) -> Response:
    """An unknown client and a wrong token look the same. Who showed no token is told of no error (RFC 6750 §3.1)."""
    description = "The Bearer token is missing, expired or used up, or it is not the one of this registration."
    challenge = 'Bearer realm="register"'
    if _bearer() is not None:
        challenge += f', error="invalid_token", error_description="{description}"'
    body = {"error": "invalid_token", "error_description": description}
    return json_response(401, body, [("WWW-Authenticate", challenge)])


def _too_many(error: TooManyError) -> Response:
    body = {"error": "temporarily_unavailable", "error_description": str(error)}
    return json_response(429, body, [("Retry-After", str(error.retry_after))])
