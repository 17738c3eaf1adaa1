"""The decision alone: the first reason against it, in the order in which a developer can mend them."""

from dataclasses import replace

import pytest

from idp.clients.rules import Client
from idp.issuing.rules import Refusal, Standing, Wish, reason_against, scopes_for_itself
from idp.tokens.rules import Authorization, Family

CLIENT = Client("app", None, 0.0, grant_types=("authorization_code", "refresh_token"), scope="openid email reports")
BEGINS = Authorization("app", "alice", "sid", "openid email", False, 0.0, "1", "pwd")
GOES_ON = Family("family", "app", "alice", "sid", "openid email", False, 0.0, "1", "pwd", 0, None, 0.0, 0.0, 9.0, None, None)
WELL = Standing("{}", account_is_open=True, consent_scope="openid email", consent_ended=False, is_closing=False)
WISH = Wish("authorization_code", CLIENT, BEGINS, "openid email")


def decided(wish: Wish = WISH, standing: Standing = WELL, *, session_is_alive: bool = True) -> Refusal | None:
    return reason_against(wish, standing, session_is_alive=session_is_alive)


def test_what_stands_well_may_be_issued() -> None:
    assert decided() is None
    assert decided(replace(WISH, authorization=GOES_ON, grant_type="refresh_token")) is None


@pytest.mark.parametrize(
    ("wish", "standing", "alive", "refusal"),
    [
        (WISH, replace(WELL, registered=None), True, Refusal.CLIENT_REMOVED),
        (replace(WISH, grant_type="implicit"), WELL, True, Refusal.GRANT_TYPE),
        (replace(WISH, scope="openid reports"), WELL, True, Refusal.SCOPE_OF_AUTHORIZATION),
        (replace(WISH, client=replace(CLIENT, scope="openid")), WELL, True, Refusal.SCOPE_OF_CLIENT),
        (WISH, replace(WELL, account_is_open=False), True, Refusal.ACCOUNT),
        (WISH, WELL, False, Refusal.SESSION),
        (WISH, replace(WELL, consent_scope=None), True, Refusal.CONSENT),
        (WISH, replace(WELL, consent_scope="openid"), True, Refusal.CONSENT),
        (WISH, replace(WELL, is_closing=True), True, Refusal.CLOSING),
    ],
)
def test_each_reason_by_itself(wish: Wish, standing: Standing, refusal: Refusal, *, alive: bool) -> None:
    assert decided(wish, standing, session_is_alive=alive) is refusal
    description = refusal.description(wish.grant_type, wish.client)
    assert description.endswith(".")
    assert "{" not in description


@pytest.mark.parametrize("claims", ['{"userinfo": {"phone_number": null}}'])
def test_a_consent_covers_what_is_asked_for_by_name_as_well(claims: str) -> None:
    wish = replace(WISH, authorization=replace(BEGINS, claims=claims))
    assert decided(wish) is Refusal.CONSENT
    assert decided(wish, replace(WELL, consent_scope="openid email phone")) is None


def test_the_providers_own_client_needs_no_consent() -> None:
    own = replace(WISH, client=replace(CLIENT, first_party=True))
    assert decided(own, replace(WELL, consent_scope=None, consent_ended=True)) is None


@pytest.mark.parametrize(("allowed", "ended"), [(None, False), ("openid", False), ("openid email", True)])
def test_what_goes_on_needs_that_nothing_was_withdrawn(allowed: str | None, *, ended: bool) -> None:
    wish = replace(WISH, authorization=GOES_ON, grant_type="refresh_token")
    assert decided(wish, replace(WELL, consent_scope=allowed, consent_ended=ended)) is None


@pytest.mark.parametrize("allowed", [None, "openid"])
def test_what_was_withdrawn_does_not_go_on(allowed: str | None) -> None:
    wish = replace(WISH, authorization=GOES_ON, grant_type="refresh_token")
    assert decided(wish, replace(WELL, consent_scope=allowed, consent_ended=True)) is Refusal.CONSENT


def test_the_client_comes_first() -> None:
    """Who cannot mend the account is not told of it before what they can mend."""
    worst = Standing(None, account_is_open=False, consent_scope=None, consent_ended=True, is_closing=True)
    assert decided(replace(WISH, grant_type="implicit"), worst, session_is_alive=False) is Refusal.CLIENT_REMOVED
    assert decided(replace(WISH, grant_type="implicit"), replace(worst, registered="{}")) is Refusal.GRANT_TYPE


def test_a_client_has_for_itself_what_speaks_of_no_person() -> None:
    assert scopes_for_itself(CLIENT) == ["reports"]
