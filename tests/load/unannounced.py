"""`idp` with the announcement cut to nothing: a key is published at the instant at which it begins to sign."""

from collections.abc import Sequence
from dataclasses import replace

from idp import cli
from idp.keys import rules
from idp.keys.rules import KeyLifetime, KeyPolicy, WantedKeys
from idp.runtime.clock import Instant

_announced = rules.wanted


def _unannounced(
    spans: Sequence[KeyLifetime], policy: KeyPolicy, now: Instant, *, caches: float | None = None
) -> WantedKeys | None:
    want = _announced(spans, policy, now, caches=caches)
    return None if want is None else replace(want, published_at=want.active_at)


# Workers are born anew, and import this module as their parent's main one.
rules.wanted = _unannounced

if __name__ == "__main__":
    cli.main()
