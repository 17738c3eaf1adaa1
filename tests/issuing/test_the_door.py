"""Every grant, with everything that can be withdrawn: nothing is issued, and the error is the right one.

Twice each: as people and operators do it, which also ends what was given; and with the bare row, as if whoever wrote the
ending had forgotten that grant. A grant that is registered and has no recipe here fails.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from sqlalchemy import delete, select, update
from werkzeug.test import TestResponse

from idp.accounts.models import AccountRow
from idp.clients.models import ClientRow
from idp.clients.rules import IMPLICIT
from idp.consent.models import ConsentRow
from idp.grants.endpoints import GRANTS
from idp.runtime.database import table_of
from idp.sessions.models import SessionRow
from tests.keys.grounds import Clock
from tests.sessions.deployment import ABSOLUTE, CALLBACK, Browser, Deployment
from tests.support.databases import DIALECTS, migrated

SCOPE = "openid email"
ITS_OWN = "reports"
METADATA: dict[str, object] = {
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code", "refresh_token", IMPLICIT, "client_credentials"],
    "response_types": ["code", "id_token token", "code id_token token"],
    "scope": f"{SCOPE} offline_access {ITS_OWN}",
}


@dataclass
class Case:
    """An app of somebody else's that Alice uses, and what a recipe prepared for it."""

    deployment: Deployment
    browser: Browser
    subject: str
    sid: str
    client_id: str
    auth: tuple[str, str]
    prepared: dict[str, str] = field(default_factory=dict)

    @classmethod
    def build(cls, deployment: Deployment) -> "Case":
        provider, browser = deployment.provider, deployment.browser()
        with provider.database.writing() as tx:
            added = provider.clients.add(tx, METADATA)
            account = provider.accounts.find(tx, "alice")
            assert account is not None
            assert added.secret is not None
            provider.consents.remember(tx, account.subject, added.client.client_id, SCOPE.split())
            client_id = added.client.client_id
        return cls(deployment, browser, account.subject, browser.sid, client_id, (client_id, added.secret))

    def authorize(self, response_type: str) -> dict[str, str]:
        """What the app is sent, by query or fragment; nothing where the person is shown a page first."""
        asked = {"client_id": self.client_id, "redirect_uri": CALLBACK, "scope": SCOPE, "state": "s", "nonce": "n"}
        answer = self.browser.open("/authorize?" + urlencode(asked | {"response_type": response_type}))
        parts = urlsplit(answer.headers.get("Location", ""))
        if not parts.geturl().startswith(CALLBACK):
            return {}
        return dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))

    def token(self, **data: str) -> dict[str, str]:
        answer: TestResponse = self.deployment.web.test_client().post("/token", data=data, auth=self.auth)
        assert answer.status_code in {200, 400, 401}, answer.text
        found: dict[str, str] = answer.json
        return found

    def redeem(self) -> dict[str, str]:
        return self.token(grant_type="authorization_code", code=self.prepared["code"], redirect_uri=CALLBACK)

    # -- what is withdrawn ------------------------------------------------------------------------------------------

    def set_row(self, model: type, key: str, **values: object) -> None:
        """Change a row behind everybody's back."""
        table = table_of(model)
        by = {"subject": self.subject, "sid": self.sid, "client_id": self.client_id}
        with self.deployment.provider.database.writing() as tx:
            assert tx.execute(update(table).where(table.c[key] == by[key]).values(**values)).rowcount

    def set_metadata(self, **changes: object) -> None:
        """Change the client's row and nothing else; no process hears of it."""
        clients = table_of(ClientRow)
        with self.deployment.provider.database.reading() as tx:
            stored = tx.execute(select(clients.c.metadata).where(clients.c.client_id == self.client_id)).scalar_one()
        self.set_row(ClientRow, "client_id", metadata=json.dumps(json.loads(stored) | changes))

    def change(self, **changes: object) -> None:
        """As `idp client set` does."""
        provider = self.deployment.provider
        with provider.database.writing() as tx:
            done = provider.clients.set_metadata(tx, self.client_id, METADATA | changes)
            assert done is not None
            provider.logout.end_withdrawn(tx, done[0], done[1].client)


def _code(case: Case) -> None:
    case.prepared["code"] = case.authorize("code")["code"]


def _refresh_token(case: Case) -> None:
    _code(case)
    case.prepared["refresh_token"] = case.redeem()["refresh_token"]


@dataclass(frozen=True)
class Recipe:
    """How a grant is prepared, and then used; `person` says whether it is for a person at all."""

    prepare: Callable[[Case], None]
    use: Callable[[Case], dict[str, str]]
    person: bool = True


