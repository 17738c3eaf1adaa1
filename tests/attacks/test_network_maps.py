"""docs/threats.md 40: who registers learns nothing of the network that we are in, whichever member names a host (items of one kind)."""

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from idp.clients import cli
from idp.clients.keys import ClientKeysError
from idp.runtime import audit
from idp.runtime.outbound.client import Outbound, UnreachableError
from tests.clients.registering import METADATA, World

MEMBERS = ("backchannel_logout_uri", "jwks_uri", "sector_identifier_uri", "request_uris")
#: What a name resolves to; an error is raised.
NAMES: dict[str, list[str] | Exception] = {
    "private.example": ["10.1.2.3"],
    "loopback.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "inside-v6.example": ["fd00::1"],
    "mixed.example": ["93.184.216.34", "10.1.2.3"],
    "unknown.example": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "later.example": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "broken.example": OSError("the resolver is broken"),
    "slow.example": TimeoutError(),
    "nowhere.example": [],
}
#: Named by themselves, or in a form of their own.
LITERALS = ("10.1.2.3", "127.0.0.1", "[fd00::1]", "2130706433", "192.168.0.1:8443")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the log was told."""
    events: list[dict[str, object]] = []
    monkeypatch.setattr(audit, "warn", lambda event, **fields: events.append({"event": event, **fields}))
    return events


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Under an https issuer nothing local is allowed."""
    made = World.build(
        f"sqlite:///{tmp_path / 'idp.sqlite3'}", issuer="https://idp.example", clients_registration_hourly=100_000
    )

    def resolve(host: str, _port: int) -> list[str]:
        found = NAMES[host]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(made.provider.outbound._lookups, "_resolver", resolve)
    yield made
    made.provider.database.dispose()


def member(name: str, host: str) -> dict[str, object]:
    uri = f"https://{host}/x"
    return {name: [uri] if name == "request_uris" else uri}


@pytest.mark.parametrize("name", MEMBERS)
def test_every_host_that_cannot_be_contacted_is_refused_in_the_same_words(
    world: World, told: list[dict[str, object]], name: str
) -> None:
    own = world.register()
    said = set()
    for host in (*NAMES, *LITERALS):
        sent = METADATA | {"client_id": own.client_id} | member(name, host)
        updated = world.send("PUT", f"/register/{own.client_id}", own.token, sent)
        for answer in (world.try_to_register(**member(name, host)), updated):
            assert answer.status_code == 400, (host, answer.text)
            said.add(answer.text)
            assert not re.search(r"10\.1|127\.0|169\.254|fd00|private|loopback|resolve|IDP_|not known", answer.text)
    assert len(said) == 1, said
    reasons = {str(event["host"]): str(event["reason"]) for event in told if event["event"] == "client.address_refused"}
    assert {*NAMES, *LITERALS} == set(reasons)
    assert "10.1.2.3 is a private address" in reasons["private.example"]
    assert "cannot be looked up" in reasons["unknown.example"]


@pytest.mark.parametrize(
    "failure",
    [
        UnreachableError("public.example: connection refused"),
        UnreachableError("public.example: no answer within 5 s"),
        UnreachableError("public.example: certificate verify failed"),
        ssl.SSLError("x"),
        404,
        302,
        b"{}",
        b"[1]",
        b"[",
        b"\xff",
    ],
    ids=repr,
)
def test_whatever_is_wrong_with_the_document_of_a_sector_is_said_in_the_same_words(
    world: World, told: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, failure: object
) -> None:
    def get(_outbound: Outbound, _url: str, **_more: object) -> object:
        from idp.runtime.outbound.http1 import HttpReply

        if isinstance(failure, ssl.SSLError):
            raise UnreachableError(str(failure))
        if isinstance(failure, Exception):
            raise failure
        return HttpReply(failure, {}, b"") if isinstance(failure, int) else HttpReply(200, {}, failure)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbound, "get", get)
    monkeypatch.setitem(NAMES, "public.example", ["93.184.216.34"])
    answer = world.try_to_register(**member("sector_identifier_uri", "public.example"))
    assert answer.status_code == 400
    sentence = "sector_identifier_uri: it must answer 200 with a JSON array of redirect URIs, within a few seconds."
    assert answer.json["error_description"] == sentence
    assert [event["event"] for event in told] == ["client.sector_not_fetched"]


def test_keys_that_cannot_be_fetched_are_said_to_be_so_in_the_same_words(
    world: World, told: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = set()
    for number, (host, found) in enumerate(list(NAMES.items())):
        monkeypatch.setitem(NAMES, host, ["93.184.216.34"])
        answer = world.try_to_register(jwks_uri=f"https://{host}/{number}")
        assert answer.status_code == 201, answer.text
        monkeypatch.setitem(NAMES, host, found)
        client = world.provider.clients.find(answer.json["client_id"])
        assert client is not None
        with pytest.raises(ClientKeysError) as refused:
            world.provider.clients.keys_of(client)
        said.add(str(refused.value))
    assert len(said) == 1
    assert "10.1" not in said.pop()
    assert "client.keys_not_fetched" in {event["event"] for event in told}


def test_an_operator_is_told_which_address_it_is_and_may_name_what_is_there_tomorrow(world: World, tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    text = '{"redirect_uris": ["https://app.example/cb"], "jwks_uri": "https://HOST/jwks"}'
    file.write_text(text.replace("HOST", "private.example"))
    refused = CliRunner().invoke(cli.group, ["add", "--file", str(file)], obj=world.provider)
    assert refused.exit_code == 1
    assert "10.1.2.3 is a private address" in str(refused.output) + str(refused.exception)
    file.write_text(text.replace("HOST", "unknown.example"))
    assert CliRunner().invoke(cli.group, ["add", "--file", str(file)], obj=world.provider).exit_code == 0
