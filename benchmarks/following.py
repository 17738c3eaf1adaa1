"""How seldom a verifier asks its provider, however many tokens it verifies: counted over a minute of the real thing."""

import time
from dataclasses import asdict, dataclass

from benchmarks.cases import FailedRequestError
from idp.verifier import Poll, Verifier
from tests.signals.follower import receiver_of
from tests.support.serving import RunningProvider

#: So many requests are fewer than the issue allows in a minute: "single digits".
ALLOWED = 10
_SECONDS = 60.0
_AT_ONCE = 1000
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Following:
    """What was verified in `seconds`, and the requests meanwhile, in all."""

    seconds: float
    verified: int
    requests: int

    @property
    def per_minute(self) -> float:
        """Requests in a minute."""
        return self.requests * 60 / self.seconds

    @property
    def per_million(self) -> float:
        """Requests for each million of tokens that were verified."""
        return self.requests * 1e6 / self.verified

    def shown(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self) | {"per_minute": self.per_minute, "per_million": self.per_million}


def measure(running: RunningProvider) -> Following:
    """Verify a token without pause, by long poll and the verifier's own defaults. Raises FailedRequestError."""
    app = receiver_of(running, scope="ssf.read ssf.manage bench")
    token = app.token("client_credentials", scope="bench").json()["access_token"]
    with Verifier(running.issuer, running.issuer, follow=Poll(*app.auth)) as verifier:
        if not verifier.wait(_START_SECONDS):
            raise FailedRequestError(verifier.state.problem)
        before, began, verified = verifier.state.requests, time.monotonic(), 0
        while (passed := time.monotonic() - began) < _SECONDS:
            for _ in range(_AT_ONCE):
                verifier.verify(token)
            verified += _AT_ONCE
        return Following(passed, verified, verifier.state.requests - before)
