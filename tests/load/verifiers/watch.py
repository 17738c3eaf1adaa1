"""What every verifier of the load test does, whatever library it is built on.

A verifier is a program. Its one argument is what it demands, as JSON: `jwks_uri`, `issuer`, `audience`, `max_age` and
`cooldown` in seconds. It reads lines of an instant (Unix time), a space, and a token that was issued then, verifies each
at once, and at the end of its input prints a `Tally` as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Demands:
    """What a relying party knows of the issuer before the first token comes."""

    jwks_uri: str
    issuer: str
    audience: tuple[str, ...]
    max_age: float
    cooldown: float


@dataclass
class Tally:
    """What became of the tokens. `latest` is the longest time between issue and verification, in seconds."""

    verified: int = 0
    failed: int = 0
    latest: float = 0.0
    errors: list[str] = field(default_factory=list)


def watch(make: Callable[[Demands], Callable[[str], object]], argument: str) -> None:
    """Verify what comes on standard input until it ends."""
    verify = make(Demands(**json.loads(argument)))
    tally = Tally()
    for line in sys.stdin:
        issued, token = line.split()
        try:
            verify(token)
        except Exception as error:
            tally.failed += 1
            tally.errors = [*tally.errors, f"{type(error).__name__}: {error}"][:5]
        else:
            tally.verified += 1
        tally.latest = max(tally.latest, time.time() - float(issued))
    print(json.dumps(asdict(tally)))
