"""Security events (docs/threats.md 17, 21, 40, 50): who may follow, what they may send, and what they cannot make us do."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from idp.protocol import events
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.signals.follower import SCOPES, Follower, receiver_of
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PUSH = "urn:ietf:rfc:8935"
EVERY_ENDPOINT = [
    ("POST", "streams"), ("GET", "streams"), ("PATCH", "streams"), ("PUT", "streams"), ("DELETE", "streams"), ("GET", "status"),
    ("POST", "status"), ("POST", "subjects/add"), ("POST", "subjects/remove"), ("POST", "verify"), ("POST", "poll/{stream_id}"),
]  # fmt: skip

CHANGING = [each for each in EVERY_ENDPOINT if each[0] not in {"GET", "DELETE"}]
#: What Python's JSON takes, and a database or a signature does not.
STRANGE = ['"\\u0000"', '"\\ud800"', "NaN", "-Infinity", "1e999", "[]", "{}", "9" * 4000]


@pytest.fixture
def follower(provider: RunningProvider) -> Iterator[Follower]:
    made = Follower.of(provider)
    yield made
    made.close()


def ask(follower: Follower, method: str, path: str, token: str | None) -> httpx.Response:
    """A request to any of the endpoints, about the follower's own stream."""
    address = f"{follower.provider.issuer}/ssf/{path.format(stream_id=follower.stream_id)}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    stream = {"stream_id": follower.stream_id}
    body = stream | {"status": "enabled", "subject": {"format": "opaque", "id": "nobody"}, "returnImmediately": True}
    return http.request(
        method, address, headers=headers, params=stream, json=body if method in {"POST", "PATCH", "PUT"} else None
    )


@pytest.mark.parametrize(("method", "path"), EVERY_ENDPOINT)
def test_nobody_gets_in_without_a_token_or_with_a_wrong_one(follower: Follower, method: str, path: str) -> None:
    for token in (None, "x", "a.b.c", follower.token + "x"):
        refused = ask(follower, method, path, token)
        assert refused.status_code == 401, (token, refused.text)
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert "no-store" in refused.headers["Cache-Control"]
    assert "error=" not in ask(follower, method, path, None).headers["WWW-Authenticate"]


@pytest.mark.parametrize(("method", "path"), EVERY_ENDPOINT)
def test_a_token_without_the_scope_opens_nothing(provider: RunningProvider, follower: Follower, method: str, path: str) -> None:
    right = "ssf.read" if path.startswith("poll") else "ssf.manage"
    wrong = follower.access_token("ssf.manage" if right == "ssf.read" else "ssf.read")
    refused = ask(follower, method, path, wrong)
    if method == "GET":  # who may poll may look at its own stream
        assert refused.status_code == 200
        refused = ask(
            follower, method, path, receiver_of(provider, scope="other").token("client_credentials").json()["access_token"]
        )
    assert refused.status_code == 403, refused.text
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("method", "path"), EVERY_ENDPOINT)
def test_the_token_of_a_person_opens_nothing_whatever_its_scope(
    provider: RunningProvider, person: Person, follower: Follower, method: str, path: str
) -> None:
    app = RelyingParty.register(provider, scope=f"openid {SCOPES}")
    token = app.sign_in(person, scope=f"openid {SCOPES}")["access_token"]
    assert ask(follower, method, path, token).status_code == 401


@pytest.mark.parametrize(("method", "path"), EVERY_ENDPOINT)
def test_another_clients_stream_is_not_there(provider: RunningProvider, follower: Follower, method: str, path: str) -> None:
    if (method, path) == ("POST", "streams"):
        return
    other = Follower.of(provider)
    refused = ask(follower, method, path, other.token)
    assert refused.status_code == 404, refused.text
    never = ask(Follower(provider, other.app, stream={"stream_id": "never-was"}), method, path, other.token)
    assert never.status_code == 404
    assert never.text.replace("never-was", "") == refused.text.replace(follower.stream_id, "")
    assert follower.poll().status_code == 200
    other.close()


def test_a_token_in_the_query_or_the_body_is_none(follower: Follower) -> None:
    address = follower.stream["delivery"]["endpoint_url"]
    assert http.post(address, params={"access_token": follower.token}, json={}).status_code == 401
    assert http.post(address, data={"access_token": follower.token}).status_code in {400, 401}


def test_a_client_cannot_acknowledge_for_another(provider: RunningProvider, follower: Follower) -> None:
    other = Follower.of(provider)
    while other.follow() or follower.follow():
        pass
    with provider.services.database.writing() as tx:
        provider.services.logout.end_access_token(tx, f"attack-{follower.stream_id}", tx.now + 300)
    heard = list(other.poll(wait=5).json()["sets"])
    other.poll(ack=heard)
    assert list(follower.poll().json()["sets"]) == heard


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"\xff\xfe", b"{", b"[" * 60_000, b'{"a":' * 10_000, json.dumps({"stream_id": ["x"]}).encode(),
     json.dumps({"stream_id": "x" * 60_000}).encode(), b'{"stream_id": "\\u0000"}'],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), CHANGING)
@ON_ONE_DATABASE
def test_whatever_is_sent_the_answer_is_a_refusal_and_no_fault(follower: Follower, method: str, path: str, body: bytes) -> None:
    address = f"{follower.provider.issuer}/ssf/{path.format(stream_id=follower.stream_id)}"
    headers = {"Authorization": f"Bearer {follower.token}", "Content-Type": "application/json"}
    answer = http.request(method, address, headers=headers, content=body, timeout=40)
    assert answer.status_code in {400, 404} or (answer.status_code, path) in {(200, "poll/{stream_id}"), (201, "streams")}, (
        answer.text
    )


