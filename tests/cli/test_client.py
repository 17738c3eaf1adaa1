"""`idp client`: relying parties, in RFC 7591's words."""

import json
from pathlib import Path

import pytest

from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import Authorization
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


def test_what_was_likely_meant_otherwise_is_warned_of_and_the_answer_is_whole(idp: RunningProvider) -> None:
    sent = METADATA | {"tokn_endpoint_auth_method": "none", "scope": "openid groups"}
    said = add(idp, sent)
    assert said.json["token_endpoint_auth_method"] == "client_secret_basic"
    warnings = [line for line in said.err.splitlines() if line.startswith("Warning: ")]
    assert "did you mean token_endpoint_auth_method?" in warnings[0]
    assert "groups gives nothing" in warnings[1]
    as_json = run(idp, "client", "add", "--file", "-", "--json", stdin=json.dumps(sent))
    assert "did you mean" in json.loads(as_json.err.splitlines()[0])["warning"]
    assert "Warning" not in add(idp).err


@pytest.mark.parametrize("uri", ["http://localhost:5001/*", "https://notes.example.org/*"])
def test_a_pattern_is_no_redirect_uri(idp: RunningProvider, uri: str) -> None:
    assert "wildcard" in add(idp, {**METADATA, "redirect_uris": [uri]}).refusal
    assert "comes twice" in run(idp, "client", "add", "--file", "-", stdin='{"scope": "a", "scope": "b"}').refusal


@pytest.mark.parametrize(
    ("uri", "may"),
    [
        ("http://192.168.1.20/cb", True),
        ("http://nas.local/cb", True),
        ("http://shop.example/cb", False),
        ("https://a.example/*", False),
    ],
)
def test_who_may_say_that_a_network_is_safe_is_told_how(idp: RunningProvider, uri: str, *, may: bool) -> None:
    refused = {**METADATA, "redirect_uris": [uri]}
    client_id = add(idp, METADATA).json["client_id"]
    assert ("insecure_uris" in add(idp, refused).refusal) is may
    assert ("insecure_uris" in set_(idp, client_id, refused).refusal) is may
    assert (add(idp, {**refused, "insecure_uris": True}).code == 0) is may


def set_(idp: RunningProvider, client_id: str, metadata: object, *options: str):
    return run(idp, "client", "set", client_id, "--file", "-", *options, stdin=json.dumps(metadata))


def test_a_client_is_changed_as_a_whole_and_keeps_its_name_and_its_secret(idp: RunningProvider) -> None:
    made = add(idp, METADATA | {"contacts": ["ops@example.org"]}).json
    client_id = made["client_id"]
    shown = run(idp, "client", "show", client_id, "--json").json
    said = set_(idp, client_id, shown | {"client_name": "Other notes"}, "--json").json  # what was printed comes back, changed
    assert said["changed"] == ["client_name"]
    assert said["secret_kept"] is True
    assert said["client"]["client_id"] == client_id
    assert "client_secret" not in said["client"]
    replaced = set_(idp, client_id, METADATA | {"client_id": client_id, "client_secret": made["client_secret"]}, "--json").json
    assert set(replaced["changed"]) == {"client_name", "contacts"}  # what is left out is gone (RFC 7592)
    client = idp.services.clients.find(client_id)
    assert client is not None
    assert client.check_client_secret(made["client_secret"])


def test_an_update_that_rfc_7592_does_not_allow_is_refused_with_the_member_at_fault(idp: RunningProvider) -> None:
    client_id = add(idp).json["client_id"]
    for more, word in (
        ({"client_id": "another"}, "client_id"),
        ({"client_secret": "chosen"}, "client_secret"),
        ({"client_id_issued_at": 1}, "client_id_issued_at"),
        ({"registration_access_token": "x"}, "registration_access_token"),
        ({"redirect_uris": ["http://notes.example.org/"]}, "redirect_uris"),
        ({"redirect_uris": ["https://notes.example.org/*"]}, "wildcard"),
        ({"backchannel_logout_uri": "https://10.0.0.5/"}, "IDP_OUTBOUND_ALLOW"),
    ):
        assert word in set_(idp, client_id, METADATA | more).refusal
    assert "idp client list" in set_(idp, "nobody", METADATA).refusal
    assert "JSON" in run(idp, "client", "set", client_id, "--file", "-", stdin="[").refusal
    assert run(idp, "client", "set", client_id).code == USAGE
    warned = set_(idp, client_id, METADATA | {"clientname": "x"})
    assert "did you mean client_name?" in warned.err


