"""Shared Signals endpoints (SSF 1.0 §8.1): streams. Polling has a lane of its own (`poll`)."""

from typing import Protocol

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Blueprint, Response, request

from idp.protocol import errors, scopes
from idp.runtime.database import Database, Transaction
from idp.runtime.web.endpoints import blueprint, json_response
from idp.signals import requests
from idp.signals.bearer import client_of
from idp.signals.requests import MalformedError
from idp.signals.rules import SEEN_SECONDS, Stream
from idp.signals.streams import StreamError, StreamService
from idp.tokens.service import TokenService


class _Client(Protocol):
    def __call__(self, tx: Transaction, allowed: tuple[str, ...] = ...) -> str:
        """The client that asks, if it may. Raises OAuth2Error."""


_CREATED = 201
_MANAGE = (scopes.SSF_MANAGE,)
_READ = (scopes.SSF_MANAGE, scopes.SSF_READ)


def endpoints(database: Database, tokens: TokenService, streams: StreamService, *, loopback_http: bool) -> Blueprint:
    """The endpoints for receivers."""
    routes = blueprint("signals")
    routes.register_error_handler(StreamError, _stream_error)
    routes.register_error_handler(MalformedError, _malformed)

    def client(tx: Transaction, allowed: tuple[str, ...] = _MANAGE) -> str:
        return client_of(tx, tokens, request.headers.get("Authorization", ""), allowed)

    _configuring(routes, database, client, streams, loopback_http=loopback_http)
    _running(routes, database, client, streams)
    return routes


def _configuring(
    routes: Blueprint, database: Database, client: _Client, streams: StreamService, *, loopback_http: bool
) -> None:
    """A stream is made, read, changed and deleted (SSF 1.0 §8.1.1)."""

    @routes.post("/ssf/streams")
    def create() -> Response:
        asked = requests.configuration(_body(), loopback_http=loopback_http)
        with database.writing() as tx:
            return json_response(_CREATED, streams.configuration(streams.create(tx, client(tx), asked)))

    @routes.get("/ssf/streams")
    def read() -> Response:
        stream_id = request.args.get("stream_id")
        with database.reading() as tx:
            client_id = client(tx, _READ)
            if stream_id is None:
                return json_response(200, [streams.configuration(stream) for stream in streams.of_client(tx, client_id)])
            stream = streams.get(tx, client_id, stream_id)
        _note(database, streams, stream)
        return json_response(200, streams.configuration(stream))

    @routes.route("/ssf/streams", methods=["PATCH", "PUT"])
    def configure() -> Response:
        sent = _body()
        asked = requests.configuration(sent, loopback_http=loopback_http)
        with database.writing() as tx:
            client_id = client(tx)
            stream = streams.get(tx, client_id, requests.stream_id(sent))
            requests.check_supplied(sent, streams.configuration(stream))
            whole = request.method == "PUT"
            return json_response(
                200, streams.configuration(streams.configure(tx, client_id, stream.stream_id, asked, whole=whole))
            )

    @routes.delete("/ssf/streams")
    def end() -> Response:
        with database.writing() as tx:
            streams.end(tx, client(tx), _named())
        return Response(status=204)


def _running(routes: Blueprint, database: Database, client: _Client, streams: StreamService) -> None:
    """Status, subjects and verification (SSF 1.0 §8.1.2 to §8.1.4)."""

    @routes.get("/ssf/status")
    def status() -> Response:
        with database.reading() as tx:
            stream = streams.get(tx, client(tx, _READ), _named())
        _note(database, streams, stream)
        return json_response(200, _status(stream))

    @routes.post("/ssf/status")
    def set_status() -> Response:
        sent = _body()
        asked = requests.status(sent)
        with database.writing() as tx:
            return json_response(200, _status(streams.set_status(tx, client(tx), requests.stream_id(sent), asked)))

    @routes.post("/ssf/subjects/add")
    def add_subject() -> Response:
        sent = _body()
        with database.writing() as tx:
            streams.add_subject(tx, client(tx), requests.stream_id(sent), requests.subject(sent))
        return Response(status=200)

    @routes.post("/ssf/subjects/remove")
    def remove_subject() -> Response:
        sent = _body()
        with database.writing() as tx:
            streams.remove_subject(tx, client(tx), requests.stream_id(sent), requests.subject(sent))
        return Response(status=204)

    @routes.post("/ssf/verify")
    def verify() -> Response:
        sent = _body()
        with database.writing() as tx:
            streams.verify(tx, client(tx), requests.stream_id(sent), requests.state(sent))
        return Response(status=204)


def _named() -> str:
    """The stream that the query names."""
    stream_id = request.args.get("stream_id")
    if stream_id is None:
        description = "stream_id is missing."
        raise InvalidRequestError(description)
    return stream_id


def _note(database: Database, streams: StreamService, stream: Stream) -> None:
    """Whoever asks for a stream is active (SSF 1.0 §8.1.1, `inactivity_timeout`). Written down once a minute, as polls are."""
    if database.clock() - stream.seen_at >= SEEN_SECONDS:
        with database.writing() as tx:
            streams.note(tx, stream)


def _status(stream: Stream) -> dict[str, object]:
    """A stream's status (SSF 1.0 §8.1.2)."""
    shown: dict[str, object] = {"stream_id": stream.stream_id, "status": stream.status}
    return shown if stream.status_reason is None else shown | {"reason": stream.status_reason}


def _body() -> dict[str, object]:
    return requests.body(request.get_data())


def _stream_error(error: StreamError) -> Response:
    code = {404: "not_found", 409: "conflict", 429: "too_many_requests"}.get(error.status, "invalid_request")
    headers = [("Retry-After", str(error.retry_after))] if error.retry_after is not None else []
    return json_response(error.status, {"error": code, "error_description": error.description}, headers)


def _malformed(error: MalformedError) -> Response:
    return json_response(400, {"error": "invalid_request", "error_description": errors.description(str(error))})