@pytest.mark.parametrize(("method", "path"), CHANGING)
def test_no_value_is_too_strange_for_an_answer(follower: Follower, method: str, path: str) -> None:
    """Each is an answer of the endpoint's own on both databases: no fault, and no "come again" for one's neighbours."""
    address = f"{follower.provider.issuer}/ssf/{path.format(stream_id=follower.stream_id)}"
    headers = {"Authorization": f"Bearer {follower.token}", "Content-Type": "application/json"}
    good = {
        "stream_id": json.dumps(follower.stream_id),
        "subject": '{"format": "opaque", "id": "nobody"}',
        "status": '"enabled"',
    }
    good |= {"returnImmediately": "true"}
    for value in STRANGE:
        for name, said in {
            "stream_id": value, "status": value, "reason": value, "state": value, "events_requested": f"[{value}]", "iss": value,
            "delivery": f'{{"method": {value}}}', "subject": f'{{"format": "opaque", "id": {value}}}', "ack": f"[{value}]",
            "setErrs": f'{{"x": {{"err": {value}}}}}', "maxEvents": value,
        }.items():  # fmt: skip
            body = ", ".join(f'"{member}": {text}' for member, text in (good | {name: said}).items())
            answer = follower.http.request(method, address, headers=headers, content=f"{{{body}}}".encode())
            assert answer.status_code < 500, (name, value, answer.text)
            if answer.status_code == 201:
                follower.call("DELETE", "streams", stream_id=answer.json()["stream_id"])
    assert follower.poll().status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "streams"), ("DELETE", "streams"), ("GET", "status")])
def test_a_strange_name_in_the_query_is_that_of_no_stream(follower: Follower, method: str, path: str) -> None:
    for name in ("\x00", "\ufffe", "x" * 5000, "a b", "'"):
        assert follower.call(method, path, stream_id=name).status_code in {400, 404}, name


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "stream_id", ["", "/", "x/y", "..", "%00", "%0a", "%2e%2e", "a" * 5000, "ü", "'; DROP TABLE signals; --"]
)
def test_a_stream_of_a_strange_name_is_not_there(follower: Follower, stream_id: str) -> None:
    headers = {"Authorization": f"Bearer {follower.token}"}
    answer = http.post(f"{follower.provider.issuer}/ssf/poll/{stream_id}", headers=headers, json={"returnImmediately": True})
    assert answer.status_code in {400, 404}, answer.text


@ON_ONE_DATABASE
def test_a_poll_is_a_post_and_no_larger_than_any_request(follower: Follower) -> None:
    address = follower.stream["delivery"]["endpoint_url"]
    headers = {"Authorization": f"Bearer {follower.token}"}
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = http.request(method, address, headers=headers)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    large = http.post(address, headers=headers, json={"ack": ["x" * 100_000]})
    assert large.status_code in {404, 413}


@ON_ONE_DATABASE
def test_answers_carry_the_headers_of_every_answer(follower: Follower) -> None:
    for answer in (follower.poll(), follower.poll(token="x"), follower.call("GET", "streams")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Set-Cookie" not in answer.headers


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "https://10.0.0.1/events", "https://[::ffff:10.0.0.1]/events", "https://0x7f.1/events"],
)
def test_a_push_to_our_own_network_is_never_sent(provider: RunningProvider, url: str) -> None:
    """Refused when it is asked for where that can be seen, and at the connection always."""
    app = receiver_of(provider)
    follower = Follower(provider, app)
    follower.token = follower.access_token()
    made = follower.call("POST", "streams", {"delivery": {"method": PUSH, "endpoint_url": url}})
    if made.status_code == 400:
        return
    assert made.status_code == 201
    stream_id = made.json()["stream_id"]
    follower.call("POST", "verify", {"stream_id": stream_id})
    services = provider.services

    def pushed():
        with services.database.reading() as tx:
            return [one for one in services.deliveries.listed(tx, limit=1000) if one.payload.get("stream_id") == stream_id]

    until = threading.Event()
    for _ in range(100):
        if any(one.last_error for one in pushed()):
            break
        until.wait(0.1)
    found = pushed()
    assert found
    assert all(one.delivered_at is None for one in found)
    assert any("not contacted" in str(one.last_error) for one in found), [one.last_error for one in found]


def test_too_many_followers_are_asked_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"SIGNALS_FOLLOWERS": "3", "SECRET_KEY": "a test secret that is long enough: really"}
    crowded = RunningProvider(tmp_path_factory.mktemp("crowded"), "", settings)
    try:
        crowded.start()
        follower = Follower.of(crowded)
        while follower.follow():
            pass
        answers: list[int] = []

        def wait() -> None:
            answers.append(follower.poll(wait=2).status_code)

        waiting = [threading.Thread(target=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        until = threading.Event()
        refused = None
        for _ in range(40):
            until.wait(0.05)
            refused = follower.poll()
            if refused.status_code == 503:
                break
        assert refused is not None
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert http.get(f"{crowded.issuer}/health/live").status_code == 200
        for thread in waiting:
            thread.join()
        assert answers == [200, 200, 200]
        assert follower.poll().status_code == 200
        follower.close()
    finally:
        crowded.close()


def test_a_set_passes_for_no_other_token(
    provider: RunningProvider, person: Person, follower: Follower, app: RelyingParty
) -> None:
    follower.call("POST", "verify", {"stream_id": follower.stream_id, "state": "x"})
    (text, *_) = reversed(follower.poll(wait=5).json()["sets"].values())
    assert app.userinfo(text).status_code == 401
    assert app.introspect(text) == {"active": False}
    assert follower.poll(token=text).status_code == 401
    page = person.open(f"logout?id_token_hint={text}")
    assert page.main != "logout-page" or "error" not in page.texts
    assert events.VERIFICATION in follower.verified(text)["events"]
