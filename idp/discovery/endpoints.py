"""Whether this instance is well: `/health/live`, `/health/ready`, `/metrics`. The documents themselves are ready bytes."""

import os
from ipaddress import ip_address

from flask import Blueprint, Response, abort, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from idp.config import Network
from idp.keys.service import KeyService
from idp.runtime.database import Database
from idp.runtime.endpoints import blueprint, json_response

_PING = text("SELECT 1")


def endpoints(
    database: Database, keys: KeyService, metrics_allow: tuple[Network, ...], *, proxies_are_named: bool
) -> Blueprint:
    """Health and metrics."""
    routes = blueprint("discovery")

    @routes.get("/health/live")
    def live() -> Response:
        return json_response(200, {"status": "live"})

    @routes.get("/health/ready")
    def ready() -> Response:
        problem = _database_problem(database) or keys.problem()
        if problem is not None:
            return json_response(503, {"status": "not ready", "problem": problem}, [("Retry-After", "5")])
        return json_response(200, {"status": "ready"})

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


def _database_problem(database: Database) -> str | None:
    try:
        with database.reading() as tx:
            tx.execute(_PING)
    except SQLAlchemyError:
        return "The database cannot be reached."
    return None
