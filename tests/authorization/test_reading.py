"""Reading an authorization request: every rule, without a server (OIDC Core §3.1.2.1, §5.5)."""

import json

import pytest

from idp.authorization.errors import AuthorizationError, RequestRefusedError, UntrustedRequestError
from idp.authorization.request import Reader, read
from idp.authorization.rules import AuthorizationRequest
from idp.clients.rules import Client
from idp.protocol.parameters import Parameters
from idp.protocol.response_types import RESPONSE_TYPES

URI = "https://app.example/callback"
CLIENT = Client(
    "app",
    None,
    0.0,
    redirect_uris=(URI,),
    response_types=RESPONSE_TYPES,
    grant_types=("authorization_code", "implicit", "refresh_token"),
    scope="openid profile email offline_access",
)


class Subjects:
    """Alice is known as `a`, and her hints say so."""

    def hint(self, hint: str, client: Client) -> str | None:
        return {"alices": "alice", "bobs": "bob"}.get(hint)

    def named(self, subject: str, client: Client) -> str | None:
        return {"a": "alice"}.get(subject)


def reader(client: Client = CLIENT, unfold=lambda given, _client: given, **changes: object) -> Reader:
    values = {"response_types": RESPONSE_TYPES, "id_token_algs": ("RS256",)} | changes
    return Reader(find={"app": client}.get, unfold=unfold, subject_of=Subjects(), **values)  # type: ignore[arg-type]


def ask(client: Client = CLIENT, **parameters: str) -> AuthorizationRequest:
    whole = {"client_id": "app", "redirect_uri": URI, "response_type": "code", "scope": "openid"} | parameters
    return read(Parameters({name: value for name, value in whole.items() if value}), reader(client))[1]


def refused(**parameters: str) -> RequestRefusedError:
    with pytest.raises(RequestRefusedError) as caught:
        ask(**parameters)
    return caught.value


def error(**parameters: str) -> str:
    return str(refused(**parameters).error.error)


def test_the_defaults() -> None:
    assert ask() == AuthorizationRequest(
        "app", URI, True, "code", "query", "openid", None, None, None, None, (), None, None, None
    )


def test_a_request_survives_being_stored() -> None:
    asked = ask(prompt="login consent", max_age="5", claims='{"userinfo":{"email":null}}', nonce="n", state="ü")
    assert AuthorizationRequest.load(asked.dump()) == asked


@pytest.mark.parametrize("mode", ["query", "fragment", "form_post"])
def test_a_code_comes_in_any_mode(mode: str) -> None:
    assert ask(response_mode=mode).response_mode == mode


def test_a_refusal_comes_in_the_mode_that_was_asked_for_or_that_goes_with_the_type() -> None:
    bad = {"prompt": "nonsense", "nonce": "n"}
    assert refused(**bad).response_mode == "query"
    assert refused(response_type="id_token", **bad).response_mode == "fragment"
    assert refused(response_type="id_token", response_mode="form_post", **bad).response_mode == "form_post"
    assert refused(response_type="id_token", response_mode="query", **bad).response_mode == "fragment"
    assert refused(response_mode="fragment", **bad).response_mode == "fragment"
    assert refused(response_mode="web_message").response_mode == "query"
    assert refused(response_type="token").response_mode == "fragment"
    assert refused(response_type="nonsense").response_mode == "query"


@pytest.mark.parametrize("asked", ["code code", "token", "none", "code  none", "id_token id_token", "Code", "code,token"])
def test_what_is_no_response_type_is_unsupported(asked: str) -> None:
    assert error(response_type=asked) == "unsupported_response_type"


def test_what_is_switched_off_is_unsupported_though_the_client_registered_it() -> None:
    given = Parameters({"client_id": "app", "redirect_uri": URI, "response_type": "code id_token", "scope": "openid"})
    with pytest.raises(RequestRefusedError) as caught:
        read(given, reader(response_types=("code",)))
    assert caught.value.error.error == "unsupported_response_type"
    assert "must be code." in str(caught.value.error.get_error_description())


def test_a_request_of_openid_connect_names_its_redirect_uri() -> None:
    with pytest.raises(UntrustedRequestError, match="redirect_uri is missing"):
        ask(redirect_uri="")
    assert ask(redirect_uri="", scope="profile").redirect_uri == URI
    assert not ask(redirect_uri="", scope="profile").redirect_uri_given


def test_offline_access_means_nothing_without_a_code() -> None:
    assert ask(scope="openid offline_access").scope == "openid offline_access"
    assert ask(scope="openid offline_access", response_type="id_token token", nonce="n").scope == "openid"


def test_a_public_client_needs_a_challenge_where_there_is_a_code() -> None:
    public = Client("app", None, 0.0, redirect_uris=(URI,), response_types=RESPONSE_TYPES, token_endpoint_auth_method="none")
    with pytest.raises(RequestRefusedError):
        ask(public, response_type="code id_token", nonce="n")
    assert ask(public, response_type="id_token", nonce="n", code_challenge="x").code_challenge is None


@pytest.mark.parametrize("value", ["none login", "none none login", "LOGIN", "create", "login,consent", "login nonsense"])
def test_a_prompt_that_makes_no_sense_is_refused(value: str) -> None:
    assert error(prompt=value) == "invalid_request"


