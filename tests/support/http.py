"""Requests of tests. One TLS context serves all of them: to load the CA bundle for each costs 40 ms of CPU.

The functions are those of `httpx`, each a connection of its own, without cookies. `client` is for whoever wants to keep them.
"""

from functools import cache, partial
from ssl import SSLContext
from typing import Any

import httpx


@cache
def context() -> SSLContext:
    """The TLS context of every request; a test's own certificates are not in it."""
    return httpx.create_ssl_context()


def client(**options: Any) -> httpx.Client:
    """A client of its own, with cookies of its own."""
    return httpx.Client(**({"verify": context()} | options))


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """One request on a connection that is closed after it."""
    return httpx.request(method, url, **({"verify": context()} | options))


get = partial(request, "GET")
options = partial(request, "OPTIONS")
head = partial(request, "HEAD")
post = partial(request, "POST")
put = partial(request, "PUT")
patch = partial(request, "PATCH")
delete = partial(request, "DELETE")
