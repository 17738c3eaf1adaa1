"""Alice at two browsers, Bob at one, two apps: see `matrix`. The first app has pairwise subjects: it knows all by other names."""

import secrets
import time
from dataclasses import dataclass, field

from idp.logout.reaper import Reaper
from idp.runtime.database import table_of
from idp.sessions.models import SessionClientRow, SessionRow
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider
from tests.support.status_lists import StatusList, reference

#: In seconds; what the provider is set to.
STATUS_TTL = 1
PASSWORD, ANOTHER = "correct horse battery staple", "an entirely different battery"


@dataclass
class World:
    """Everything that may be alive. `look` tells what is."""

    provider: RunningProvider
    alice: str
    bob: str
    here: Person
    there: Person
    bobs: Person
    one: RelyingParty
    two: RelyingParty
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    #: The provider's own names of the sessions, and which of them an app means by the name that it knows.
    sids: dict[str, str] = field(default_factory=dict)
    told: dict[tuple[str, str], str] = field(default_factory=dict)
    code: str = ""
    spent: str = ""
    verifier: str = ""

    @classmethod
    def make(cls, provider: RunningProvider) -> "World":
        names = [f"{name}-{secrets.token_hex(4)}" for name in ("alice", "bob")]
        accounts = provider.services.accounts
        with provider.services.database.writing() as tx:
            for name in names:
                accounts.add(tx, accounts.prepare(name, PASSWORD))
        people = [Person(provider.issuer) for _ in range(3)]
        apps = [
            RelyingParty.register(provider, receiver=Receiver(), first_party=False, subject_type=kind)
            for kind in ("pairwise", "public")
        ]
        made = cls(provider, *names, *people, *apps)
        made._sign_in("one here", made.here, made.one, made.alice, spent=True)
        made._sign_in("two here", made.here, made.two, made.alice)
        made._sign_in("one there", made.there, made.one, made.alice)
        made._sign_in("offline one", made.here, made.one, made.alice, offline=True)
        made._sign_in("bob's one", made.bobs, made.one, made.bob)
        made._sign_in("bob's two", made.bobs, made.two, made.bob)
        made._sign_in("bob's offline one", made.bobs, made.one, made.bob, offline=True)
        made.code = made.one.code_from(made.here.open(made.one.authorization_url()))
        made.verifier = made.one.verifier
        return made

    def close(self) -> None:
        for person in (self.here, self.there, self.bobs):
            person.http.close()
        for app in (self.one, self.two):
            assert app.receiver is not None
            app.receiver.close()

    def _sign_in(
        self, name: str, person: Person, app: RelyingParty, username: str, *, offline: bool = False, spent: bool = False
    ) -> None:
        more = {"scope": "openid offline_access", "prompt": "consent"} if offline else {}
        page = person.open(app.authorization_url(**more))
        if page.main == "login-page":
            page = person.sign_in(page, username, PASSWORD)
        if page.main == "consent-page":
            page = person.submit(page, "consent-allow")
        code = app.code_from(page)
        answer = app.redeem(code)
        assert answer.status_code == 200, answer.text
        self.tokens[name] = answer.json()
        told = str(app.verified(self.tokens[name]["id_token"], audience=app.client_id, typ="JWT")["sid"])
        self.sids[name] = self._session_that_is_told_as(told)
        self.told[app.client_id, told] = self.sids[name]
        if spent:
            self.spent, self.verifier_spent = code, app.verifier

    def _session_that_is_told_as(self, told: str) -> str:
        table, database = table_of(SessionClientRow), self.provider.services.database
        with database.reading() as tx:
            row = tx.execute(table.select().where(table.c.sector_sid == told)).first()
        return told if row is None else str(row.sid)

    # -- what is alive ----------------------------------------------------------------------------------------------------

    def look(self) -> set[str]:
        """The things that are dead."""
        alive = {
            "cookie here": self._knows(self.here, self.alice),
            "cookie there": self._knows(self.there, self.alice),
            "bob's cookie": self._knows(self.bobs, self.bob),
            "access one here": self._counts(self.one, "one here"),
            "access two here": self._counts(self.two, "two here"),
            "access one there": self._counts(self.one, "one there"),
            "bob's access one": self._counts(self.one, "bob's one"),
            "bob's access two": self._counts(self.two, "bob's two"),
            "refresh one here": self._refreshes(self.one, "one here"),
            "refresh two here": self._refreshes(self.two, "two here"),
            "refresh one there": self._refreshes(self.one, "one there"),
            "offline one": self._refreshes(self.one, "offline one"),
            "bob's offline one": self._refreshes(self.one, "bob's offline one"),
            "code": self._redeems(),
        }
        told = self._told()
        alive |= {
            "app one here": (self.one.client_id, self.sids["one here"]) not in told,
            "app two here": (self.two.client_id, self.sids["two here"]) not in told,
            "app one there": (self.one.client_id, self.sids["one there"]) not in told,
            "bob's apps": not {(app.client_id, self.sids["bob's one"]) for app in (self.one, self.two)} & told,
        }
        return {thing for thing, is_alive in alive.items() if not is_alive}

    def listed(self, happened: float) -> dict[str, int]:
        """What the status list says of each access token, one `ttl` after the `time.monotonic()` at which it happened."""
        time.sleep(max(0.0, happened + STATUS_TTL - time.monotonic()))
        uri = f"{self.provider.issuer}/status/0"
        found = StatusList.verified(http.get(uri).text, http.get(f"{self.provider.issuer}/jwks").json(), uri)
        places = {name: reference(tokens["access_token"]) for name, tokens in self.tokens.items()}
        assert {each for each, _ in places.values()} == {uri}
        return {name: found[index] for name, (_, index) in places.items()}

    def _knows(self, person: Person, username: str) -> bool:
        page = person.open("account")
        return page.main == "account-page" and username in page.response.text

    def _counts(self, app: RelyingParty, name: str) -> bool:
        """Userinfo and introspection must agree."""
        token = self.tokens[name]["access_token"]
        by_userinfo = app.userinfo(token).status_code == 200
        asked = http.post(f"{self.provider.issuer}/introspect", data={"token": token}, auth=app.auth)
        by_introspection = asked.status_code == 200 and asked.json()["active"]
        assert by_userinfo == by_introspection, (name, asked.text)
        return by_userinfo

    def _refreshes(self, app: RelyingParty, name: str) -> bool:
        return app.refresh(self.tokens[name]["refresh_token"]).status_code == 200

    def _redeems(self) -> bool:
        return self.one.redeem(self.code, code_verifier=self.verifier).status_code == 200

    def _told(self) -> set[tuple[str, str]]:
        """Who was told of which session: what the outbox owes must arrive, and nothing else may."""
        services = self.provider.services
        with services.database.reading() as tx:
            owed = {
                (delivery.client_id, sid)
                for sid in set(self.sids.values())
                for delivery in services.deliveries.of_session(tx, sid)
                if delivery.client_id in {self.one.client_id, self.two.client_id}
            }
        arrived = set()
        for app in (self.one, self.two):
            assert app.receiver is not None
            count = sum(client_id == app.client_id for client_id, _ in owed)
            named = {str(app.logout_claims(token)["sid"]) for token in app.receiver.wait(count)[:]}
            arrived |= {(app.client_id, self.told[app.client_id, sid]) for sid in named}
        assert arrived == owed
        return arrived

    # -- what happens -----------------------------------------------------------------------------------------------------

    def account_page(self, button: str, **values: str) -> None:
        self.here.submit(self.here.open("account"), button, **values)

    def make_old(self, column: str, seconds: float) -> None:
        """As if the session had begun, or been used, so much earlier; then the reaper comes by."""
        table = table_of(SessionRow)
        database = self.provider.services.database
        with database.writing() as tx:
            tx.execute(table.update().where(table.c.sid == self.sids["one here"]).values({column: table.c[column] - seconds}))
        Reaper(database, self.provider.services.logout).reap()

    def in_the_shell(self, *arguments: str, stdin: str = "") -> None:
        self.provider.cli(*arguments, stdin=stdin)
