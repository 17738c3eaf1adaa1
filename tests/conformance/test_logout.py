"""RP-Initiated, Session Management, Front-Channel and Back-Channel Logout, as the suite walks through them."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from tests.authorization.signing import part
from tests.browser.test_frontchannel import App
from tests.browser.test_session_management import ASK
from tests.conformance.plans import CODE, Flow
from tests.conformance.rp import Given, Rp, key
from tests.conformance.suite import NEEDS_A_PAGE, PASSWORD, check_error, decoded, discovery
from tests.support.browsing import Page, Person
from tests.support.relying_party import BACKCHANNEL_EVENT, Receiver
from tests.support.serving import RunningProvider

#: As long as the suite's, which checks that nothing is lost of it.
STATE = "s" * 128


@pytest.fixture
def leaver(op: RunningProvider) -> Iterator[Rp]:
    """A relying party with a place to come back to after signing out."""
    party = Rp.register(op, Flow(CODE), post_logout_redirect_uris=["https://suite.example.org/post_logout_redirect"])
    yield party
    party.unregister()


@pytest.fixture
def app() -> Iterator[App]:
    """Its web server, for a real browser."""
    made = App()
    yield made
    made.close()


def bye(party: Rp) -> str:
    return str(party.registration["post_logout_redirect_uris"][0])


def leave(party: Rp, person: Person, given: Given, **extra: str | None) -> Page:
    """The request to the end-session endpoint; a parameter given as None is left out."""
    usual = {"id_token_hint": given.id_token, "post_logout_redirect_uri": bye(party), "state": STATE}
    sent = {name: value for name, value in (usual | extra).items() if value is not None}
    return person.open(f"{discovery(party.op)['end_session_endpoint']}?{urlencode(sent)}")


def is_signed_out(party: Rp, person: Person) -> None:
    """`prompt=none` is an error now."""
    check_error(party.answered(party.ask(person, prompt="none")), *NEEDS_A_PAGE)


def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(op: RunningProvider) -> None:
    assert discovery(op)["end_session_endpoint"].startswith(f"{op.issuer}/")


def test_oidcc_rp_initiated_logout(leaver: Rp, person: Person) -> None:
    """Back at the app with `state` and nothing else, and signed out."""
    page = leave(leaver, person, leaver.sign_in(person))
    assert page.url == f"{bye(leaver)}?state={STATE}"
    is_signed_out(leaver, person)


def test_oidcc_rp_initiated_logout_no_state(leaver: Rp, person: Person) -> None:
    """Without `state` there is none at the app either."""
    assert leave(leaver, person, leaver.sign_in(person), state=None).url == bye(leaver)
    is_signed_out(leaver, person)


def stays_here(page: Page, person: Person) -> None:
    """A page of ours: what was left, or the question first; and nobody is sent to the app after it either."""
    if page.main == "logout-page":
        page = person.submit(page, "logout-confirm")
    assert page.main == "logout-done", page.main
    assert "Refresh" not in page.response.headers
    assert "post_logout_redirect" not in page.response.text


def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(leaver: Rp, person: Person) -> None:
    given = leaver.sign_in(person)
    stays_here(leave(leaver, person, given, post_logout_redirect_uri="https://suite.example.org/another"), person)


def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(leaver: Rp, person: Person) -> None:
    given = leaver.sign_in(person)
    stays_here(leave(leaver, person, given, post_logout_redirect_uri=f"{bye(leaver)}?foo=bar"), person)


def asks_first(page: Page, person: Person) -> None:
    """Who cannot show a valid hint may be anybody: the person is asked, and stays here."""
    assert page.main == "logout-page"
    stays_here(page, person)


def test_oidcc_rp_initiated_logout_modified_id_token_hint(leaver: Rp, person: Person) -> None:
    """The hint, changed to `alg: none`."""
    given = leaver.sign_in(person)
    changed = f"{part({'alg': 'none'})}.{given.id_token.split('.')[1]}."
    asks_first(leave(leaver, person, given, id_token_hint=changed), person)


def test_oidcc_rp_initiated_logout_bad_id_token_hint(leaver: Rp, person: Person) -> None:
    """A hint that somebody else signed."""
    given = leaver.sign_in(person)
    forged = key().sign(jwt.decode(given.id_token, options={"verify_signature": False}))
    asks_first(leave(leaver, person, given, id_token_hint=forged), person)


def test_oidcc_rp_initiated_logout_no_id_token_hint(leaver: Rp, person: Person) -> None:
    asks_first(leave(leaver, person, leaver.sign_in(person), id_token_hint=None), person)


def test_oidcc_rp_initiated_logout_no_params(leaver: Rp, person: Person) -> None:
    """Signed out, once the person said so."""
    given = leaver.sign_in(person)
    asks_first(leave(leaver, person, given, id_token_hint=None, post_logout_redirect_uri=None, state=None), person)
    is_signed_out(leaver, person)


def test_oidcc_rp_initiated_logout_only_state(leaver: Rp, person: Person) -> None:
    given = leaver.sign_in(person)
    asks_first(leave(leaver, person, given, id_token_hint=None, post_logout_redirect_uri=None), person)
    is_signed_out(leaver, person)


def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(leaver: Rp, person: Person) -> None:
    """With a hint alone: signed out at once, on a page of ours."""
    page = leave(leaver, person, leaver.sign_in(person), post_logout_redirect_uri=None)
    assert page.main == "logout-done"
    is_signed_out(leaver, person)


def test_oidcc_backchannel_logout_discovery_endpoint_verification(op: RunningProvider) -> None:
    found = discovery(op)
    assert found["backchannel_logout_supported"] is found["backchannel_logout_session_supported"] is True
    assert "end_session_endpoint" in found


def test_oidcc_backchannel_rp_initiated_logout(op: RunningProvider, person: Person) -> None:
    """The logout token alone in the form, its every claim, `sid` and `sub` those of the ID token; then the redirect."""
    receiver = Receiver()
    party = Rp.register(
        op,
        Flow(CODE),
        post_logout_redirect_uris=["https://suite.example.org/post_logout_redirect"],
        backchannel_logout_uri=receiver.uri,
        backchannel_logout_session_required=True,
    )
    given = party.sign_in(person)
    page = leave(party, person, given)
    token = receiver.wait()[0]
    assert page.url == f"{bye(party)}?state={STATE}"
    assert list(receiver.bodies[0]) == ["logout_token"]
    claims = decoded(op, token, party.client_id)
    assert claims["events"] == {BACKCHANNEL_EVENT: {}}
    assert claims["jti"]
    assert claims["iat"]
    assert "nonce" not in claims
    assert claims["sid"] == given.claims["sid"]
    assert claims.get("sub", given.claims["sub"]) == given.claims["sub"]
    is_signed_out(party, person)
    party.unregister()
    receiver.close()


def in_a_browser(tab: Tab, party: Rp) -> Given:
    """The flow in a real browser."""
    tab.goto(party.url())
    tab.fill("#username", "alice")
    tab.fill("#password", PASSWORD)
    tab.click("#login-submit")
    tab.click("#consent-allow")
    tab.wait_for_selector("#app-page")
    answer = {name: values[0] for name, values in parse_qs(urlsplit(tab.url).query).items()}
    tokens = party.redeem(answer["code"]).json()
    return Given(answer, tokens, back=party.id_token_claims(tokens["id_token"]))


def at_home(op: RunningProvider, app: App, **members: object) -> Rp:
    """A relying party whose pages a browser can load."""
    uris = {"redirect_uris": [f"{app.origin}/callback"], "post_logout_redirect_uris": [f"{app.origin}/bye"]}
    return Rp.register(op, Flow(CODE), **(uris | members))


def test_oidcc_frontchannel_logout_discovery_endpoint_verification(op: RunningProvider) -> None:
    found = discovery(op)
    assert found["frontchannel_logout_supported"] is found["frontchannel_logout_session_supported"] is True
    assert "end_session_endpoint" in found


def test_oidcc_frontchannel_rp_initiated_logout(op: RunningProvider, app: App, browser: Browser) -> None:
    """The app's own page is loaded with `iss` and the ID token's `sid`, nothing else; then the browser goes on."""
    party = at_home(op, app, frontchannel_logout_uri=f"{app.origin}/out", frontchannel_logout_session_required=True)
    tab = browser.new_page()
    given = in_a_browser(tab, party)
    asked = {"id_token_hint": given.id_token, "post_logout_redirect_uri": bye(party), "state": STATE}
    tab.goto(f"{op.issuer}/logout?{urlencode(asked)}")
    tab.wait_for_url(f"{bye(party)}?state={STATE}", timeout=20_000)
    assert app.signed_out() == [{"iss": [op.issuer], "sid": [given.claims["sid"]]}]
    tab.goto(party.url(prompt="none"))
    assert parse_qs(urlsplit(tab.url).query)["error"][0] in NEEDS_A_PAGE
    party.unregister()


def test_oidcc_session_management_discovery_endpoint_verification(op: RunningProvider) -> None:
    found = discovery(op)
    assert found["check_session_iframe"].startswith(f"{op.issuer}/")
    assert "end_session_endpoint" in found


def test_oidcc_session_management_rp_initiated_logout(op: RunningProvider, app: App, browser: Browser) -> None:
    """`session_state` comes with the answer; the frame says `unchanged` before the logout and `changed` after it."""
    party = at_home(op, app)
    tab = browser.new_page()
    given = in_a_browser(tab, party)
    question = [discovery(op)["check_session_iframe"], op.issuer, f"{party.client_id} {given.answer['session_state']}"]
    assert tab.evaluate(ASK, question) == "unchanged"
    asked = {"id_token_hint": given.id_token, "post_logout_redirect_uri": bye(party), "state": STATE}
    tab.goto(f"{op.issuer}/logout?{urlencode(asked)}")
    tab.wait_for_url(f"{bye(party)}?state={STATE}", timeout=20_000)
    assert tab.evaluate(ASK, question) == "changed"
    party.unregister()
