"""`kill -9` at each step of a rotation and of a revocation, and many that start at once: what is found is consistent."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from idp.keys.rules import KeyState
from idp.runtime import migrations
from tests.support import preloaded
from tests.support.databases import DIALECTS
from tests.support.serving import RunningProvider

STARTERS = 6
#: What is done, and at which statement it dies. A first start and a rotation add keys, an emergency revokes one.
STEPS = [
    *((("key", "list"), step) for step in ("before add", "after add", "committed add")),
    *((("key", "rotate"), step) for step in ("before activate", "after activate", "committed activate")),
    *(
        (("key", "revoke", "KID", "--reason", "x"), step)
        for step in ("before revoke", "after revoke", "before activate", "after activate", "committed activate")
    ),
]


@pytest.fixture(params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> RunningProvider:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    made = RunningProvider(tmp_path, url, {"SECRET_KEY": "a test secret that is long enough: really"})
    migrations.upgrade(made.services.database)
    return made


def states(provider: RunningProvider) -> dict[str, KeyState]:
    """Every key, as a process that starts now finds it and brings it up to date."""
    keys = provider.services.keys
    keys.keep_up()
    return {span.key.kid: span.state(provider.services.database.clock()) for span in keys.spans()}


def signing(provider: RunningProvider) -> str:
    return next(kid for kid, state in states(provider).items() if state is KeyState.SIGNING)


@pytest.mark.parametrize(("command", "step"), STEPS, ids=[f"{command[1]}-{step}" for command, step in STEPS])
def test_whoever_dies_at_any_step_leaves_one_key_that_signs_and_its_successor(
    provider: RunningProvider, command: tuple[str, ...], step: str
) -> None:
    try:
        killed = "" if command == ("key", "list") else signing(provider)
        named = [killed if word == "KID" else word for word in command]
        code, _, said = preloaded.run([step, *named], provider.environment(), module="tests.faults.dying_key")
        assert code == -9, said.decode()
        found = states(provider)
        counted = Counter(found.values())
        assert counted[KeyState.SIGNING] == 1
        assert counted[KeyState.ANNOUNCED] == 1
        if "revoke" in command:
            assert (found[killed] is KeyState.REVOKED) == (step == "committed activate")
            if found[killed] is not KeyState.REVOKED:  # the operator does it again
                assert provider.json(*named)["kid"] == killed
                after = states(provider)
                assert after[killed] is KeyState.REVOKED
                assert Counter(after.values())[KeyState.SIGNING] == 1
    finally:
        provider.close()


def test_processes_that_start_from_nothing_at_once_end_with_one_signing_key_and_one_successor_of_each_line(
    provider: RunningProvider,
) -> None:
    provider.settings["KEYS_ALGORITHMS"] = "RS256,ES256"
    with ThreadPoolExecutor(STARTERS) as threads:
        starters: list[Callable[[], object]] = [lambda: provider.json("key", "list")] * STARTERS
        lists = list(threads.map(lambda start: start(), starters))
    assert len({str(keys) for keys in lists}) == 1 or len({key["kid"] for keys in lists for key in keys}) == 4
    final = provider.json("key", "list")
    assert Counter((key["alg"], key["state"]) for key in final) == {
        (alg, state): 1 for alg in ("RS256", "ES256") for state in ("signing", "announced")
    }
    provider.close()
