"""Clients that refresh at once and lose answers sign nobody out; a thief with an older token always ends the family."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from idp.runtime.database import table_of
from idp.tokens.models import FamilyRow
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

GENERATIONS = 4


def live_families(provider: RunningProvider, app: RelyingParty) -> int:
    table = table_of(FamilyRow)
    query = select(table.c.family_id).where(table.c.client_id == app.client_id, table.c.ended_at.is_(None))
    with provider.services.database.reading() as tx:
        return len(tx.execute(query).all())


@pytest.mark.parametrize("tabs", [2, 10, 50])
def test_tabs_that_refresh_at_once_and_lose_answers_all_go_on(provider: RunningProvider, person: Person, tabs: int) -> None:
    """Each tab sends the token that the app has; most answers are lost, and who lost one asks again."""
    chance = random.Random(tabs)
    app = RelyingParty.register(provider)
    token = app.sign_in(person)["refresh_token"]
    history = [token]
    for _ in range(GENERATIONS):
        with ThreadPoolExecutor(tabs) as pool:
            answers = list(pool.map(lambda _, sent=token: app.refresh(sent), range(tabs)))
        assert {answer.status_code for answer in answers} == {200}, "somebody was signed out"
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1, "more than one successor lives"
        kept = [answer for answer in answers if chance.random() < 0.3]
        token = (kept or [app.refresh(token)])[0].json()["refresh_token"]
        assert token in successors
        history.append(token)
    assert live_families(provider, app) == 1

    stolen = chance.choice(history[:-2])
    assert app.refresh(stolen).json()["error"] == "invalid_grant"
    assert app.refresh(token).json()["error"] == "invalid_grant"
    assert live_families(provider, app) == 0


@pytest.mark.parametrize("thieves", [1, 8])
def test_a_thief_who_races_with_the_app_ends_the_family_too(provider: RunningProvider, person: Person, thieves: int) -> None:
    app = RelyingParty.register(provider)
    first = app.sign_in(person)["refresh_token"]
    second = app.refresh(first).json()["refresh_token"]
    third = app.refresh(second).json()["refresh_token"]
    with ThreadPoolExecutor(thieves + 1) as pool:
        sent = [third, *[first] * thieves]
        answers = list(pool.map(app.refresh, sent))
    assert all(answer.status_code == 400 for answer in answers[1:])
    latest = answers[0].json().get("refresh_token", third)
    assert app.refresh(latest).json()["error"] == "invalid_grant"
    assert live_families(provider, app) == 0
