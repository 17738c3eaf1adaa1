"""Sessions, families and tokens end at random while four verifiers verify without pause. None accepts one beyond its promise.

Meanwhile the provider is killed, started again and cut off. Each verifier follows in its own way, and its clock is wrong in its own way. A few hundred endings in
`make test`; `IDP_REVOCATIONS=100000` makes so many. Endings go on while the provider is away: another instance commits them.
"""

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from idp.clients.rules import Client
from idp.logout.rules import Reason
from idp.sessions.rules import SignIn
from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import Authorization
from tests.load import revoking
from tests.load.revoking import Report, Setup, Skewed
from tests.signals.follower import receiver_of
from tests.support.databases import DIALECTS
from tests.support.serving import RunningProvider
from tests.verifier.relay import Relay

REVOCATIONS = int(os.environ.get("IDP_REVOCATIONS", "360"))
#: Once through all that goes wrong. What ends while it does is less: until it is over, each verifier tries it again and again.
ROUND = 10_000
MOST_DISTURBED = 500
BATCH = 20
STALENESS = 5.0
#: Longer than the promise: every verifier must have begun to refuse everything.
AWAY = STALENESS + 2.0
SETUPS = (
    Setup("poll", Skewed(30.0)),
    Setup("poll in a loop", Skewed(30.0, jumps=True)),
    Setup("push", Skewed(-30.0)),
    Setup("status list", Skewed(0.0)),
)
SETTINGS = {
    "TOKENS_ACCESS_TOKEN_LIFETIME": "7200",
    "SECRET_KEY": "a test secret that is long enough",
    "SIGNALS_STATUS_LIST": "true",
    "SIGNALS_STATUS_TTL": "1",
    "SIGNALS_MIN_VERIFICATION_INTERVAL": "1",
}
_ALIVE = 20
_PATIENCE = 90.0


@dataclass
class Tally:
    """When each ending was committed, and what each verifier made of it."""

    committed: dict[int, float] = field(default_factory=dict)
    disturbed: set[int] = field(default_factory=set)
    reports: list[Report] = field(default_factory=lambda: [Report() for _ in SETUPS])

    def take(self, place: int, report: Report) -> None:
        mine = self.reports[place]
        mine.ended += report.ended
        mine.other += report.other[:5]
        for name in ("accepted", "stale", "revived", "collateral"):
            setattr(mine, name, getattr(mine, name) + getattr(report, name))

    def exposures(self) -> list[tuple[int, float]]:
        """For how long each token was accepted after its ending, at each verifier; 0 where it never was."""
        return [(n, max(0.0, last - self.committed[n])) for one in self.reports for n, last, _ in one.ended]

    def refusals(self, place: int) -> list[float]:
        """Milliseconds from the commit to the first refusal at one verifier, while nothing was wrong."""
        ended = self.reports[place].ended
        return sorted((first - self.committed[n]) * 1000 for n, _, first in ended if n not in self.disturbed)


@contextmanager
def verifiers(issuer: str, credentials: tuple[str, str]) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for setup in SETUPS:
        ours, theirs = context.Pipe()
        process = context.Process(target=revoking.run, args=(issuer, credentials, STALENESS, setup, theirs), daemon=True)
        process.start()
        ends.append(ours)
        processes.append(process)
    try:
        assert all(end.recv() for end in ends), "a verifier never became fresh"
        yield ends
        for end in ends:
            end.send(None)
        for process in processes:
            process.join(10)
    finally:
        for process in processes:
            process.kill()


class Revoker:
    """Makes what is to end, and ends it: an instance of the provider beside the one that may die."""

    def __init__(self, provider: RunningProvider) -> None:
        self._services = provider.services
        self._services.keys.keep_up()
        app = provider.add_client({"redirect_uris": ["http://localhost:9/callback"], "client_name": "App"})
        self._client: Client | None = self._services.clients.find(str(app["client_id"]))

    def make(self, count: int) -> list[tuple[str, Callable[[], object]]]:
        """So many access tokens, and what ends each."""
        with self._services.database.writing() as tx:
            return [self._one(tx) for _ in range(count)]

    def _one(self, tx) -> tuple[str, Callable[[], object]]:
        services, client = self._services, self._client
        assert client is not None
        sign_in = SignIn(subject="somebody", amr="pwd", address="127.0.0.1", user_agent="load")
        session = services.sessions.start(tx, sign_in).session
        given = Authorization(client.client_id, "somebody", session.sid, "openid", False, tx.now, "0", "pwd")
        family_id = TokenIssuer(services.tokens).new_family_id()
        family, _ = TokenIssuer(services.tokens).start_family(tx, family_id, given, refreshable=False)
        token = TokenIssuer(services.tokens).access_token(tx, client, family, "openid", session).text
        live = services.tokens.live_access_token(tx, token)
        assert live is not None
        jti, expires = str(live.claims["jti"]), float(str(live.claims["exp"]))
        return token, random.choice(
            [
                lambda: self._end(lambda tx: services.logout.end_session(tx, session.sid, Reason.OPERATOR)),
                lambda: self._end(lambda tx: services.logout.end_family(tx, family_id, Reason.REVOKED)),
                lambda: self._end(lambda tx: services.logout.end_access_token(tx, jti, expires)),
            ]
        )

    def _end(self, ending) -> None:
        with self._services.database.writing() as tx:
            assert ending(tx)


