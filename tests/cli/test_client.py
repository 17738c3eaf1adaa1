"""`idp client`: relying parties, in RFC 7591's words."""

import json
from pathlib import Path

import pytest

from tests.cli.running import DONE, USAGE, run
from tests.clients.keys import public, rsa
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


def test_an_initial_access_token_is_shown_once_listed_by_name_and_revoked(idp: RunningProvider) -> None:
    made = run(idp, "client", "token", "--uses", "3", "--lifetime", "600", "--json").json
    assert made["uses_left"] == 3
    assert made["expires_at"] - made["created_at"] == 600
    assert len(made["initial_access_token"]) >= 43
    for said in (run(idp, "client", "token", "--list"), run(idp, "client", "token", "--list", "--json")):
        assert made["token_id"] in said.out
        assert made["initial_access_token"] not in said.out + said.err
    gone = run(idp, "client", "token", "--revoke", made["token_id"], "--json").json
    assert gone == {"token_id": made["token_id"], "revoked": True}
    assert run(idp, "client", "token", "--list", "--json").json == []
    assert "idp client token --list" in run(idp, "client", "token", "--revoke", made["token_id"]).refusal
    assert run(idp, "client", "token", "--uses", "0").code == USAGE


def test_a_client_with_keys_and_languages_is_shown_whole(idp: RunningProvider) -> None:
    keys = public(rsa())
    more = {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys, "client_name#de": "Notizen"}
    response = add(idp, METADATA | more).json
    assert "client_secret" not in response
    shown = run(idp, "client", "show", response["client_id"], "--json").json
    assert {name: shown[name] for name in more} == more
    assert "Notizen" in run(idp, "client", "show", response["client_id"]).out
    for member in ("secret_sealed", "registration_hash", "registration_hash_before", "secret_hash_before", "localised"):
        assert member not in shown


def test_secrets_that_are_kept_move_to_another_secret_of_the_deployment(idp: RunningProvider) -> None:
    old, new = "an old secret of the tests that is long enough", "a new secret of the tests that is long enough"
    sent = json.dumps(METADATA | {"token_endpoint_auth_method": "client_secret_jwt"})
    assert run(idp, "client", "add", "--file", "-", stdin=sent, SECRET_KEY=old).code == DONE
    both = {"SECRET_KEY": f"{new},{old}"}
    assert run(idp, "client", "reseal", "--json", SECRET_KEY=f"{old},{new}").json == {"resealed": 0, "secrets": 1}
    assert "idp client reseal" in run(idp, "doctor", **both).out
    assert run(idp, "client", "reseal", "--json", **both).json == {"resealed": 1, "secrets": 1}
    assert run(idp, "key", "reseal", **both).code == DONE
    assert run(idp, "client", "reseal", "--json", SECRET_KEY=new).json == {"resealed": 0, "secrets": 1}
    assert "idp client reseal" not in run(idp, "doctor", SECRET_KEY=new).out
