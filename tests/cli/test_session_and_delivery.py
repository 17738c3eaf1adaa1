"""`idp session` and `idp delivery`: who is signed in, ending that, and what became of the news."""

from dataclasses import dataclass

import pytest

from idp.sessions.rules import SignIn
from tests.cli.running import DONE, USAGE, run
from tests.support.serving import RunningProvider, free_port


@dataclass
class Signed:
    """Alice's session at the provider, and the one relying party that took part: it is down."""

    idp: RunningProvider
    client_id: str
    sid: str
    subject: str


@pytest.fixture
def signed(idp: RunningProvider) -> Signed:
    subject = run(idp, "user", "add", "alice", "--password-stdin", "--json", stdin="correct horse battery staple\n").json[
        "subject"
    ]
    client = idp.add_client(
        {"redirect_uris": ["https://app.example.org/"], "backchannel_logout_uri": f"http://127.0.0.1:{free_port()}/logout"}
    )
    services = idp.services
    with services.database.writing() as tx:
        session = services.sessions.start(tx, SignIn(subject, "pwd", "203.0.113.7", "Firefox\x1b[2J")).session
        services.sessions.take_part(tx, session, services.clients.get(tx, str(client["client_id"])))
    return Signed(idp, str(client["client_id"]), session.sid, subject)


def test_a_session_is_listed_shown_and_ended_and_its_parties_are_told(signed: Signed) -> None:
    idp = signed.idp
    assert [row["sid"] for row in run(idp, "session", "list", "--json").json] == [signed.sid]
    assert [row["sid"] for row in run(idp, "session", "list", "--user", "ALICE", "--json").json] == [signed.sid]
    shown = run(idp, "session", "show", signed.sid, "--json").json
    assert (shown["state"], shown["subject"], shown["clients"]) == ("alive", signed.subject, [signed.client_id])
    assert not {"cookie", "cookie_hash"} & set(shown)

    ended = run(idp, "session", "end", signed.sid, "--json").json
    assert ended == {"sid": signed.sid, "ended": True, "clients": [signed.client_id]}

    assert run(idp, "session", "list").out == "None.\n"
    after = run(idp, "session", "show", signed.sid, "--json").json
    assert (after["state"], after["end_reason"]) == ("ended", "ended_by_operator")
    assert "idp session list" in run(idp, "session", "end", signed.sid).refusal
    (delivery,) = run(idp, "delivery", "list", "--json").json
    assert (delivery["state"], delivery["sid"], delivery["client_id"]) == ("waiting", signed.sid, signed.client_id)


def test_people_read_tables_without_escape_sequences(signed: Signed) -> None:
    for arguments in (["list"], ["show", signed.sid]):
        said = run(signed.idp, "session", *arguments)
        assert said.code == DONE
        assert signed.sid in said.out
        assert "203.0.113.7" in said.out
        assert "UTC" in said.out
        assert "\x1b" not in said.out


def test_deliveries_are_listed_by_state_shown_and_retried(signed: Signed) -> None:
    idp = signed.idp
    assert run(idp, "session", "end", signed.sid).code == DONE
    (waiting,) = run(idp, "delivery", "list", "--state", "waiting", "--json").json
    for state in ("delivered", "dead", "in-flight"):
        assert run(idp, "delivery", "list", "--state", state, "--json").json == []
    shown = run(idp, "delivery", "show", waiting["delivery_id"], "--json").json
    assert shown == waiting
    retried = run(idp, "delivery", "retry", waiting["delivery_id"], "--json").json
    assert retried["delivery_id"] == waiting["delivery_id"]
    for arguments in (["list"], ["show", waiting["delivery_id"]], ["retry", waiting["delivery_id"]]):
        said = run(idp, "delivery", *arguments)
        assert said.code == DONE
        assert waiting["delivery_id"] in said.out
        assert "waiting" in said.out


def test_what_is_not_there_is_refused_and_wrong_usage_is_told(signed: Signed) -> None:
    idp = signed.idp
    for arguments in (["session", "show", "x"], ["session", "end", "x"], ["delivery", "show", "x"], ["delivery", "retry", "x"]):
        assert run(idp, *arguments).refusal
    assert "idp user list" in run(idp, "session", "list", "--user", "nobody").refusal
    for arguments in (["session", "show"], ["delivery", "list", "--state", "lost"], ["delivery"], ["session", "end"]):
        assert run(idp, *arguments).code == USAGE
