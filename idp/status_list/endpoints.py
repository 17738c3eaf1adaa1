"""`GET /status/{n}` and `GET /status` (Token Status List §8, §9): public, cacheable, readable from any page."""

import json

from flask import Blueprint, Response, abort, request

from idp.protocol.status_list import MEDIA_TYPE
from idp.status_list import rules
from idp.status_list.service import StatusListService

_METHODS = "GET, HEAD, OPTIONS"


def endpoints(lists: StatusListService) -> Blueprint:
    """The status lists."""
    routes = Blueprint("status_list_endpoints", __name__)

    @routes.get("/status/<text>", strict_slashes=True)
    def one(text: str) -> Response:
        _demand(MEDIA_TYPE)
        if "time" in request.args:
            abort(501)  # no history is kept, and none is shown (§8.4, §12.7)
        number = rules.number_of(text)
        found = None if number is None else lists.get(number)
        if found is None:
            abort(404)
        ready, seconds = found
        return _negotiated(ready, seconds)

    @routes.get("/status", strict_slashes=True)
    def aggregation() -> Response:
        _demand("application/json")
        uris, seconds = lists.uris()
        return _cacheable(Response(json.dumps({"status_lists": uris}), content_type="application/json"), seconds)

    @routes.after_request
    def open_to_every_page(response: Response) -> Response:
        response.vary.update(("Accept", "Accept-Encoding"))
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = "*, Authorization"
            response.headers["Access-Control-Max-Age"] = "86400"
        return response

    return routes


def _demand(media_type: str) -> None:
    """Refuse whoever wants something else, a CWT for instance. Who says nothing knows what comes (§8.1)."""
    if request.accept_mimetypes and request.accept_mimetypes.quality(media_type) <= 0:
        abort(406)


def _negotiated(ready: rules.ReadyStatusList, seconds: int) -> Response:
    zipped = request.accept_encodings.quality("gzip") > 0
    response = Response(ready.zipped if zipped else ready.body, content_type=MEDIA_TYPE)
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.set_etag(f"{ready.etag}-gzip" if zipped else ready.etag)
    return _cacheable(response, seconds)


def _cacheable(response: Response, seconds: int) -> Response:
    """Every cache on the way together may keep it for as long as it says what is so."""
    response.headers["Cache-Control"] = f"public, max-age={seconds}, must-revalidate"
    response.make_conditional(request)
    return response