def _known(case: Case) -> None:
    """The process knows the client from before."""
    assert case.deployment.provider.clients.find(case.client_id) is not None


RECIPES = {
    "authorization_code": Recipe(_code, Case.redeem),
    "refresh_token": Recipe(
        _refresh_token, lambda case: case.token(grant_type="refresh_token", refresh_token=case.prepared["refresh_token"])
    ),
    "implicit": Recipe(_known, lambda case: case.authorize("id_token token")),
    "implicit, hybrid": Recipe(_known, lambda case: case.authorize("code id_token token")),
    "client_credentials": Recipe(_known, lambda case: case.token(grant_type="client_credentials", scope=ITS_OWN), person=False),
}


@dataclass(frozen=True)
class Withdrawn:
    """What is withdrawn, by its proper act and by its row alone, and what `/token` and the app's callback say to each.

    None is for a page that the person is shown, and of which the app hears nothing.
    """

    act: Callable[[Case, str], None]
    row: Callable[[Case, str], None]
    errors: tuple[str, str]
    at_callback: tuple[str | None, str | None] = (None, None)


def _logout(case: Case, method: str, *arguments: str) -> None:
    with case.deployment.provider.database.writing() as tx:
        assert getattr(case.deployment.provider.logout, method)(tx, *arguments)


def _account(case: Case, method: str) -> None:
    with case.deployment.provider.database.writing() as tx:
        assert getattr(case.deployment.provider.accounts, method)(tx, case.subject) is not None


def _no_account(case: Case, _grant: str) -> None:
    accounts = table_of(AccountRow)
    with case.deployment.provider.database.writing() as tx:
        assert tx.execute(delete(accounts).where(accounts.c.subject == case.subject)).rowcount


def _withdraw(case: Case, _grant: str) -> None:
    with case.deployment.provider.database.writing() as tx:
        case.deployment.provider.consents.withdraw(tx, case.subject, case.client_id)


def _without(grant: str) -> dict[str, object]:
    gone = {grant.partition(",")[0], *(["refresh_token"] if grant == "authorization_code" else [])}
    kept = [name for name in METADATA["grant_types"] if name not in gone]  # type: ignore[attr-defined]
    front, code = ["id_token token"] if IMPLICIT in kept else [], ["code"] if "authorization_code" in kept else []
    return {"grant_types": kept, "response_types": [*front, *code, *(["code id_token token"] if front and code else [])]}


def _time(case: Case, _grant: str) -> None:
    case.deployment.clock.now += ABSOLUTE


LESS = "openid offline_access"
WITHDRAWN = {
    "account disabled": Withdrawn(
        lambda case, _: _account(case, "disable"),
        lambda case, _: case.set_row(AccountRow, "subject", disabled_at=case.deployment.clock.now),
        ("invalid_grant", "invalid_grant"),
    ),
    "account removed": Withdrawn(lambda case, _: _account(case, "remove"), _no_account, ("invalid_grant", "invalid_grant")),
    "session ended": Withdrawn(
        lambda case, _: _logout(case, "end_session", case.sid, "signed_out"),
        lambda case, _: case.set_row(SessionRow, "sid", ended_at=case.deployment.clock.now),
        ("invalid_grant", "invalid_grant"),
    ),
    "session expired": Withdrawn(
        _time,
        lambda case, _: case.set_row(SessionRow, "sid", expires_at=case.deployment.clock.now - 1),
        ("invalid_grant", "invalid_grant"),
    ),
    "client removed": Withdrawn(
        lambda case, _: _logout(case, "end_client", case.client_id),
        lambda case, _: case.set_row(ClientRow, "client_id", ended_at=case.deployment.clock.now),
        ("invalid_client", "invalid_client"),
    ),
    "grant type withdrawn": Withdrawn(
        lambda case, grant: case.change(**_without(grant)),
        lambda case, grant: case.set_metadata(**_without(grant)),
        ("unauthorized_client", "unauthorized_client"),
        ("unauthorized_client", "unauthorized_client"),
    ),
    "consent withdrawn": Withdrawn(
        _withdraw,
        lambda case, _: case.set_row(ConsentRow, "client_id", ended_at=case.deployment.clock.now),
        ("invalid_grant", "invalid_grant"),
    ),
    "scope not allowed": Withdrawn(
        lambda case, _: case.change(scope=LESS),
        lambda case, _: case.set_metadata(scope=LESS),
        ("invalid_grant", "invalid_scope"),
        ("invalid_scope", "invalid_scope"),
    ),
}
#: What concerns the person alone takes nothing from a client that acts for itself.
OF_THE_PERSON = {name for name in WITHDRAWN if name.startswith(("account", "session", "consent"))}


