"""A provider, an app that serves guarded sockets in a process of its own, and the people who sign in."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import jwt

from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

AUDIENCE = "https://api.example.org"


@dataclass
class App:
    """A provider, and an app that serves guarded sockets in a process of its own."""

    provider: RunningProvider
    party: RelyingParty
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @classmethod
    def start(cls, provider: RunningProvider) -> "App":
        grants = ["authorization_code", "refresh_token", "client_credentials"]
        scope = "openid profile email ssf.manage ssf.read"
        party = RelyingParty.register(provider, grant_types=grants, scope=scope, resources=[AUDIENCE])
        secret = str(party.registration["client_secret"])
        told = {"ISSUER": provider.issuer, "AUDIENCE": AUDIENCE, "CLIENT_ID": party.client_id, "CLIENT_SECRET": secret}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.socket_server"], env=os.environ | told, stdout=subprocess.PIPE, text=True
        )
        return cls(provider, party, json.loads(process.stdout.readline())["port"], process)

    def close(self) -> None:
        with self.process:
            self.process.terminate()

    def sign_in(self, count: int) -> list[dict[str, str]]:
        """So many sessions of one person: their tokens, and the `sid` of each."""
        with ThreadPoolExecutor(4) as threads:
            tokens = list(threads.map(lambda _number: replace(self.party).sign_in(Person(self.provider.issuer)), range(count)))
        return [each | {"sid": jwt.decode(each["id_token"], options={"verify_signature": False})["sid"]} for each in tokens]

    def end(self, sid: str) -> float:
        """End a session; the moment before its transaction began."""
        began = time.monotonic()
        services = self.provider.services
        with services.database.writing() as tx:
            assert services.logout.end_session(tx, sid, "ended_by_operator") is not None
        return began
