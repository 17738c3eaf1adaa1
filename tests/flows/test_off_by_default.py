"""What best practice advises against is refused unless an operator switches it on, and discovery does not announce it."""

import pytest

from idp.protocol.response_types import RESPONSE_TYPES
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


@pytest.mark.parametrize("response_type", [each for each in RESPONSE_TYPES if each != "code"])
def test_no_token_comes_from_the_authorization_endpoint(provider: RunningProvider, person: Person, response_type: str) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    page = person.open(app.authorization_url(response_type=response_type))
    assert page.url.startswith(app.redirect_uri + "#")
    assert page.fragment["error"] == "unsupported_response_type"
    assert page.fragment["error_description"] == "response_type must be code."
    assert not {"code", "access_token", "id_token"} & set(page.fragment)


def test_nothing_is_fetched_at_the_word_of_a_request(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, request_uris=["https://app.example/request.jwt"])
    page = person.open(app.authorization_url(request_uri="https://app.example/request.jwt"))
    assert page.query["error"] == "request_uri_not_supported"
    assert page.query["state"] == app.state


def test_discovery_announces_none_of_it(provider: RunningProvider) -> None:
    found = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert found["response_types_supported"] == ["code"]
    assert "implicit" not in found["grant_types_supported"]
    assert found["request_parameter_supported"] is True
    assert found["request_uri_parameter_supported"] is False


def test_it_cannot_be_registered(provider: RunningProvider) -> None:
    with pytest.raises(ValueError, match="id_token is not switched on here"):
        RelyingParty.register(provider, response_types=["id_token"], grant_types=["implicit"])