@pytest.mark.parametrize("value", ["none", "login consent", "consent select_account login", "none none", " login "])
def test_a_prompt_that_makes_sense_is_kept(value: str) -> None:
    assert ask(prompt=value).prompt == tuple(dict.fromkeys(value.split()))


@pytest.mark.parametrize("name", ["acr_values", "display", "ui_locales", "claims_locales", "foo", "resource"])
def test_what_need_not_be_understood_changes_nothing(name: str) -> None:
    assert ask(**{name: "anything at all"}) == ask()


def test_registration_is_refused_by_its_own_name() -> None:
    assert error(registration="{}") == "registration_not_supported"


@pytest.mark.parametrize("value", ["-1", "1.5", "1e3", " 1", "x", "1" * 10])
def test_a_max_age_that_is_no_number_of_seconds_is_refused(value: str) -> None:
    assert error(max_age=value) == "invalid_request"


# -- claims -----------------------------------------------------------------------------------------------------------


def test_claims_are_kept_canonically_and_only_those_that_the_client_may_have() -> None:
    sent = {
        "userinfo": {"email": None, "phone_number": {"essential": True}, "unknown": None, "name": {"value": "x", "foo": 1}},
        "id_token": {"auth_time": {"essential": True}, "acr": {"values": ["1", "2"]}, "email": {}},
        "other": 1,
    }
    kept = ask(claims=json.dumps(sent)).claims
    assert kept is not None
    found = json.loads(kept)
    assert set(found) == {"userinfo", "id_token"}
    assert set(found["userinfo"]) == {"email", "name"}
    assert set(found["id_token"]) == {"auth_time", "acr", "email"}
    assert ask(claims=json.dumps(dict(reversed(sent.items())))).claims == kept


def test_claims_by_name_must_be_allowed_as_their_scopes_must() -> None:
    asked = ask(claims='{"userinfo":{"email":null},"id_token":{"auth_time":null}}')
    assert asked.scope == "openid"
    assert asked.to_be_allowed == ("openid", "email")
    assert ask().to_be_allowed == ("openid",)


BAD_CLAIMS = ["x", "[]", "1", '"x"', "{", '{"userinfo":1}', '{"userinfo":{"email":1}}', '{"userinfo":{"email":{"essential":1}}}',
              '{"userinfo":{"email":{"values":"x"}}}', "[" * 5000, '{"userinfo":{"email":{"value":NaN}}}', "{}" + " " * 9000]  # fmt: skip


@pytest.mark.parametrize("text", BAD_CLAIMS, ids=range(len(BAD_CLAIMS)))
def test_claims_that_make_no_sense_are_refused(text: str) -> None:
    assert error(claims=text) == "invalid_request"


def test_an_essential_acr_that_is_never_reached_is_refused_and_a_voluntary_one_is_not() -> None:
    def of(**acr: object) -> str:
        return json.dumps({"id_token": {"acr": acr}})

    assert error(claims=of(essential=True, values=["gold"])) == "unmet_authentication_requirements"
    assert error(claims=of(essential=True, value="gold")) == "unmet_authentication_requirements"
    for met in (of(essential=True, values=["gold", "1"]), of(essential=True), of(values=["gold"]), of(value="gold")):
        assert ask(claims=met).claims is not None


def test_the_person_who_is_named_must_answer() -> None:
    sub = json.dumps({"id_token": {"sub": {"value": "a"}}})
    assert ask(id_token_hint="alices").subject_required == "alice"
    assert ask(claims=sub).subject_required == "alice"
    assert ask(claims=sub, id_token_hint="alices").subject_required == "alice"
    assert error(claims=sub, id_token_hint="bobs") == "invalid_request"
    assert error(id_token_hint="nobodys") == "invalid_request"
    assert error(claims=sub.replace('"a"', '"z"')) == "login_required"


# -- request objects --------------------------------------------------------------------------------------------------


def refuses(_given: Parameters, _client: Client) -> Parameters:
    raise AuthorizationError("invalid_request_object", "No.")


def test_a_bad_object_is_told_to_a_registered_address_and_to_no_other() -> None:
    base = {"client_id": "app", "response_type": "code", "scope": "openid", "state": "s"}
    with pytest.raises(RequestRefusedError) as caught:
        read(Parameters(base | {"redirect_uri": URI}), reader(unfold=refuses))
    assert (caught.value.redirect_uri, caught.value.state) == (URI, "s")
    with pytest.raises(UntrustedRequestError) as shown:
        read(Parameters(base | {"redirect_uri": "https://evil.example"}), reader(unfold=refuses))
    assert shown.value.error == "invalid_request"
    with pytest.raises(UntrustedRequestError) as shown:
        read(Parameters(base), reader(unfold=refuses))
    assert shown.value.error == "invalid_request_object"


def test_an_object_decides_where_the_answer_goes() -> None:
    def inside(uri: str):
        return lambda given, _client: Parameters(dict(given) | {"redirect_uri": uri})

    base = {"client_id": "app", "response_type": "code", "scope": "openid", "redirect_uri": "https://evil.example"}
    assert read(Parameters(base), reader(unfold=inside(URI)))[1].redirect_uri == URI
    with pytest.raises(UntrustedRequestError):
        read(Parameters(base | {"redirect_uri": URI}), reader(unfold=inside("https://evil.example")))
