"""Programs that come back on a port of the person's own machine: any other program may listen on another one (RFC 8252 §8.6).

What was allowed is answered in silence where it was answered before. On another port the person is asked again.
"""

import pytest

from tests.authorization.conftest import PASSWORD, everything
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

CALLBACK = "/callback"
REGISTERED = f"http://127.0.0.1{CALLBACK}"
NATIVE: dict[str, object] = {
    "application_type": "native",
    "token_endpoint_auth_method": "none",
    "redirect_uris": [REGISTERED, f"http://[::1]{CALLBACK}", f"http://127.0.0.1:8400{CALLBACK}", "com.example.cli:/callback"],
    "first_party": False,
}


def program(provider: RunningProvider, **metadata: object) -> RelyingParty:
    """A command-line program."""
    return RelyingParty.register(provider, **NATIVE | metadata)


def at(app: RelyingParty, person: Person, port: int | None, host: str = "127.0.0.1", **extra: str) -> Page:
    """The program asks, listening on a port; the page that the person comes to."""
    app.redirect_uri = f"http://{host}{'' if port is None else f':{port}'}{CALLBACK}"
    return person.open(app.authorization_url(redirect_uri=app.redirect_uri, **extra))


def allowed(app: RelyingParty, person: Person, port: int | None, host: str = "127.0.0.1") -> str:
    """The code of a program that the person signs in to and allows."""
    page = at(app, person, port, host)
    if page.main == "login-page":
        page = person.sign_in(page, "alice", PASSWORD)
    assert page.main == "consent-page", page.url
    return app.code_from(person.submit(page, "consent-allow"))


def test_on_another_port_the_person_is_asked_again(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    assert app.redeem(allowed(app, person, 50_001)).status_code == 200
    assert app.redeem(app.code_from(at(app, person, 50_001))).status_code == 200  # in silence, where it was allowed
    for port in (50_002, 50_003):
        assert at(app, person, port, prompt="none").query["error"] == "consent_required"
        page = at(app, person, port)
        assert page.main == "consent-page"
        assert page.texts["consent-host"] == f"127.0.0.1:{port}"
        assert app.redeem(app.code_from(person.submit(page, "consent-allow"))).status_code == 200
        assert "code" in at(app, person, port, prompt="none").query


def test_only_the_port_that_was_allowed_last_is_answered_in_silence(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    allowed(app, person, 50_002)
    assert at(app, person, 50_001, prompt="none").query["error"] == "consent_required"
    assert "code" in at(app, person, 50_002, prompt="none").query


def test_who_denies_a_port_allows_it_nothing(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    page = person.submit(at(app, person, 50_002), "consent-deny")
    assert page.query["error"] == "access_denied"
    assert at(app, person, 50_002, prompt="none").query["error"] == "consent_required"
    assert "code" in at(app, person, 50_001, prompt="none").query


def test_the_other_kind_of_address_is_another_place_too(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    assert at(app, person, 50_001, "[::1]", prompt="none").query["error"] == "consent_required"
    allowed(app, person, 50_001, "[::1]")
    assert "code" in at(app, person, 50_001, "[::1]", prompt="none").query


@pytest.mark.parametrize("uri", [f"http://127.0.0.1:8400{CALLBACK}", REGISTERED, "com.example.cli:/callback"])
def test_what_is_registered_to_the_letter_is_answered_as_it_was(provider: RunningProvider, person: Person, uri: str) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    app.redirect_uri = uri
    assert "code=" in person.open(app.authorization_url(prompt="none")).url
    assert "code" in at(app, person, 50_001, prompt="none").query


def test_more_scopes_on_a_registered_address_forget_no_port(provider: RunningProvider, person: Person) -> None:
    app = program(provider, redirect_uris=[REGISTERED])
    page = at(app, person, 50_001, scope="openid")
    app.code_from(person.submit(person.sign_in(page, "alice", PASSWORD), "consent-allow"))
    app.redirect_uri = REGISTERED
    person.submit(person.open(app.authorization_url(scope="openid email")), "consent-allow")
    assert "code" in at(app, person, 50_001, scope="openid email", prompt="none").query


def test_a_program_of_the_providers_own_is_asked_about_where_nothing_was_done_for_it(
    provider: RunningProvider, person: Person
) -> None:
    """Who types their password for it knows of it; a program that takes its name in an open session is another matter."""
    app = program(provider, first_party=True)
    page = person.sign_in(at(app, person, 50_001), "alice", PASSWORD)
    assert app.redeem(app.code_from(page)).status_code == 200
    assert at(app, person, 50_002, prompt="none").query["error"] == "consent_required"
    assert app.redeem(allowed(app, person, 50_002)).status_code == 200
    assert "code" in at(app, person, 50_002, prompt="none").query


def test_a_program_with_a_secret_proves_who_it_is_elsewhere(provider: RunningProvider, person: Person) -> None:
    app = program(provider, token_endpoint_auth_method="client_secret_basic")
    assert app.redeem(allowed(app, person, 50_001)).status_code == 200
    assert app.redeem(app.code_from(at(app, person, 50_002, prompt="none"))).status_code == 200


def test_tokens_that_come_by_the_browser_are_held_to_it_as_well(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, **NATIVE | {"redirect_uris": [REGISTERED]})
    allowed(app, person, 50_001)
    asked = {"response_type": "id_token token", "prompt": "none"}
    assert "access_token" in at(app, person, 50_001, **asked).fragment
    assert at(app, person, 50_002, **asked).fragment["error"] == "consent_required"


def test_another_persons_word_counts_for_nobody_else(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    bob = Person(provider.issuer)
    page = bob.sign_in(at(app, bob, 50_001), "bob", PASSWORD)
    assert page.main == "consent-page"
    bob.http.close()


def test_access_that_was_withdrawn_takes_the_port_with_it(provider: RunningProvider, person: Person) -> None:
    app = program(provider)
    allowed(app, person, 50_001)
    token = person.open("account/apps").forms[0].fields["csrf_token"]
    data = {"csrf_token": token, "client_id": app.client_id}
    answer = person.http.post(f"{provider.issuer}/account/apps", data=data)
    assert answer.status_code == 303
    assert at(app, person, 50_001, prompt="none").query["error"] == "consent_required"
