"""Whether this instance is well: `/health/live`, `/health/ready`, `/metrics`. The documents themselves are ready bytes."""

import os

from flask import Blueprint, Response, abort, request
from prometheus_client import CONTENT_TYPE_LATEST

from idp.discovery import health
from idp.discovery.health import LIVE, READY, RETRY_AFTER, Health
from idp.discovery.metrics import PATH, Scrapes, figures
from idp.runtime.inbound.documents import sender_of
from idp.runtime.web.endpoints import blueprint, json_response


def endpoints(well: Health, scrapes: Scrapes) -> Blueprint:
    """Health and metrics. `idp serve` answers for the health in its event loop, in the same words (`health`)."""
    routes = blueprint("discovery")

    @routes.get(LIVE)
    def live() -> Response:
        return json_response(*health.live())

    @routes.get(READY)
    def ready() -> Response:
        problem = well.problem()
        headers = [("Retry-After", str(RETRY_AFTER))] if problem is not None else []
        return json_response(*health.ready(problem), headers)

    @routes.get(PATH)
    def metrics() -> Response:
        if scrapes.is_elsewhere:
            abort(404)
        if scrapes.token:
            if not scrapes.knows(request.headers.get("Authorization", "")):
                description = "The figures are for whoever presents the token in IDP_METRICS_TOKEN."
                challenge = [("WWW-Authenticate", "Bearer")]
                return json_response(401, {"error": "invalid_token", "error_description": description}, challenge)
        elif not scrapes.admits(sender_of(request.environ)):
            abort(404)
        return Response(figures(os.environ.get("PROMETHEUS_MULTIPROC_DIR")), content_type=CONTENT_TYPE_LATEST)

    return routes
