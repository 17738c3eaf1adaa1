"""The recipes for APIs, run as they are written: a request without a good token is refused, and told why."""

import ast
import asyncio
import json
import logging
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from idp.verifier import Verifier
from tests.documentation.blocks import block, blocks, pages
from tests.house.code import ROOT
from tests.verifier.conftest import until
from tests.verifier.signing import CLIENT, access_token
from tests.verifier.transmitter import Transmitter

AUDIENCE = "https://api.example"
PAGE = "docs/verifier.md"


@pytest.fixture
def transmitter() -> Iterator[Transmitter]:
    provider = Transmitter()
    yield provider
    provider.close()


def names(provider: Transmitter) -> dict[str, Any]:
    return {"ISSUER": provider.issuer, "AUDIENCE": AUDIENCE, "CLIENT_ID": CLIENT, "CLIENT_SECRET": "secret"}


def tokens(provider: Transmitter) -> dict[str, tuple[str | None, int, str]]:
    """What is sent as `Authorization`, the status that it deserves, and a word that must stand in the answer."""
    return {
        "good": (f"Bearer {access_token(provider.issuer, aud=AUDIENCE)}", 200, ""),
        "in other letters": (f"bearer  {access_token(provider.issuer, aud=AUDIENCE)}", 200, ""),
        "none": (None, 401, "missing"),
        "empty": ("", 401, "missing"),
        "another scheme": ("Basic eDp5", 401, "missing"),
        "no value": ("Bearer ", 401, "missing"),
        "of another audience": (f"Bearer {access_token(provider.issuer, aud='https://other.example')}", 401, "audience"),
        "of another issuer": (f"Bearer {access_token('https://other.example', aud=AUDIENCE)}", 401, "issuer"),
        "expired": (f"Bearer {access_token(provider.issuer, aud=AUDIENCE, exp=1_000_000_000)}", 401, "expired"),
        "garbage": ("Bearer garbage", 401, "malformed"),
    }


def judged(answer: tuple[int, dict[str, str], dict[str, str]], status: int, word: str) -> None:
    found, headers, body = answer
    assert found == status, body
    if status == 401:
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert body["error"] == "invalid_token"
        assert word in body["error_description"]
        if word == "missing":  # RFC 6750 §3.1
            assert headers["WWW-Authenticate"] == "Bearer"
        else:
            assert f'error_description="{word}: ' in headers["WWW-Authenticate"]


def test_flask(transmitter: Transmitter) -> None:
    space = names(transmitter) | {"__name__": "recipe"}
    exec(compile(block(PAGE, "Flask"), PAGE, "exec"), space)
    try:
        assert space["verifier"].wait(10)
        web = space["app"].test_client()
        for sent, status, word in tokens(transmitter).values():
            answer = web.get("/whoami", headers={} if sent is None else {"Authorization": sent})
            judged((answer.status_code, dict(answer.headers), answer.json), status, word)
        assert web.get("/nowhere").status_code == 401
    finally:
        space["verifier"].close()


class JsonResponse:
    """As much of Django's as the recipe uses."""

    def __init__(self, data: dict[str, str], *, status: int, headers: dict[str, str]) -> None:
        self.content, self.status_code, self.headers = json.dumps(data), status, headers


def test_django(transmitter: Transmitter, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("django.http")
    module.JsonResponse = JsonResponse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django", ModuleType("django"))
    monkeypatch.setitem(sys.modules, "django.http", module)
    space = names(transmitter)
    before = threading.active_count()
    exec(compile(block(PAGE, "Django"), PAGE, "exec"), space)
    assert threading.active_count() == before, "to import it starts nothing: Django imports settings in each command"
    middleware = space["LocalTokens"](lambda _request: SimpleNamespace(status_code=200, headers={}, content="{}"))
    try:
        assert middleware.verifier.wait(10)
        for sent, status, word in tokens(transmitter).values():
            answer = middleware(SimpleNamespace(headers={} if sent is None else {"Authorization": sent}))
            judged((answer.status_code, answer.headers, json.loads(answer.content)), status, word)
    finally:
        middleware.verifier.close()


class HTTPException(Exception):
    """As much of FastAPI's as the recipe uses."""

    def __init__(self, status_code: int, detail: dict[str, str], headers: dict[str, str]) -> None:
        super().__init__(detail)
        self.answer = status_code, headers, detail


class FastAPI:
    def __init__(self, *, lifespan: Any) -> None:
        self.lifespan, self.state = lifespan, SimpleNamespace()

    def get(self, _path: str) -> Any:
        return lambda handler: handler


def test_fastapi(transmitter: Transmitter, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fastapi")
    vars(module).update(FastAPI=FastAPI, HTTPException=HTTPException, Depends=lambda _of: None, Request=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "fastapi", module)
    space = names(transmitter)
    exec(compile(block(PAGE, "FastAPI"), PAGE, "exec"), space)

    async def walk() -> None:
        app = space["app"]
        async with app.lifespan(app):
            assert await app.state.verifier.wait(10)
            for sent, status, word in tokens(transmitter).values():
                request = SimpleNamespace(app=app, headers={} if sent is None else {"Authorization": sent})
                try:
                    claims = await space["authenticated"](request)
                except HTTPException as refusal:
                    judged(refusal.answer, status, word)
                else:
                    assert status == 200
                    assert (await space["whoami"](claims))["sub"]

    asyncio.run(walk())


def test_what_is_refused_stands_in_the_log_with_its_reason_and_without_the_token(
    transmitter: Transmitter, caplog: pytest.LogCaptureFixture
) -> None:
    from idp.verifier import Poll, TokenError, bearer_token

    caplog.set_level(logging.INFO, "idp.verifier")
    with Verifier(transmitter.issuer, AUDIENCE, follow=Poll(CLIENT, "secret")) as verifier:
        assert verifier.wait(10)
        for sent, status, word in tokens(transmitter).values():
            if status == 401 and word != "missing":
                caplog.clear()
                with pytest.raises(TokenError):
                    verifier.verify(bearer_token(sent))
                lines = [record for record in caplog.records if record.name == "idp.verifier"]
                assert len(lines) == 1
                assert f"token refused: {word}: " in lines[0].getMessage()
                assert str(sent).partition(" ")[2] not in lines[0].getMessage() or word == "malformed"
                assert (lines[0].levelno == logging.WARNING) is (word in {"audience", "issuer"})
        transmitter.end_session("sid-1")
        token = access_token(transmitter.issuer, aud=AUDIENCE, sid="sid-1")
        until(lambda: verifier.has_ended([("sid", "sid-1")]))
        with pytest.raises(TokenError) as ended:
            verifier.verify(token)
        assert ended.value.reason == "ended"
        assert 'error_description="ended: ' in ended.value.headers["WWW-Authenticate"]


def test_an_answer_never_breaks_its_header() -> None:
    from idp.verifier import ClaimError, StaleError
    from idp.verifier.rules import Claims

    error = ClaimError('of another issuer than "\\\r\nSet-Cookie: x=1\u2028é' + "x" * 1000, "issuer")
    value = error.headers["WWW-Authenticate"]
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 4
    assert len(value) < 300
    stale = StaleError("what is known is old", Claims({}, "k"))
    assert (stale.status, stale.headers, stale.body["error"]) == (503, {"Retry-After": "5"}, "temporarily_unavailable")


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in pages()])
def test_every_block_of_python_compiles(page: str) -> None:
    for code in blocks(page):
        compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
