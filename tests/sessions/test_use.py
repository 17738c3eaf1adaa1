"""What counts as use of a session: what its person does, and what apps do in it, unless that is switched off."""

from collections.abc import Callable

import pytest
from sqlalchemy import event

from idp.sessions import rules
from idp.sessions.rules import SessionPolicy
from tests.sessions.deployment import ABSOLUTE, IDLE, Browser, Deployment

STEP, HOUR = 240, 3600
Act = Callable[[Deployment, dict[str, str]], None]


def refresh(deployment: Deployment, tokens: dict[str, str]) -> None:
    tokens |= deployment.refreshed(tokens["refresh_token"])


def userinfo(deployment: Deployment, tokens: dict[str, str]) -> None:
    """An app that asks for claims, and refreshes in a way that counts for nothing."""
    assert deployment.userinfo(tokens["access_token"]) == 200


def introspect(deployment: Deployment, tokens: dict[str, str]) -> None:
    assert deployment.introspect(tokens["access_token"])


def last_used(deployment: Deployment, sid: str) -> float:
    with deployment.provider.database.reading() as tx:
        session = deployment.provider.sessions.get(tx, sid)
    assert session is not None
    return session.last_used_at


def work(deployment: Deployment, seconds: float, step: float = HOUR, **more: bool) -> tuple[Browser, str]:
    """Somebody works in a single-page app for a while, and never comes to the provider; their browser and its session."""
    browser = deployment.browser()
    sid, tokens = browser.sid, deployment.allow(browser, **more)
    until = deployment.clock.now + seconds
    while deployment.clock.now < until:
        deployment.clock.now += step
        answer = deployment.refresh(tokens["refresh_token"])
        if answer.status_code != 200:
            break
        tokens |= answer.json
    return browser, sid


def test_who_works_in_an_app_for_longer_than_the_idle_timeout_is_still_signed_in(deployment: Deployment) -> None:
    browser, _ = work(deployment, 2 * IDLE)
    assert browser.is_signed_in


def test_where_it_does_not_count_the_session_is_idle_and_the_apps_tokens_with_it(
    deploy: Callable[..., Deployment],
) -> None:
    deployment = deploy(sessions_refresh_counts=False)
    began = deployment.clock.now
    browser, sid = work(deployment, 2 * IDLE)
    assert last_used(deployment, sid) == began
    assert deployment.clock.now - began == IDLE
    assert not browser.is_signed_in


def test_no_use_by_an_app_outlasts_the_absolute_timeout(deployment: Deployment) -> None:
    began = deployment.clock.now
    browser, _ = work(deployment, 2 * ABSOLUTE)
    assert deployment.clock.now - began == ABSOLUTE
    assert not browser.is_signed_in


def test_what_is_allowed_offline_uses_no_session_and_goes_on_without_it(deployment: Deployment) -> None:
    began = deployment.clock.now
    browser, sid = work(deployment, 2 * ABSOLUTE, offline=True)
    assert last_used(deployment, sid) == began
    assert deployment.clock.now - began >= 2 * ABSOLUTE
    assert not browser.is_signed_in


@pytest.mark.parametrize("act", [refresh, userinfo])
@pytest.mark.parametrize("counts", [True, False])
def test_an_app_uses_the_session_by_a_refresh_and_at_userinfo(
    deploy: Callable[..., Deployment], act: Act, counts: bool
) -> None:
    deployment = deploy(sessions_refresh_counts=counts)
    browser = deployment.browser()
    sid, tokens, began = browser.sid, deployment.allow(browser), deployment.clock.now
    deployment.clock.now += rules.TOUCH_SECONDS
    act(deployment, tokens)
    assert last_used(deployment, sid) == (deployment.clock.now if counts else began)


def test_a_resource_server_that_introspects_uses_nobodys_session(deployment: Deployment) -> None:
    browser = deployment.browser()
    sid, tokens, began = browser.sid, deployment.allow(browser), deployment.clock.now
    deployment.clock.now += STEP
    introspect(deployment, tokens)
    assert last_used(deployment, sid) == began


def test_a_use_is_written_down_once_a_minute_at_most_and_in_one_statement(deployment: Deployment) -> None:
    browser = deployment.browser()
    tokens = deployment.allow(browser)
    deployment.clock.now += rules.TOUCH_SECONDS
    written: list[str] = []
    event.listen(
        deployment.provider.database.engine,
        "before_cursor_execute",
        lambda *args: written.append(args[2]) if args[2].startswith(("UPDATE", "INSERT", "DELETE")) else None,
    )
    for _ in range(5):
        userinfo(deployment, tokens)
        deployment.clock.now += 1
    assert len(written) == 1
    assert "UPDATE sessions" in written[0]


@pytest.mark.parametrize(("idle", "most"), [(7200, 60), (86_400, 60), (1200, 60), (1199, 59.95), (60, 3), (10, 0.5), (1, 0.05)])
def test_a_use_is_written_down_often_enough_for_any_timeout(idle: int, most: float) -> None:
    """Otherwise a session that may be idle for a minute would be over in the middle of its use."""
    assert 1000 - rules.noted_before(SessionPolicy(idle, 43_200), 1000) == pytest.approx(most)


def test_a_session_with_a_short_timeout_goes_on_while_it_is_used(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(sessions_idle_timeout=30)
    browser = deployment.browser()
    for _ in range(10):
        deployment.clock.now += 20
        assert browser.is_signed_in
    deployment.clock.now += 30
    assert not browser.is_signed_in


def test_an_ended_session_is_not_used_again(deployment: Deployment) -> None:
    browser = deployment.browser()
    sid, tokens = browser.sid, deployment.allow(browser)
    deployment.clock.now += IDLE
    assert deployment.userinfo(tokens["access_token"]) == 401
    assert deployment.refresh(tokens["refresh_token"]).status_code == 400
    assert not browser.is_signed_in
    assert last_used(deployment, sid) < deployment.clock.now
