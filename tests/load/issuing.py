"""Continuous issuing: people whose refresh tokens are used without a pause, at one instance and then at the next."""

import itertools
import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PEOPLE = 4
#: Every so many tokens one is kept, and verified once more at the end: keys that no longer sign must still verify.
KEPT = 50


@dataclass
class Issued:
    """What was issued: how many tokens, by which keys in the order in which they appeared, and a few of the tokens."""

    count: int = 0
    kids: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def add(self, token: str) -> None:
        """Count a token."""
        header = token.partition(".")[0]
        kid = json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
        with self._counting:
            self.count += 1
            if kid not in self.kids:
                self.kids.append(kid)
            if self.count % KEPT == 0:
                self.kept.append(token)

    @property
    def rotations(self) -> int:
        """How often another key took over."""
        return len(self.kids) - 1


def issue(party: RelyingParty, instances: list[RunningProvider], seconds: float, feed: Callable[[str], None]) -> Issued:
    """Refresh for `seconds` at all instances in turn; every ID token and access token goes to `feed` at once."""
    issued = Issued()
    first = [party.sign_in(Person(party.provider.issuer)) for _ in range(PEOPLE)]
    until = time.monotonic() + seconds

    def refresh(tokens: dict[str, str]) -> None:
        with http.client(timeout=20) as keeping:
            for instance in itertools.cycle(instances):
                if time.monotonic() > until:
                    return
                form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
                answer = keeping.post(f"{instance.origin}/token", data=form, auth=party.auth)
                assert answer.status_code == 200, answer.text
                tokens = answer.json()
                for token in (tokens["id_token"], tokens["access_token"]):
                    feed(token)
                    issued.add(token)

    with ThreadPoolExecutor(PEOPLE) as threads:
        for done in [threads.submit(refresh, tokens) for tokens in first]:
            done.result()
    return issued
