"""The authorization endpoint over real HTTP, with everything switched on that is off by default, on both databases."""

import pytest

from idp.protocol.response_types import RESPONSE_TYPES
from tests.flows.conftest import PEOPLE, person, receiver
from tests.support.browsing import Page, Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import RelyingParty
from tests.support.serving import Providers, RunningProvider

__all__ = ["person", "receiver"]

PASSWORD = "correct horse battery staple"
EVERYTHING = {
    "AUTHORIZATION_RESPONSE_TYPES": ",".join(RESPONSE_TYPES),
    "AUTHORIZATION_REQUEST_OBJECTS": "request,request_uri",
}
FRONT_CHANNEL = [each for each in RESPONSE_TYPES if each != "code"]


def everything(provider: RunningProvider, **metadata: object) -> RelyingParty:
    """A client that registered every response type."""
    grants = ["authorization_code", "implicit", "refresh_token"]
    return RelyingParty.register(provider, **({"response_types": list(RESPONSE_TYPES), "grant_types": grants} | metadata))


def answered(app: RelyingParty, person: Person, **extra: str) -> dict[str, str]:
    """What came in the fragment, after signing in if that is asked; `state` and `iss` are checked."""
    page = person.open(app.authorization_url(**extra))
    return arrived(app, person.sign_in(page, "alice", PASSWORD) if page.main == "login-page" else page)


def arrived(app: RelyingParty, page: Page) -> dict[str, str]:
    assert page.url.startswith(app.redirect_uri + "#"), f"{page.main} at {page.url}: {page.response.text[:2000]}"
    assert page.fragment["state"] == app.state
    assert page.fragment["iss"] == app.provider.issuer
    return page.fragment


@pytest.fixture(scope="session", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    """One running provider for each database, with Alice and Bob."""
    return providers("authorization", request.param, EVERYTHING, PEOPLE)