@pytest.fixture(params=DIALECTS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """A process that remembers clients for an hour: what it is told of them then comes from the door alone."""
    settings: dict[str, object] = {
        "clients_cache_seconds": 3600,
        "authorization_response_types": ["code", "id_token token", "code id_token token"],
    }
    deployment = Deployment.build(migrated(request, tmp_path), Clock(), **settings)
    yield Case.build(deployment)
    deployment.close()


def test_every_registered_grant_has_its_recipe() -> None:
    registered = {grant.GRANT_TYPE for grant in GRANTS} | {IMPLICIT}
    assert {name.partition(",")[0] for name in RECIPES} == registered


@pytest.mark.parametrize("grant", RECIPES)
def test_what_stands_well_is_issued(case: Case, grant: str) -> None:
    """The control: without it, a recipe that never issues would pass every test below."""
    RECIPES[grant].prepare(case)
    assert RECIPES[grant].use(case)["access_token"]


@pytest.mark.parametrize("forgotten", [False, True], ids=["as it is done", "though its ending was forgotten"])
@pytest.mark.parametrize("withdrawn", WITHDRAWN)
@pytest.mark.parametrize("grant", RECIPES)
def test_nothing_is_issued_of_what_was_withdrawn(case: Case, grant: str, withdrawn: str, *, forgotten: bool) -> None:
    recipe, what = RECIPES[grant], WITHDRAWN[withdrawn]
    recipe.prepare(case)
    (what.row if forgotten else what.act)(case, grant)
    if not recipe.person and forgotten:
        # No statement is asked for it: what a process still gives that remembers the client counts nowhere.
        case.deployment.provider.clients.forget(case.client_id)
    answer = recipe.use(case)
    if not recipe.person and withdrawn in OF_THE_PERSON:
        assert answer["access_token"]
        return
    at_callback = grant.startswith(IMPLICIT)
    if at_callback and withdrawn == "scope not allowed" and not forgotten:
        assert answer["scope"] == "openid", "a scope that a client may not have is left out of what begins (OIDC Core §3.1.2.1)"
        return
    assert not {"access_token", "id_token", "refresh_token", "code"} & set(answer), answer
    expected = (what.at_callback if at_callback else what.errors)[forgotten]
    if not recipe.person and withdrawn == "scope not allowed":
        expected = "invalid_scope"
    assert answer.get("error") == expected, answer
    assert expected is None or len(answer["error_description"]) > 20


def test_a_client_that_is_the_providers_own_no_more_keeps_what_its_people_were_never_asked_for(case: Case) -> None:
    provider = case.deployment.provider
    with provider.database.writing() as tx:
        provider.consents.withdraw(tx, case.subject, case.client_id)
    case.deployment.clock.now += 1
    case.change(first_party=True)
    _refresh_token(case)
    case.change(first_party=False)
    assert case.token(grant_type="refresh_token", refresh_token=case.prepared["refresh_token"])["access_token"]
    assert case.authorize("code") == {}, "what begins is asked for"


def test_what_was_withdrawn_and_allowed_anew_gives_known_of_before(case: Case) -> None:
    """The row alone was ended, and then the person allowed less."""
    _refresh_token(case)
    case.deployment.clock.now += 1
    case.set_row(ConsentRow, "client_id", ended_at=case.deployment.clock.now)
    with case.deployment.provider.database.writing() as tx:
        case.deployment.provider.consents.remember(tx, case.subject, case.client_id, ["openid"])
    answer = case.token(grant_type="refresh_token", refresh_token=case.prepared["refresh_token"])
    assert answer["error"] == "invalid_grant"


def test_a_session_that_ran_out_takes_its_refresh_tokens_along_though_nobody_marked_it(case: Case) -> None:
    _refresh_token(case)
    case.deployment.clock.now += ABSOLUTE
    token = case.prepared["refresh_token"]
    assert case.token(grant_type="refresh_token", refresh_token=token)["error"] == "invalid_grant"
    with case.deployment.provider.database.reading() as tx:
        family = case.deployment.provider.tokens.family_of_refresh_token(tx, token)
    assert family is not None
    assert family.generation == 0, "the refusal spent nothing"


def test_refreshing_keeps_a_session_alive_until_its_absolute_end(case: Case) -> None:
    _refresh_token(case)
    token, clock = case.prepared["refresh_token"], case.deployment.clock
    end = clock.now + ABSOLUTE
    while clock.now + 3600 < end:
        clock.now += 3600
        token = case.token(grant_type="refresh_token", refresh_token=token)["refresh_token"]
    clock.now = end
    assert case.token(grant_type="refresh_token", refresh_token=token)["error"] == "invalid_grant"
