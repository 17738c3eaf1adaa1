"""Redirect URIs: nothing but the registered string matches, save a loopback port (RFC 9700 §2.1, RFC 8252 §7.3)."""

import re
import string

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from idp.protocol import uris
from idp.runtime.web.pages import see_other

REGISTERED = "https://app.example/callback"
LOOPBACK = "http://127.0.0.1/callback"
RFC_3986 = string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%"

SEGMENTS = st.text(string.ascii_letters + string.digits + "-._~%!$&'()*+,;=:@", max_size=8)
HTTPS = st.builds(
    lambda host, path, query: f"https://{host}.example/{path}{query}",
    st.text(string.ascii_lowercase, min_size=1, max_size=8),
    st.lists(SEGMENTS, max_size=3).map("/".join),
    st.sampled_from(["", "?", "?x=1", "?x=1&y=%20"]),
)


def mutations(uri: str) -> st.SearchStrategy[str]:
    """Small changes of a URI: a character more, less, other, in another case or percent-encoded."""
    position = st.integers(0, len(uri) - 1)
    characters = st.sampled_from(RFC_3986 + ' \t\r\n\x00"\\<>^`{|}\x7fäА\uff0e\u2024')
    return st.one_of(
        st.builds(lambda at, char: uri[:at] + char + uri[at:], position, characters),
        st.builds(lambda at: uri[:at] + uri[at + 1 :], position),
        st.builds(lambda at, char: uri[:at] + char + uri[at + 1 :], position, characters),
        st.builds(lambda at: uri[:at] + uri[at:].swapcase(), position),
        st.builds(lambda at: uri[:at] + f"%{ord(uri[at]):02X}" + uri[at + 1 :], position),
        st.builds(lambda at: uri[:at] + f"%{ord(uri[at]):02x}" + uri[at + 1 :], position),
        st.builds(lambda tail: uri + tail, st.text(RFC_3986 + " \n\\", min_size=1, max_size=8)),
        st.builds(lambda head: head + uri, st.text(RFC_3986 + " \n\\", min_size=1, max_size=8)),
    )


@given(st.data(), st.booleans())
@settings(deadline=None, max_examples=200)
def test_only_the_very_same_string_matches(data: st.DataObject, native: bool) -> None:
    registered = data.draw(HTTPS)
    presented = data.draw(mutations(registered))
    assert uris.is_registered(registered, [registered], any_port=native)
    assert uris.is_registered(presented, [registered], any_port=native) is (presented == registered)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_of_a_loopback_uri_only_the_port_may_vary_and_only_for_native_apps(data: st.DataObject) -> None:
    registered = data.draw(st.sampled_from([LOOPBACK, "http://[::1]/callback", "http://127.0.0.1:8400/a?b=c", "http://[::1]"]))
    presented = data.draw(mutations(registered))
    assert uris.is_registered(presented, [registered], any_port=False) is (presented == registered)
    without = re.sub(r"^(http://(?:127\.0\.0\.1|\[::1\])):[0-9]{1,5}(?=[/?]|\Z)", r"\1", presented)
    expected = re.sub(r"^(http://(?:127\.0\.0\.1|\[::1\])):[0-9]{1,5}(?=[/?]|\Z)", r"\1", registered)
    if uris.is_registered(presented, [registered], any_port=True):
        assert without == expected


@given(st.integers(1, 65535))
@settings(deadline=None)
def test_a_native_app_may_come_back_on_any_loopback_port(port: int) -> None:
    assert uris.is_registered(f"http://127.0.0.1:{port}/callback", [LOOPBACK], any_port=True)
    assert uris.is_registered(f"http://127.0.0.1:{port}/callback", ["http://127.0.0.1:1/callback"], any_port=True)
    assert uris.is_registered(f"http://[::1]:{port}/callback", ["http://[::1]/callback"], any_port=True)
    assert not uris.is_registered(f"http://[::1]:{port}/callback", [LOOPBACK], any_port=True)
    assert not uris.is_registered(f"http://127.0.0.1:{port}/callback", [LOOPBACK], any_port=False)


