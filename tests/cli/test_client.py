"""`idp client`: relying parties, in RFC 7591's words."""

import json
from pathlib import Path

import pytest

from tests.cli.running import DONE, USAGE, run
from tests.support.serving import RunningProvider

METADATA = {
    "client_name": "Notes",
    "redirect_uris": ["https://notes.example.org/callback"],
    "backchannel_logout_uri": "https://notes.example.org/logout",
}


def add(idp: RunningProvider, metadata: object = METADATA):
    return run(idp, "client", "add", "--file", "-", stdin=json.dumps(metadata))


def test_registering_answers_as_rfc_7591_does_and_shows_the_secret_this_once(idp: RunningProvider) -> None:
    response = add(idp).json
    secret = response["client_secret"]
    assert response["client_secret_expires_at"] == 0
    assert response["client_id_issued_at"] > 0
    assert {name: response[name] for name in METADATA} == METADATA
    for said in (
        run(idp, "client", "show", response["client_id"]),
        run(idp, "client", "show", response["client_id"], "--json"),
        run(idp, "client", "list"),
        run(idp, "client", "list", "--json"),
    ):
        assert said.code == DONE
        assert response["client_id"] in said.out
        assert secret not in said.out + said.err
        assert "secret_hash" not in said.out


def test_metadata_comes_from_a_file_too_and_a_public_client_gets_no_secret(idp: RunningProvider, tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    file.write_text(json.dumps({**METADATA, "token_endpoint_auth_method": "none"}))
    response = run(idp, "client", "add", "--file", str(file), "--json").json
    assert "client_secret" not in response
    assert run(idp, "client", "show", response["client_id"], "--json").json["client_name"] == "Notes"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("[" * 100_000, "JSON"),
        (json.dumps({"client_name": "x"}), "redirect_uris"),
        (json.dumps({**METADATA, "redirect_uris": ["http://notes.example.org/"]}), "redirect_uris"),
        (json.dumps({**METADATA, "backchannel_logout_uri": "ftp://x"}), "backchannel_logout_uri"),
    ],
)
def test_metadata_that_cannot_be_registered_is_refused_with_the_member_at_fault(
    idp: RunningProvider, content: str, word: str
) -> None:
    assert word in run(idp, "client", "add", "--file", "-", stdin=content).refusal
    assert run(idp, "client", "list", "--json").json == []


@pytest.mark.parametrize("host", ["10.0.0.5", "169.254.169.254", "[fd00::1]", "[::ffff:192.168.0.1]", "[fe80::1]"])
def test_a_logout_uri_that_will_never_be_contacted_is_refused_with_the_reason(idp: RunningProvider, host: str) -> None:
    refusal = add(idp, {**METADATA, "backchannel_logout_uri": f"https://{host}/logout"}).refusal
    assert "backchannel_logout_uri" in refusal
    assert "IDP_OUTBOUND_ALLOW" in refusal
    assert run(idp, "client", "list", "--json").json == []


def test_removing_is_final(idp: RunningProvider) -> None:
    client_id = add(idp).json["client_id"]
    assert run(idp, "client", "remove", client_id, "--json").json == {"client_id": client_id, "removed": True}
    for command in ("remove", "show"):
        assert "idp client list" in run(idp, "client", command, client_id).refusal
    assert run(idp, "client", "list").out == "None.\n"


def test_wrong_usage(idp: RunningProvider) -> None:
    for arguments in (["add"], ["add", "--file", "/nowhere.json"], ["show"], ["remove"], ["frobnicate"]):
        assert run(idp, "client", *arguments).code == USAGE
