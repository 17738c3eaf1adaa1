"""Who sends this request."""

from starlette.requests import HTTPConnection

from examples.sessions import Session, Sessions

COOKIE = "arena_session"  # cookies know no ports: on localhost every app needs a name of its own


def current(connection: HTTPConnection, sessions: Sessions) -> Session | None:
    """Who sends this request or opens this socket. Asked anew each time: an ended session must not live on in a cache."""
    return sessions.find(connection.cookies.get(COOKIE))