@dataclass(frozen=True)
class Part:
    """So many endings, and what goes wrong meanwhile: what begins it, for how many seconds at least, and what mends it."""

    endings: int
    begin: Callable[[], object] | None = None
    seconds: float = 0.0
    mend: Callable[[], object] | None = None


class Trouble:
    """What goes wrong: a part of the way each, for longer than the promise, with calm before and after."""

    def __init__(self, provider: RunningProvider, relay: Relay) -> None:
        self._provider, self._relay = provider, relay

    def parts(self) -> list["Part"]:
        """Calm, and everything that goes wrong with calm in between; again and again, where much is to end."""
        rounds = max(1, REVOCATIONS // ROUND)
        troubles = [
            (self._provider.kill, AWAY, self._provider.start),
            (self._cut, AWAY, self._relay.mend),
            (self._relay.break_all, AWAY, self._relay.mend),
            (self._provider.kill, 0.0, self._provider.start),
        ]
        disturbed = min(MOST_DISTURBED, REVOCATIONS // rounds // (2 * len(troubles) + 1))
        calm = Part(-(-(REVOCATIONS // rounds - len(troubles) * disturbed) // (len(troubles) + 1)))
        one = [calm, *(part for trouble in troubles for part in (Part(disturbed, *trouble), calm))]
        return one * rounds

    def _cut(self) -> None:
        self._relay.cut = True


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nobody_accepts_what_ended_for_longer_than_was_promised(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_databases")() if dialect == "postgresql" else ""
    provider = RunningProvider(tmp_path, url, SETTINGS)
    relay = Relay(provider.port)
    provider.settings["ISSUER"] = f"http://localhost:{relay.port}"
    tally = Tally()
    try:
        provider.start()
        with verifiers(provider.issuer, receiver_of(provider).auth) as ends:
            campaign = Campaign(Revoker(provider), ends, tally)
            for part in Trouble(provider, relay).parts():
                campaign.go_through(part)
    finally:
        relay.close()
        provider.close()
    _judge(tally, dialect)


class Campaign:
    """Ends things, and asks the verifiers what they made of it."""

    def __init__(self, revoker: Revoker, ends: list[Connection], tally: Tally) -> None:
        self._revoker, self._ends, self._tally = revoker, ends, tally
        self._exchange([], [token for token, _ in revoker.make(_ALIVE)])

    def go_through(self, part: Part) -> None:
        """A part of the endings, while something is wrong or nothing; at the end everybody has heard of everything."""
        if part.begin is not None:
            part.begin()
        began, goal = time.monotonic(), len(self._tally.committed) + part.endings
        while len(self._tally.committed) < goal:
            self._batch(disturbed=part.begin is not None)
        if part.mend is not None:
            time.sleep(max(0.0, began + part.seconds - time.monotonic()))
            part.mend()
        deadline = time.monotonic() + _PATIENCE
        while any(len(one.ended) < len(self._tally.committed) for one in self._tally.reports):
            assert time.monotonic() < deadline, "somebody never heard of an ending"
            time.sleep(0.05)
            self._exchange([], [])

    def _batch(self, *, disturbed: bool) -> None:
        first = len(self._tally.committed)
        made = list(enumerate(self._revoker.make(BATCH), first))
        self._exchange([(number, token) for number, (token, _) in made], [])
        for number, (_, end) in made:
            end()
            self._tally.committed[number] = time.monotonic()
            if disturbed:
                self._tally.disturbed.add(number)

    def _exchange(self, watch: list[tuple[int, str]], alive: list[str]) -> None:
        for end in self._ends:
            end.send({"watch": watch, "alive": alive})
        for place, end in enumerate(self._ends):
            self._tally.take(place, end.recv())


def _judge(tally: Tally, dialect: str) -> None:
    exposures = tally.exposures()
    late = [(number, seconds) for number, seconds in exposures if seconds > STALENESS]
    accepted, stale = sum(one.accepted for one in tally.reports), sum(one.stale for one in tally.reports)
    print(
        f"\n{len(tally.committed):,} endings on {dialect}, {len(SETUPS)} verifiers, clocks wrong by up to 30 s, provider killed and cut off: "
        f"{accepted:,} tokens accepted, {stale:,} refused as stale; accepted later than {STALENESS:g} s after the ending: {len(late)}; "
        f"longest {max(seconds for _, seconds in exposures):.2f} s."
    )
    for place, setup in enumerate(SETUPS):
        refusals = tally.refusals(place)
        print(
            f"Commit to refusal by {setup.way} while nothing was wrong: p50 {_part(refusals, 0.5):.0f} ms, "
            f"p99 {_part(refusals, 0.99):.0f} ms, max {refusals[-1]:.0f} ms ({len(refusals):,} measured)."
        )
    assert not late
    assert sum(one.revived for one in tally.reports) == 0, "what was refused once is refused for ever"
    assert sum(one.collateral for one in tally.reports) == 0, "and nobody else's token"
    assert all(one.accepted and one.stale for one in tally.reports), "each accepted much, and knew when it could not know"
    assert not [text for one in tally.reports for text in one.other]


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
