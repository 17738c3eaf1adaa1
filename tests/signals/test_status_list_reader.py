"""Somebody else's reader (npm `@sd-jwt/jwt-status-list`) finds in our lists what we wrote there, over real HTTP."""

import json
import os
import subprocess
import time
from pathlib import Path

from tests.support import http, npm
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider
from tests.support.status_lists import StatusList, reference

PACKAGES = [
    npm.Package(
        "@sd-jwt/jwt-status-list",
        "0.19.0",
        "sha512-Xhh0n0DKe3paEtNNQSScy4dtA0ZVKF2OrmDcIB2jm77Doh4xsSs1pOseGEWBs9fmAe5Y0m082wgkmQnWEV53IQ==",
    ),
    npm.Package(
        "@sd-jwt/types",
        "0.19.0",
        "sha512-nfuC9zRLKe7o4HSvc+N4ojWRAxo4JGfgcNWpR7bJloLUlnE9eQuu9h9pEaJZht7KRwMpGorNTIdYpoi1btuiew==",
    ),
    npm.Package(
        "@sd-jwt/utils",
        "0.19.0",
        "sha512-bDwDRjfxMBNOsAXY8q8hnxQq7jdOWxrdqTK926Mxt8DN+ttXbXbZIPLwSh84M90WP0V7+WdkXlZD31iISzUR3w==",
    ),
    npm.Package(
        "js-base64",
        "3.7.8",
        "sha512-hNngCeKxIUQiEUN3GPJOkz4wF/YvdUdbNL9hsBcMQTkKzboD7T/q3OYOuuPZLUE6dBxSGpwhk5mwuDud7JVAow==",
    ),
    npm.Package(
        "pako",
        "2.1.0",
        "sha512-w+eufiZ1WuJYgPXbV/PO3NCMEc3xqylkKHzp8bxp1uW4qaSNQUkwmLLEc3kKsfz8lpV1F8Ht3U1Cm+9Srog2ug==",
    ),
]
PROGRAM = Path(__file__).with_name("status_list_reader.cjs")


def read_by_another(folder: Path, tokens: list[str], status_list: str) -> list[dict[str, object]]:
    """What the reader makes of each token and the list."""
    done = subprocess.run(
        [npm.program("node"), str(PROGRAM)],
        env=os.environ | {"NODE_PATH": str(npm.modules(folder, PACKAGES))},
        input="".join(f"{token} {status_list}\n" for token in tokens),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def newer_than_now(provider: RunningProvider, uri: str) -> str:
    """The list at `uri` once it is as new as this question: within its `ttl` of a second."""
    asked, jwks = time.time(), http.get(f"{provider.issuer}/jwks").json()
    while True:
        response = http.get(uri, headers={"Accept": "application/statuslist+jwt"})
        assert response.headers["Content-Type"] == "application/statuslist+jwt"
        if int(str(StatusList.verified(response.text, jwks, uri).claims["iat"])) >= asked:
            return response.text
        time.sleep(0.05)


def test_another_reader_finds_what_was_written(tmp_path: Path) -> None:
    settings = {"SIGNALS_STATUS_LIST": "true", "SIGNALS_STATUS_TTL": "1"}
    provider = RunningProvider(tmp_path, settings=settings)
    try:
        provider.start()
        provider.add_user()
        app, person = RelyingParty.register(provider), Person(provider.issuer)
        tokens = [app.sign_in(person) for _ in range(6)]
        person.http.close()
        ended, revoked = tokens[1], tokens[4]
        app.revoke(ended["refresh_token"])
        app.revoke(revoked["access_token"])
        access = [each["access_token"] for each in tokens]
        assert {reference(token)[0] for token in access} == {f"{provider.issuer}/status/0"}
        found = read_by_another(tmp_path / "modules", access, newer_than_now(provider, f"{provider.issuer}/status/0"))
    finally:
        provider.close()
    assert [each["status"] for each in found] == [0, 1, 0, 0, 3, 0]
    assert [(each["uri"], each["idx"]) for each in found] == [reference(token) for token in access]


def test_an_issuer_with_a_path_has_its_lists_below_it(tmp_path: Path) -> None:
    provider = RunningProvider(tmp_path, settings={"SIGNALS_STATUS_LIST": "true"})
    provider.settings["ISSUER"] = f"http://localhost:{provider.port}/tenant"
    try:
        provider.start()
        uris = http.get(f"{provider.issuer}/status").json()["status_lists"]
        assert uris == [f"{provider.issuer}/status/0"]
        jwks = http.get(f"{provider.issuer}/jwks").json()
        assert StatusList.verified(http.get(uris[0]).text, jwks, uris[0]).not_valid == {}
    finally:
        provider.close()