@pytest.mark.parametrize(
    "presented",
    [
        "http://localhost:1234/callback",
        "http://127.0.0.2:1234/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:123456/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:-1/callback",
        "http://127.0.0.1:12 34/callback",
        "http://127.0.0.1:1234@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:1234.evil.example/callback",
        "http://127.0.0.1:1234\\@evil.example/callback",
        "http://127.0.0.1:1234/callback/",
        "http://127.0.0.1:1234/callback?x",
        "http://127.0.0.1:1234/callback#",
        "http://127.0.0.1:1234/callback\n",
        "http://127.0.0.1:1234/Callback",
        "http://127.0.0.1:1234/../callback",
        "http://user@127.0.0.1:1234/callback",
        "https://127.0.0.1:1234/callback",
        "HTTP://127.0.0.1:1234/callback",
        "http://127.1:1234/callback",
        "http://2130706433:1234/callback",
        "http://[::ffff:127.0.0.1]:1234/callback",
    ],
)
def test_what_only_looks_like_the_loopback_uri_does_not_match(presented: str) -> None:
    assert not uris.is_registered(presented, [LOOPBACK], any_port=True)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://app.example/x",
        "about:blank",
        "mailto:a@example.org",
        "ftp://app.example/x",
        "http://app.example/callback",
        "https://*.app.example/callback",
        "https://*/callback",
        "https:///callback",
        "https:callback",
        "https:/callback",
        "//app.example/callback",
        "/callback",
        "callback",
        "",
        "https://app.example/callback#fragment",
        "https://app.example/callback#",
        "https://user@app.example/callback",
        "https://user:pass@app.example/callback",
        "https://@app.example/callback",
        "https://app.example:0/callback",
        "https://app.example:65536/callback",
        "https://app.example:port/callback",
        "https://[::1/callback",
        "https://app.example/call back",
        "https://app.example/callback\r\nX: y",
        "https://app.example/callback\x00",
        "https://app.example\\@evil.example/callback",
        'https://app.example/"onload="x',
        "https://app.example/<script>",
        "https://app.exämple/callback",
        " https://app.example/callback",
        "https://app.example/" + "a" * 2048,
        "com.example.app:/callback",
    ],
)
def test_an_unsafe_redirect_uri_cannot_be_registered_by_a_web_app(uri: str) -> None:
    assert uris.redirect_uri_problem(uri, native=False, loopback_http=False) is not None


@pytest.mark.parametrize(
    "uri", ["javascript:alert(1)", "data:text/html,x", "myapp:/callback", "intent:x", "http://app.example/x"]
)
def test_an_unsafe_redirect_uri_cannot_be_registered_by_a_native_app(uri: str) -> None:
    assert uris.redirect_uri_problem(uri, native=True, loopback_http=False) is not None


@pytest.mark.parametrize(
    "uri",
    ["com.example.app:/callback", "http://127.0.0.1/callback", "http://[::1]:80/callback", "http://localhost:1/x", REGISTERED],
)
def test_what_rfc_8252_allows_a_native_app_may_register(uri: str) -> None:
    assert uris.redirect_uri_problem(uri, native=True, loopback_http=False) is None


def test_plain_http_on_loopback_is_for_native_apps_and_for_development() -> None:
    assert uris.redirect_uri_problem("http://localhost:8001/callback", native=False, loopback_http=False) is not None
    assert uris.redirect_uri_problem("http://localhost:8001/callback", native=False, loopback_http=True) is None
    assert uris.redirect_uri_problem("http://localhost.evil.example/", native=False, loopback_http=True) is not None
    assert uris.redirect_uri_problem("http://127.0.0.1.evil.example/", native=True, loopback_http=True) is not None


@pytest.mark.parametrize(
    ("uri", "loopback_http", "good"),
    [
        ("https://app.example/backchannel?logout=backchannel", False, True),
        ("http://app.example/backchannel", True, False),
        ("http://localhost:8001/backchannel", True, True),
        ("http://localhost:8001/backchannel", False, False),
        ("https://app.example/x#y", True, False),
        ("https:///x", True, False),
        ("com.example.app:/x", True, False),
        ("javascript:alert(1)", True, False),
    ],
)
def test_endpoints_are_https_save_loopback_in_development(uri: str, loopback_http: bool, good: bool) -> None:
    assert (uris.endpoint_problem(uri, loopback_http=loopback_http) is None) is good


