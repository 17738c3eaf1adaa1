"""Whatever is sent to any endpoint: never a failure, always the protocol's error or a page of ours.

A thousand requests in `make test`; `IDP_FUZZ=10000` sends as many as it says.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.attacks.raw import Answer
from tests.fuzz.seeds import Request, Spoil, spoils
from tests.support.serving import RunningProvider

COUNT = int(os.environ.get("IDP_FUZZ", "1000"))
#: Each batch begins with fresh tokens, codes and pages on each of the two databases.
BATCHES = max(2, COUNT // 1000)
EACH = COUNT // (2 * BATCHES)

DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")
PAGES = (
    "login-page select-account-page consent-page logout-page logout-done logout-cancelled error-page account-page home-page form-post-page over-page ask-again-page moving-on-page password-page apps-page profile-page"
).split()
#: What a form asks for that does not fit the session of now is asked for once more.
ASKED_ONCE_MORE = {"login-page", "select-account-page", "consent-page", "logout-page", "password-page", "ask-again-page"}
MACHINES = ("/token", "/introspect", "/revoke", "/userinfo", "/jwks", "/.well-known", "/health", "/metrics")

#: How many answers of each kind there were: a fuzzer that is refused at the door finds nothing.
seen: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """With `pytest -s`, say what was answered."""
    yield
    for answer, count in sorted(seen.items()):
        print(f"{count:6} {answer}")
    print(f"{seen.total():6} requests")


def check(request: Request, answer: Answer, provider: RunningProvider) -> None:
    """What holds for every answer to anything."""
    assert answer.status != 0 or not _is_http(request), "the connection was closed without an answer"
    assert answer.status < 500
    assert answer.header("X-Injected") is None
    kind = answer.header("Content-Type") or ""
    if answer.status in {0, 400, 408, 413, 414, 431} and kind == "":
        assert not _is_http(request) or not answer.body, "our own errors say what they are"
        return
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Referrer-Policy") == "no-referrer"
    assert "Traceback" not in answer
    if 300 <= answer.status < 400:
        _check_redirect(answer)
    elif answer.status >= 400:
        _check_error(request, answer, kind)
    elif kind.startswith("text/html") and answer.body:
        _page(answer)


def _is_http(request: Request) -> bool:
    """Whether a server must understand it: some methods and hosts are no HTTP, and never come as far as us."""
    strange = request.method in {"CONNECT", "get"} or any(name == "Host" for name, _ in request.headers)
    doubled = len([name for name, _ in request.headers if name == "Content-Length"]) > 1
    return not (
        strange or doubled or len(request.target()) > 60_000 or any(len(value) > 100_000 for _, value in request.headers)
    )


def _check_redirect(answer: Answer) -> None:
    assert answer.status in {303, 304}
    if answer.status == 303:
        location = str(answer.header("Location"))
        assert location.isascii()
        assert location.isprintable()
        parts = urlsplit(location)
        if parts.scheme or parts.netloc:
            ours = re.fullmatch(r"[0-9a-f]{8}\.example\.org", parts.netloc)
            native = location.startswith("com.example.app:/callback?") or re.match(
                r"http://127\.0\.0\.1(:[0-9]+)?/callback\?", location
            )
            assert ours or native, location


def _check_error(request: Request, answer: Answer, kind: str) -> None:
    if request.method == "HEAD" or (answer.status == 405 and not answer.body):
        return
    if kind == "application/json":
        body = json.loads(answer.body)
        assert re.fullmatch(r"[a-z_]+", body["error"])
        assert DESCRIPTION.fullmatch(body.get("error_description", "")), body
        return
    assert kind == "text/html; charset=utf-8", kind
    assert not urlsplit(request.path).path.startswith(MACHINES), "machines are told in JSON"
    assert _page(answer) in {"error-page", *ASKED_ONCE_MORE}


def _page(answer: Answer) -> str:
    """The id of the page's `main` element."""
    found = re.findall(r'<main id="([a-z-]+)"', answer.text)
    assert len(found) == 1, answer.text[:500]
    assert found[0] in PAGES
    assert "<script>alert" not in answer.text
    return str(found[0])


def test_the_requests_that_are_spoiled_are_good_ones(provider: RunningProvider, seeds: list[Request]) -> None:
    for request in seeds:
        answer = request.send(provider)
        check(request, answer, provider)
        assert answer.status in {200, 303} or request.path in {"/account/sign-out-everywhere", "/token", "/revoke"}, (
            request,
            answer,
        )


@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_that_is_sent_makes_the_provider_fail(provider: RunningProvider, seeds: list[Request], batch: int) -> None:
    failed = len(provider.events("request.failed"))

    @given(st.integers(0, len(seeds) - 1), st.lists(spoils(), min_size=1, max_size=4))
    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def attack(which: int, spoiling: list[Spoil]) -> None:
        request = seeds[which]
        for spoil in spoiling:
            request = spoil(request)
        note(f"{request!r}"[:4000])
        answer = request.send(provider)
        seen[f"{request.path.partition('?')[0]} {answer.status}"] += 1
        note(f"{answer!r}"[:2000])
        check(request, answer, provider)

    attack()
    assert provider.events("request.failed")[failed:] == []
    assert batch < BATCHES


def test_the_provider_is_well_after_all_that(provider: RunningProvider, seeds: list[Request]) -> None:
    for request in seeds:
        answer = request.send(provider)
        check(request, answer, provider)
    assert provider.events("request.failed") == []
