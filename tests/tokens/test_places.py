"""Places in the status lists: drawn in an order that nobody can tell, none twice, on both databases, by many at once."""

import threading

import pytest
from sqlalchemy import event

from idp.clients.rules import Client
from idp.tokens import rules
from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import STATUS_LIST_SIZE
from idp.tokens.service import TokenService
from tests.tokens.conftest import POLICY, World

MANY, AT_ONCE = 40, 4


def another(world: World) -> TokenIssuer:
    """The tokens of another process over the same database."""
    return TokenIssuer(TokenService(POLICY, world.keys, world.clients, world.sessions, world.secrets))


def draw(world: World, tokens: TokenIssuer) -> int:
    with world.database.writing() as tx:
        return tokens._places.draw(tx)


@pytest.mark.parametrize("seed", [b"", b"one", b"another"])
def test_an_order_holds_every_place_once(seed: bytes) -> None:
    drawn = [rules.drawn(seed, nth) for nth in range(STATUS_LIST_SIZE)]
    assert sorted(drawn) == list(range(STATUS_LIST_SIZE))


def test_an_order_says_nothing_of_who_came_first() -> None:
    """Of two neighbours in time the places are as far apart as those of any two: a third of the list on the average."""
    drawn = [rules.drawn(b"a seed", nth) for nth in range(4096)]
    apart = [abs(one - other) for one, other in zip(drawn, drawn[1:], strict=False)]
    assert 0.9 < sum(apart) / len(apart) / (STATUS_LIST_SIZE / 3) < 1.1
    rising = sum(one < other for one, other in zip(drawn, drawn[1:], strict=False))
    assert 0.45 < rising / len(apart) < 0.55
    assert drawn != [rules.drawn(b"another seed", nth) for nth in range(4096)]


def test_places_of_families_do_not_follow_each_other(world: World, client: Client) -> None:
    sid = world.sign_in()
    places = [world.allow(client, sid)[0].status_index or 0 for _ in range(MANY)]
    steps = {other - one for one, other in zip(places, places[1:], strict=False)}
    assert len(set(places)) == MANY
    assert len(steps) > MANY // 2
    assert {place // STATUS_LIST_SIZE for place in places} == {places[0] // STATUS_LIST_SIZE}, "one list is filled first"


def test_several_processes_never_draw_the_same_place(world: World) -> None:
    drawn: list[int] = []
    together = threading.Barrier(AT_ONCE)

    def draw_many() -> None:
        tokens = another(world)
        together.wait()
        drawn.extend(draw(world, tokens) for _ in range(MANY))

    threads = [threading.Thread(target=draw_many) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(drawn)) == AT_ONCE * MANY


def test_the_order_of_a_list_that_was_rolled_back_is_nobodys(world: World) -> None:
    tokens, failure = another(world), RuntimeError("not committed")
    with pytest.raises(RuntimeError), world.database.writing() as tx:
        tokens._places.draw(tx)
        raise failure
    other = another(world)
    drawn = [draw(world, each) for _ in range(MANY) for each in (other, tokens)]
    assert len(set(drawn)) == len(drawn)


def test_a_draw_asks_for_the_order_of_its_list_once(world: World) -> None:
    tokens = another(world)
    draw(world, tokens)
    asked: list[str] = []
    event.listen(world.database.engine, "before_cursor_execute", lambda _c, _cur, sql, *_: asked.append(sql))
    for _ in range(3):
        draw(world, tokens)
    assert not [sql for sql in asked if "status_lists" in sql]