@given(st.text(max_size=60), st.booleans(), st.booleans())
@example("https://[", False, False)
@example("https://[v1.x]/", False, False)
@example("http://[::1%25eth0]/", True, True)
@settings(deadline=None)
def test_no_text_breaks_the_rules(uri: str, native: bool, loopback_http: bool) -> None:
    uris.is_wellformed(uri)
    uris.redirect_uri_problem(uri, native=native, loopback_http=loopback_http)
    uris.endpoint_problem(uri, loopback_http=loopback_http)
    uris.is_registered(uri, [REGISTERED, LOOPBACK], any_port=native)


ODD_URIS = st.builds(
    lambda scheme, host, port, rest: f"{scheme}{host}{port}{rest}",
    st.sampled_from(
        ["https://", "HTTPS://", "https:", "com.example.app://", "com.example.app:", "com.example.app:///", "http://"]
    ),
    st.one_of(
        st.sampled_from(
            [
                "app.example",
                "APP.example",
                "127.0.0.1",
                "[::1]",
                "localhost",
                "a..b",
                ".",
                "xn--a",
                "a" * 64,
                "a;b",
                "a,b",
                "'self'",
            ]
        ),
        st.text(RFC_3986, max_size=10),
    ),
    st.sampled_from(["", ":", ":443", ":8443", ":08"]),
    st.one_of(
        st.sampled_from(["", "/", "/callback", "?x=1", "/cb?x=[1]", "/cb?", "/a;b=c", "/%zz", "/cb?x=%20&"]),
        st.text(RFC_3986, max_size=12),
    ),
)


@given(ODD_URIS, st.booleans())
@example("https://a..b/callback", False)
@example("https://" + "a" * 64 + ".example/callback", False)
@example("https://app.example/callback?x=[1]", False)
@example("https://app.example/callback?", False)
@example("com.example.app:///callback", True)
@example("com.example.app:callback", True)
@settings(deadline=None, max_examples=200)
def test_whatever_may_be_registered_can_also_be_redirected_to_unchanged(uri: str, native: bool) -> None:
    if uris.redirect_uri_problem(uri, native=native, loopback_http=True) is not None:
        return
    target = uris.with_parameters(uri, [("code", "x"), ("state", "a b&c")])
    app = Flask("test")
    with app.test_request_context():
        response = see_other(target)
        assert response.get_wsgi_headers({"REQUEST_METHOD": "GET"})["Location"] == target


@given(ODD_URIS, st.booleans())
@example("https://a;frame-ancestors/callback", False)
@example("https://a,b/callback", False)
@example("https://'unsafe-inline'/callback", False)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
def test_the_origin_of_a_registered_uri_can_stand_in_a_content_security_policy(uri: str, native: bool) -> None:
    if uris.redirect_uri_problem(uri, native=native, loopback_http=True) is not None:
        return
    origin = uris.origin(uri)
    assert origin is None or re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", origin)


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://app.example/callback", "https://app.example"),
        ("https://APP.example:443/", "https://app.example"),
        ("https://app.example:8443/", "https://app.example:8443"),
        ("http://[::1]:8400/x", "http://[::1]:8400"),
        ("http://localhost", "http://localhost"),
        ("com.example.app:/x", None),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(uri: str, origin: str | None) -> None:
    assert uris.origin(uri) == origin


@pytest.mark.parametrize(
    ("uri", "whole"),
    [
        ("https://a.example/cb", "https://a.example/cb?code=1&state=a+b%26"),
        ("https://a.example/cb?x=%2F", "https://a.example/cb?x=%2F&code=1&state=a+b%26"),
        ("https://a.example/cb?", "https://a.example/cb?code=1&state=a+b%26"),
        ("https://a.example/cb?x&", "https://a.example/cb?x&code=1&state=a+b%26"),
    ],
)
def test_parameters_are_added_and_the_query_that_is_there_is_kept_to_the_letter(uri: str, whole: str) -> None:
    assert uris.with_parameters(uri, [("code", "1"), ("state", "a b&")]) == whole
    assert uris.with_parameters(uri, []) == uri
