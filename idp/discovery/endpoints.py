"""Whether this instance is well: `/health/live`, `/health/ready`, `/metrics`. The documents themselves are ready bytes."""

import os
from ipaddress import ip_address

from flask import Blueprint, Response, abort, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from idp.config import Network
from idp.discovery import health
from idp.discovery.health import LIVE, READY, RETRY_AFTER, Health
from idp.runtime.endpoints import blueprint, json_response


def endpoints(well: Health, metrics_allow: tuple[Network, ...], *, proxies_are_named: bool) -> Blueprint:
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

    @routes.get("/metrics")
    def metrics() -> Response:
        address = ip_address(request.remote_addr or "0.0.0.0")  # noqa: S104 - an address in no allowed network
        # Who comes through a proxy that nobody named has the proxy's address, which may well be an allowed one.
        disguised = "X-Forwarded-For" in request.headers and not proxies_are_named
        if disguised or not any(address in network for network in metrics_allow):
            abort(404)
        return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)

    return routes


def _registry() -> CollectorRegistry:
    """Every worker process's figures together, where `idp serve` runs several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
