"""A phone that sleeps for an hour after it asked for tokens, and a thief who has the token that it asked with: over HTTP."""

from collections.abc import Callable

import pytest

from tests.sessions.deployment import Deployment

HOUR, DAY = 3600, 86_400


@pytest.fixture
def phone(deployment: Deployment) -> tuple[Deployment, str]:
    """A deployment, and the refresh token of an app in a phone."""
    return deployment, deployment.allow(deployment.browser(), offline=True)["refresh_token"]


def by_userinfo(deployment: Deployment, tokens: dict[str, str]) -> None:
    assert deployment.userinfo(tokens["access_token"]) == 200


def by_introspection(deployment: Deployment, tokens: dict[str, str]) -> None:
    assert deployment.introspect(tokens["access_token"])


def by_revocation(deployment: Deployment, tokens: dict[str, str]) -> None:
    assert deployment.revoke(tokens["access_token"]) == 200


def by_refresh(deployment: Deployment, tokens: dict[str, str]) -> None:
    deployment.refreshed(tokens["refresh_token"])


def test_a_phone_that_slept_an_hour_is_still_signed_in(phone: tuple[Deployment, str]) -> None:
    deployment, parent = phone
    deployment.refreshed(parent)  # it sleeps before the answer comes
    deployment.clock.now += HOUR
    tokens = deployment.refreshed(parent)
    assert deployment.userinfo(tokens["access_token"]) == 200
    deployment.clock.now += HOUR
    assert deployment.userinfo(deployment.refreshed(tokens["refresh_token"])["access_token"]) == 200


def test_a_phone_in_a_tunnel_loses_one_answer_after_the_other(phone: tuple[Deployment, str]) -> None:
    deployment, parent = phone
    for _ in range(6):
        tokens = deployment.refreshed(parent)
        deployment.clock.now += HOUR
    assert deployment.refresh(tokens["refresh_token"]).status_code == 200


def test_the_session_of_a_page_goes_on_though_its_answer_was_lost(deployment: Deployment) -> None:
    browser = deployment.browser()
    parent = deployment.allow(browser)["refresh_token"]
    deployment.refreshed(parent)
    deployment.clock.now += HOUR
    deployment.refreshed(parent)
    assert browser.is_signed_in


@pytest.mark.parametrize("used", [by_userinfo, by_introspection, by_revocation, by_refresh])
def test_a_parent_that_comes_after_something_of_its_answer_was_used_ends_the_family(
    phone: tuple[Deployment, str], used: Callable[[Deployment, dict[str, str]], None]
) -> None:
    deployment, parent = phone
    tokens = dict(deployment.refreshed(parent))
    used(deployment, tokens)
    deployment.clock.now += 90
    assert deployment.refresh(parent).json == {
        "error": "invalid_grant",
        "error_description": "The refresh token was used before; the tokens of this authorization have been revoked.",
    }
    assert deployment.refresh(tokens["refresh_token"]).status_code == 400
    assert deployment.userinfo(tokens["access_token"]) == 401


@pytest.mark.parametrize("used", [by_userinfo, by_introspection, by_refresh])
def test_an_answer_that_was_given_up_as_lost_is_nobodys_to_go_on_with(
    phone: tuple[Deployment, str], used: Callable[[Deployment, dict[str, str]], None]
) -> None:
    """A thief was first, the phone came later and has the newest answer: the thief's next refresh is the end of both."""
    deployment, parent = phone
    thiefs = deployment.refreshed(parent)
    deployment.clock.now += 90
    phones = dict(deployment.refreshed(parent))
    used(deployment, dict(phones))
    assert deployment.refresh(thiefs["refresh_token"]).status_code == 400
    assert deployment.refresh(phones["refresh_token"]).status_code == 400
    assert deployment.userinfo(thiefs["access_token"]) == deployment.userinfo(phones["access_token"]) == 401


def test_a_parent_that_comes_after_a_day_ends_the_family(phone: tuple[Deployment, str]) -> None:
    deployment, parent = phone
    tokens = deployment.refreshed(parent)
    deployment.clock.now += DAY + 1
    assert deployment.refresh(parent).status_code == 400
    assert deployment.refresh(tokens["refresh_token"]).status_code == 400


def test_how_long_a_parent_stays_good_is_a_setting(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(tokens_refresh_parent_lifetime=600)
    browser = deployment.browser()
    patient, late = (deployment.allow(browser, offline=True)["refresh_token"] for _ in range(2))
    deployment.refreshed(patient)
    deployment.refreshed(late)
    deployment.clock.now += 600
    assert deployment.refresh(patient).status_code == 200
    deployment.clock.now += 1
    assert deployment.refresh(late).status_code == 400