def test_what_would_end_is_said_beforehand_and_then_it_ends(idp: RunningProvider) -> None:
    wide = METADATA | {"grant_types": ["authorization_code", "refresh_token"], "scope": "openid email"}
    client_id = add(idp, wide).json["client_id"]
    services = idp.services
    with services.database.writing() as tx:
        given = Authorization(client_id, "alice", None, "openid email", True, tx.now, "1", "pwd")
        TokenIssuer(services.tokens).start_family(tx, TokenIssuer(services.tokens).new_family_id(), given, refreshable=True)
    narrow = wide | {"scope": "openid"}
    for _ in range(2):
        said = set_(idp, client_id, narrow, "--dry-run", "--json").json
        assert (said["dry_run"], said["withdrawn"], said["authorizations_ended"]) == (True, {"scopes": ["email"]}, 1)
    assert run(idp, "client", "show", client_id, "--json").json["scope"] == "openid email"
    done = set_(idp, client_id, narrow, "--json").json
    assert (done["dry_run"], done["authorizations_ended"]) == (False, 1)
    assert set_(idp, client_id, narrow, "--json").json["authorizations_ended"] == 0
    assert "authorizations_ended" in set_(idp, client_id, narrow).out


def test_another_way_to_authenticate_shows_another_secret_this_once(idp: RunningProvider) -> None:
    client_id = add(idp, METADATA | {"token_endpoint_auth_method": "none"}).json["client_id"]
    asked = set_(idp, client_id, METADATA, "--dry-run", "--json").json
    assert asked["secret_kept"] is False
    assert "client_secret" not in asked["client"]
    said = set_(idp, client_id, METADATA, "--json").json
    client = idp.services.clients.find(client_id)
    assert client is not None
    assert client.check_client_secret(said["client"]["client_secret"])


def test_a_secret_is_rotated_and_both_count_for_a_stated_time(idp: RunningProvider) -> None:
    made = add(idp).json
    client_id, old = made["client_id"], made["client_secret"]
    said = run(idp, "client", "rotate-secret", client_id, "--json", CLIENTS_SECRET_OVERLAP="600").json
    new, until = said["client_secret"], said["previous_secret_until"]
    assert len(new) == 64
    assert new != old
    for shown in (run(idp, "client", "show", client_id, "--json").json, run(idp, "client", "list", "--json").json[0]):
        assert shown["previous_secret_until"] == until
        assert "client_secret" not in shown
    for table in (run(idp, "client", "show", client_id), run(idp, "client", "list")):
        assert "UTC" in table.out
        assert "previous_secret_until" in table.out
    again = run(idp, "client", "rotate-secret", client_id)
    assert "--force" in again.refusal
    forced = run(idp, "client", "rotate-secret", client_id, "--force", "--overlap", "0")
    assert forced.code == DONE
    assert "previous_secret_until" not in run(idp, "client", "show", client_id, "--json").json
    client = idp.services.clients.find(client_id)
    assert client is not None
    assert not client.knows_secret(new, until - 1)
    assert client.check_client_secret(next(word for word in forced.out.split() if len(word) == 64))


def test_a_client_without_a_secret_has_none_to_rotate(idp: RunningProvider) -> None:
    client_id = add(idp, METADATA | {"token_endpoint_auth_method": "none"}).json["client_id"]
    assert "none" in run(idp, "client", "rotate-secret", client_id).refusal
    assert "idp client list" in run(idp, "client", "rotate-secret", "nobody").refusal
    assert run(idp, "client", "rotate-secret", client_id, "--overlap", "-1").code == USAGE
