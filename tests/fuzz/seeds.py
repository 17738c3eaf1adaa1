"""Requests that the provider understands, and the ways to spoil them."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote_from_bytes, urlsplit

from hypothesis import strategies as st

from tests.attacks import raw
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"
FORM = "application/x-www-form-urlencoded"
Pairs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Request:
    """A request, its parameters still apart. `body` is sent in place of `form` when it is not None."""

    method: str
    path: str
    query: Pairs = ()
    form: Pairs = ()
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes | None = None

    def target(self) -> bytes:
        """Path and query as they are sent."""
        return self.path.encode() + (b"?" + encoded(self.query) if self.query else b"")

    def content(self) -> bytes:
        """The body as it is sent."""
        return encoded(self.form) if self.body is None else self.body

    def send(self, provider: RunningProvider) -> raw.Answer:
        """Send it."""
        return raw.send(provider, self.method, self.target(), self.headers, self.content())


def encoded(pairs: Pairs) -> bytes:
    """Parameters, percent-encoded where a URL must be; bytes that no encoder would produce are kept."""
    return b"&".join(
        quote_from_bytes(name, safe="%").encode() + b"=" + quote_from_bytes(value, safe="%").encode() for name, value in pairs
    )


def pairs(**parameters: str) -> Pairs:
    return tuple((name.encode(), value.encode()) for name, value in parameters.items())


def headers(
    *, cookie: str = "", basic: tuple[str, str] | None = None, bearer: str = "", form: bool = False
) -> tuple[tuple[str, bytes], ...]:
    found = [("Content-Type", FORM.encode())] if form else []
    if cookie:
        found.append(("Cookie", cookie.encode()))
    if basic:
        found.append(("Authorization", b"Basic " + b64encode(":".join(basic).encode())))
    if bearer:
        found.append(("Authorization", b"Bearer " + bearer.encode()))
    return tuple(found)


def good_requests(provider: RunningProvider) -> list[Request]:
    """One request of each kind that works; each is tried once so that none is taken for good that is not."""
    app = RelyingParty.register(
        provider,
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
        scope="openid profile email offline_access reports",
    )
    third_party = RelyingParty.register(provider, first_party=False)
    post = RelyingParty.register(provider, token_endpoint_auth_method="client_secret_post")
    public = RelyingParty.register(
        provider,
        token_endpoint_auth_method="none",
        application_type="native",
        redirect_uris=["http://127.0.0.1/callback", "com.example.app:/callback"],
    )
    person, stranger = Person(provider.issuer), Person(provider.issuer)
    tokens = app.sign_in(person)
    others = public.sign_in(person)
    consent = person.open(third_party.authorization_url())
    select = person.open(app.authorization_url(prompt="select_account"))
    login = stranger.open(app.authorization_url())
    confirm = person.open("logout")
    account = person.open("account")
    cookie = "; ".join(f"{name}={value}" for name, value in person.http.cookies.items())
    other_cookie = "; ".join(f"{name}={value}" for name, value in stranger.http.cookies.items())
    code = app.code_from(person.open(app.authorization_url()))
    redeeming = pairs(grant_type="authorization_code", code=code, redirect_uri=app.redirect_uri, code_verifier=app.verifier)
    public_code = public.code_from(person.open(public.authorization_url()))
    client_id, secret = app.auth or ("", "")
    post_id, post_secret = post.auth or ("", "")
    bye = str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]

    def page(form, button: str, **values: str) -> Pairs:  # noqa: ANN001 - a Form
        name, value = form.buttons.get(button, ("", ""))
        return pairs(**(form.fields | values | ({name: value} if name else {})))

    def query(url: str) -> Pairs:
        return tuple((name.encode(), value.encode()) for name, value in parse_qsl(urlsplit(url).query))

    signed_in, with_form = headers(cookie=cookie), headers(cookie=cookie, form=True)
    basic = headers(basic=(client_id, secret), form=True)
    return [
        Request("GET", "/authorize", query(app.authorization_url(prompt="none")), headers=signed_in),
        Request(
            "GET",
            "/authorize",
            query(
                app.authorization_url(
                    prompt="login",
                    max_age="5",
                    login_hint="alice",
                    id_token_hint=tokens["id_token"],
                    ui_locales="de",
                    acr_values="1",
                )
            ),
            headers=signed_in,
        ),
        Request("GET", "/authorize", query(third_party.authorization_url(response_mode="form_post")), headers=signed_in),
        Request("POST", "/authorize", form=query(public.authorization_url()), headers=with_form),
        Request("GET", "/authorize", pairs(**{"continue": consent.forms[0].fields["request"]}), headers=signed_in),
        Request("POST", "/token", form=redeeming, headers=basic),
        Request(
            "POST",
            "/token",
            form=pairs(
                grant_type="authorization_code",
                code=public_code,
                redirect_uri=public.redirect_uri,
                code_verifier=public.verifier,
                client_id=public.client_id,
            ),
            headers=headers(form=True),
        ),
        Request(
            "POST",
            "/token",
            form=pairs(grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="openid"),
            headers=basic,
        ),
        Request("POST", "/token", form=pairs(grant_type="client_credentials", scope="reports"), headers=basic),
        Request(
            "POST",
            "/token",
            form=pairs(
                grant_type="refresh_token", refresh_token=others["refresh_token"], client_id=post_id, client_secret=post_secret
            ),
            headers=headers(form=True),
        ),
        Request("POST", "/introspect", form=pairs(token=tokens["access_token"], token_type_hint="access_token"), headers=basic),
        Request(
            "POST",
            "/introspect",
            form=pairs(token=tokens["refresh_token"], client_id=post_id, client_secret=post_secret),
            headers=headers(form=True),
        ),
        Request(
            "POST", "/revoke", form=pairs(token=others["access_token"], client_id=public.client_id), headers=headers(form=True)
        ),
        Request("POST", "/revoke", form=pairs(token=tokens["id_token"], token_type_hint="refresh_token"), headers=basic),
        Request("GET", "/userinfo", headers=headers(bearer=tokens["access_token"])),
        Request("POST", "/userinfo", form=pairs(access_token=tokens["access_token"]), headers=headers(form=True)),
        Request(
            "GET",
            "/logout",
            pairs(id_token_hint=others["id_token"], post_logout_redirect_uri=bye, state="x", client_id=public.client_id),
            headers=headers(cookie=other_cookie),
        ),
        Request(
            "GET",
            "/logout",
            pairs(post_logout_redirect_uri=bye, state="x", client_id=client_id, logout_hint="alice"),
            headers=signed_in,
        ),
        Request(
            "POST",
            "/logout",
            form=pairs(id_token_hint=tokens["id_token"], post_logout_redirect_uri=bye, state="x"),
            headers=headers(form=True),
        ),
        Request("POST", "/logout", form=page(confirm.forms[0], "logout-cancel"), headers=with_form),
        Request("GET", "/login", pairs(request=login.forms[0].fields["request"]), headers=headers(cookie=other_cookie)),
        Request(
            "POST",
            "/login",
            form=page(login.forms[0], "login-submit", username="alice", password="wrong"),
            headers=headers(cookie=other_cookie, form=True),
        ),
        Request("GET", "/login/select", pairs(request=select.forms[0].fields["request"]), headers=signed_in),
        Request("POST", "/login/select", form=page(select.forms[0], "select-continue"), headers=with_form),
        Request("GET", "/consent", pairs(request=consent.forms[0].fields["request"]), headers=signed_in),
        Request("POST", "/consent", form=page(consent.forms[0], "consent-deny"), headers=with_form),
        Request("GET", "/account", headers=signed_in),
        Request(
            "POST",
            "/account/sign-out",
            form=pairs(csrf_token=account.forms[0].fields["csrf_token"], sid="unknown"),
            headers=with_form,
        ),
        Request("POST", "/account/sign-out-everywhere", form=pairs(csrf_token="x"), headers=with_form),
        Request("GET", "/", headers=signed_in),
        Request("GET", "/jwks"),
        Request("GET", "/.well-known/openid-configuration"),
        Request("GET", "/.well-known/oauth-authorization-server"),
        Request("GET", "/health/ready"),
        Request("GET", "/metrics"),
        Request("GET", "/static/idp.css"),
    ]


# -- spoiling ---------------------------------------------------------------------------------------------------------

NAMES = (
    "client_id client_secret redirect_uri response_type response_mode scope state nonce prompt max_age login_hint id_token_hint acr_values "
    "claims ui_locales claims_locales display code_challenge code_challenge_method request request_uri registration continue code code_verifier "
    "grant_type refresh_token access_token token token_type_hint client_assertion client_assertion_type resource audience username password "
    "csrf_token decision choice other sid post_logout_redirect_uri logout_hint error error_description iss dpop_jkt"
).split()
TEXTS = st.one_of(
    st.sampled_from(
        [
            b"",
            b" ",
            b"\x00",
            b"a\x00b",
            b"%00",
            b"%ff",
            b"%",
            b"%zz",
            b"%C0%80",
            b"%ED%A0%80",
            b"%F4%90%80%80",
            b"\xff\xfe",
            "ä😀\u202e\u2028".encode(),
            b"\r\nX-Injected: yes",
            b"'\"><script>alert(1)</script>",
            b"' OR 1=1 --",
            b"{{7*7}}",
            b"../../etc/passwd",
            b"//evil.example",
            b"https://evil.example/\\@x",
            b"http://127.0.0.1:1/callback",
            b"com.example.app:/callback",
            b"none",
            b"login consent select_account",
            b"openid openid offline_access",
            b"code",
            b"form_post",
            b"authorization_code",
            b"refresh_token",
            b"client_credentials",
            b"-1",
            b"0",
            b"9" * 30,
            b"1e400",
            b"NaN",
            b"null",
            b"true",
            b"[]",
            b"{}",
            b"a.b.c",
            b"...",
            b"eyJhbGciOiJub25lIn0.e30.",
            b"eyJhbGciOiJub25lIn0..",
            b"W10.W10.W10",
            b"bnVsbA.bnVsbA.AA",
            b"A" * 91,
            b"a" * 43,
            b"a" * 600,
            b"x" * 5000,
            b"[" * 10_000,
            b'{"a":' * 2_000,
            b"x" * 70_000,
            b"." * 3000,
            b"+" * 300,
            b"&a=b",
            b"#",
        ]
    ),
    st.binary(max_size=30),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
METHODS = st.sampled_from(
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get", "PROPFIND"]
)
PATHS = st.sampled_from(
    "/ /authorize /token /userinfo /introspect /revoke /logout /login /login/select /consent /account /account/sign-out "
    "/account/sign-out-everywhere /jwks /.well-known/openid-configuration /.well-known/oauth-authorization-server /health/live /health/ready "
    "/metrics /static/idp.css /static/ /static /register /par /device /check_session /nowhere /favicon.ico //authorize /token/ /login%00 "
    "/%2e%2e/login /LOGIN /login;x=1 /login/%ff /static/%00 /static/..%2f..%2fapp.py /static/%ff /token%0a /.well-known/ /.well-known/webfinger".split()
)
#: A header's value holds no control characters: what does is no HTTP, and never comes as far as us.
VALUES = st.one_of(
    st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127)),
    st.sampled_from([b"", b"x", b"\xff\xfe", b"a" * 5000, b'"', b"=", b";;;", b",,,", b"null"]),
)
HEADERS = st.one_of(
    st.tuples(
        st.just("Authorization"),
        st.one_of(
            VALUES,
            st.binary(max_size=40).map(lambda pair: b"Basic " + b64encode(pair)),
            VALUES.map(lambda value: b"Bearer " + value),
            VALUES.map(lambda value: b"Basic " + value),
            st.just(b"DPoP x"),
            st.just(b"Bearer " + b"a." * 4000),
        ),
    ),
    st.tuples(
        st.just("Cookie"),
        st.one_of(
            VALUES,
            VALUES.map(lambda value: b"idp_session=" + value),
            VALUES.map(lambda value: b"idp_device=" + value),
            VALUES.map(lambda value: b"remember_token=" + value),
            st.just(b"idp_session=eyJfdXNlcl9pZCI6ImEifQ.aaaaaa.bbb"),
        ),
    ),
    st.tuples(
        st.just("Content-Type"),
        st.one_of(
            st.sampled_from(
                [
                    b"application/json",
                    b"application/x-www-form-urlencoded; charset=utf-16",
                    b"application/x-www-form-urlencoded; charset=",
                    b"APPLICATION/X-WWW-FORM-URLENCODED",
                    b"multipart/form-data",
                    b"multipart/form-data; boundary=x",
                    b'multipart/form-data; boundary="\xff"',
                    b"text/plain",
                    b"",
                    b";",
                ]
            ),
            VALUES,
        ),
    ),
    st.tuples(
        st.sampled_from(
            [
                "Origin",
                "Referer",
                "Accept",
                "Accept-Language",
                "If-None-Match",
                "If-Modified-Since",
                "Range",
                "User-Agent",
                "X-Forwarded-For",
                "X-Forwarded-Host",
                "Forwarded",
                "Content-Encoding",
                "X-CSRFToken",
                "X-Requested-With",
                "DPoP",
                "Upgrade",
                "Content-Language",
            ]
        ),
        VALUES,
    ),
    st.tuples(st.just("Host"), st.sampled_from([b"", b"evil.example", b"a:b:c", b"[::1", b"x" * 300, b"\xff", b"a b"])),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"&" * 300,
            b"=" * 300,
            b"a=1&" * 100,
            b"%" * 1000,
            b'{"grant_type":"client_credentials"}',
            b"[" * 60_000,
            b"--x\r\nContent-Disposition: form-data; name=token\r\n\r\na\r\n--x--\r\n",
            b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\xff\r\n--x--\r\n",
            b"--x\r\n" * 2000,
            b"x" * 65_536,
            b"x" * 65_537,
            b"grant_type=client_credentials\x00",
            b"\x1f\x8b\x08\x00",
        ]
    ),
)
Spoil = Callable[[Request], Request]


@st.composite
def spoils(draw: st.DrawFn) -> Spoil:  # noqa: C901, PLR0911 - a list of ways
    """One way to spoil a request."""
    name = draw(st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=8)))
    value, which = draw(TEXTS), draw(st.integers(0, 30))

    def among(given: Pairs, change: Callable[[tuple[bytes, bytes]], Pairs]) -> Pairs:
        at = which % len(given) if given else 0
        return given[:at] + change(given[at]) + given[at + 1 :] if given else given

    def both(request: Request, change: Callable[[Pairs], Pairs]) -> Request:
        return replace(request, query=change(request.query)) if request.query else replace(request, form=change(request.form))

    match draw(st.integers(0, 13)):
        case 0 | 1 | 2:
            return lambda request: both(request, lambda given: among(given, lambda pair: ((pair[0], value),)))
        case 3:
            return lambda request: both(request, lambda given: among(given, lambda _: ()))
        case 4:
            return lambda request: both(request, lambda given: among(given, lambda pair: (pair, (pair[0], value))))
        case 5:
            return lambda request: both(request, lambda given: (*given, (name, value)))
        case 6:
            method = draw(METHODS)
            return lambda request: replace(request, method=method)
        case 7:
            path = draw(PATHS)
            return lambda request: replace(request, path=path)
        case 8:
            header = draw(HEADERS)
            return lambda request: replace(
                request, headers=(*(each for each in request.headers if each[0] != header[0]), header)
            )
        case 9:
            header = draw(HEADERS)
            return lambda request: replace(request, headers=(*request.headers, header))
        case 10:
            return lambda request: replace(request, headers=request.headers[: which % (len(request.headers) + 1)])
        case 11:
            body = draw(BODIES)
            return lambda request: replace(request, body=body)
        case 12:
            return lambda request: replace(request, query=request.form, form=request.query)
    return lambda request: replace(request, query=request.query + request.form)
