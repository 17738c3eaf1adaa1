"""The edge of every endpoint for machines: parameters read strictly, errors as JSON, CORS where browsers need it.

These blueprints set and read no cookie, so they need no CSRF token.
"""

import json
from collections.abc import Callable, Sequence

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from flask import Blueprint, Response, has_request_context, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from idp.protocol import errors
from idp.protocol.parameters import MalformedParametersError, Parameters
from idp.runtime.outage import DatabaseUnavailableError
from idp.runtime.web import brought
from idp.runtime.web.headers import NO_STORE

FORM = "application/x-www-form-urlencoded"
_CORS_HEADERS = "Authorization, Content-Type, DPoP"


def blueprint(name: str, *, allows_origin: Callable[[str], bool] | None = None) -> Blueprint:
    """A blueprint for machines. `allows_origin` switches CORS on, for the origins that it accepts."""
    machines = Blueprint(f"{name}_endpoints", __name__)
    machines.register_error_handler(OAuth2Error, error_response)

    @machines.after_request
    def finish(response: Response) -> Response:
        response.headers.update(NO_STORE)
        if allows_origin is not None:
            response.vary.add("Origin")
            origin = request.headers.get("Origin")
            if origin is not None and _allowed(origin, allows_origin):
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = "WWW-Authenticate"
                if request.method == "OPTIONS":
                    response.headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
                    response.headers["Access-Control-Allow-Methods"] = "GET, POST"
                    response.headers["Access-Control-Max-Age"] = "600"
        return response

    return machines


def _allowed(origin: str, allows_origin: Callable[[str], bool]) -> bool:
    """Whether pages of `origin` may read the answer. Without the database nobody may; what was answered stays true."""
    try:
        return allows_origin(origin)
    except DatabaseUnavailableError:
        return False


class UnsupportedMediaTypeError(InvalidRequestError):
    """A body of another kind than the one that is understood (RFC 9110 §15.5.16)."""

    status_code = 415


def form_parameters() -> Parameters:
    """The parameters in the body of a POST, each once; raises InvalidRequestError for anything else (RFC 6749 §3.2)."""
    if request.mimetype != FORM:
        description = f"The request must be a POST with Content-Type {FORM}."
        raise (UnsupportedMediaTypeError if request.mimetype else InvalidRequestError)(description)
    parameters = parse(request.get_data(cache=False))
    if parameters.repeated:
        raise InvalidRequestError(errors.description(f"The parameter {min(parameters.repeated)} is given more than once."))
    return parameters


def parse(encoded: bytes) -> Parameters:
    """Parameters, or InvalidRequestError with the reason."""
    try:
        return Parameters.parse(encoded)
    except MalformedParametersError as error:
        raise InvalidRequestError(errors.description(f"The request cannot be read: {error}.")) from None


def brought_values() -> set[str]:
    """Every value that this request brought; none where there is no request."""
    if not has_request_context():
        return set()
    try:
        body = request.get_data()
    except HTTPException:  # it is longer than anything that is read
        body = b""
    return brought.values(request.headers.items(), request.query_string.decode("latin-1"), body)


def json_response(status: int, body: object, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """A JSON answer."""
    response = Response(json.dumps(body), status=status, content_type="application/json")
    for name, value in headers:
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


def in_words(error: HTTPException) -> str:
    """What was wrong with a request as far as HTTP goes, and what is expected."""
    if isinstance(error, MethodNotAllowed):
        return errors.description(
            f"{request.method} is not possible here: use {' or '.join(sorted(error.valid_methods or ()))}."
        )
    if isinstance(error, RequestEntityTooLarge):
        return f"The body is too large: it may have {request.max_content_length} bytes."
    return str(error.name)


def error_response(error: OAuth2Error) -> Response:
    """A protocol error as JSON (RFC 6749 §5.2)."""
    status, body, headers = error()
    return json_response(status, body, headers)
