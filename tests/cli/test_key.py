"""`idp key`: the schedule, and letting the next key come sooner."""

import time

from tests.cli.running import DONE, run
from tests.support.serving import RunningProvider


def test_from_the_first_start_one_key_signs_and_its_successor_is_announced(idp: RunningProvider) -> None:
    keys = run(idp, "key", "list", "--json").json
    assert [key["state"] for key in keys] == ["signing", "announced"]
    assert {key["alg"] for key in keys} == {"RS256"}
    assert keys[0]["signs_until"] == keys[1]["signs_from"]
    table = run(idp, "key", "list")
    assert table.code == DONE
    assert all(key["kid"] in table.out for key in keys)
    assert not any(word in table.out for word in ("PRIVATE", "sealed"))


def test_rotating_lets_the_successor_sign_as_early_as_every_cache_can_know_it(idp: RunningProvider) -> None:
    _, successor = run(idp, "key", "list", "--json").json
    said = run(idp, "key", "rotate", "--json").json
    assert said["kid"] == successor["kid"]
    assert time.time() < said["signs_from"] < successor["signs_from"]
    assert run(idp, "key", "list", "--json").json[1]["signs_from"] == said["signs_from"]
    again = run(idp, "key", "rotate")  # asked twice, it does not come any sooner or later
    assert again.code == DONE
    assert said["kid"] in again.out
    assert run(idp, "key", "list", "--json").json[1]["signs_from"] == said["signs_from"]
