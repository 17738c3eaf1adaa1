"""Under load: two instances on PostgreSQL, a rotation every few seconds, three foreign libraries that see every token.

Eight seconds in `make test`; `IDP_LOAD_SECONDS=60` issues for as long as it says.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest

from idp.config import Settings
from idp.provider import key_policy
from tests.load.issuing import Issued, issue
from tests.load.relay import relay
from tests.load.verifiers.watch import Demands, Tally
from tests.load.verifying import NAMES, Verifier
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider, free_port

SECONDS = float(os.environ.get("IDP_LOAD_SECONDS", "8"))
#: The smallest times that a policy may have; relying parties are told the same.
QUICK = {"keys_jwks_max_age": 1, "keys_verifier_cooldown": 1, "keys_clock_skew": 1}

Deploy: TypeAlias = Callable[[str, int], list[RunningProvider]]


def shortest_period() -> int:
    """The quickest rotation that the policy allows with such times, in seconds."""
    return key_policy(Settings(**QUICK)).announcement


@pytest.fixture
def deploy(postgres_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """Starts two instances of one deployment, which run the program that is named, in so many workers each."""
    instances: list[RunningProvider] = []

    def start(program: str, workers: int) -> list[RunningProvider]:
        settings = {name.upper(): str(value) for name, value in QUICK.items()}
        settings |= {
            "KEYS_ROTATION_PERIOD": str(shortest_period()),
            "WORKERS": str(workers),
            "ISSUER": f"http://localhost:{free_port()}",
        }
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            instances.append(RunningProvider(folder, postgres_url, settings, program=program))
        instances[0].port = urlsplit(instances[0].issuer).port
        with ThreadPoolExecutor() as threads:
            list(threads.map(RunningProvider.start, instances))
        instances[0].add_user()
        return instances

    yield start
    for instance in instances:
        instance.close()


def load(instances: list[RunningProvider], seconds: float) -> tuple[Issued, dict[str, Tally]]:
    """Issue for `seconds`; what was issued, and what each verifier made of it."""
    party = RelyingParty.register(instances[0])
    with ExitStack() as stack:
        demands = Demands(
            jwks_uri=stack.enter_context(relay(instances)),
            issuer=instances[0].issuer,
            audience=(party.client_id, instances[0].issuer),
            max_age=QUICK["keys_jwks_max_age"],
            cooldown=QUICK["keys_verifier_cooldown"],
        )
        verifiers = [Verifier(name, demands) for name in NAMES]
        for verifier in verifiers:
            stack.callback(verifier.close)

        def feed(token: str) -> None:
            for verifier in verifiers:
                verifier.feed(token)

        issued = issue(party, instances, seconds, feed)
        for token in issued.kept:
            feed(token)
        tallies = {verifier.name: verifier.finish() for verifier in verifiers}
    print(f"\n{issued.count} tokens in {seconds:.0f} s, {issued.rotations} rotations, one each {shortest_period()} s")
    for name, tally in tallies.items():
        print(
            f"{name:8} {tally.verified} verified, {tally.failed} failed, the latest {tally.latest * 1000:.0f} ms after its issue"
        )
    return issued, tallies


def test_no_token_fails_to_verify_while_keys_rotate(deploy: Deploy) -> None:
    issued, tallies = load(deploy("idp", 2), SECONDS)
    for tally in tallies.values():
        assert tally.failed == 0, tally.errors
        assert tally.verified == issued.count + len(issued.kept)
    assert issued.rotations >= SECONDS // shortest_period() - 1
    assert issued.rotations >= 1


def test_without_an_announcement_the_same_harness_sees_failures(deploy: Deploy) -> None:
    """The negative control: a verifier whose cache is fresh does not fetch again, and cannot know the new key."""
    issued, tallies = load(deploy("tests.load.unannounced", 1), 2.5 * shortest_period())
    assert issued.rotations >= 1
    # Not each of them every time: one that is late on a busy machine may have fetched before it looked.
    assert sum(tally.failed for tally in tallies.values()) > 0, "nobody noticed"
    assert all(tally.verified > 0 for tally in tallies.values())
