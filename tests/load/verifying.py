"""The relying parties of the load test: three programs on three libraries, each of which sees every token."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from tests.load.verifiers.watch import Demands, Tally
from tests.support import npm

JOSE = npm.Package(
    "jose",
    "6.2.18",
    "sha512-doV4thUwgkrycJH4yLeqwTGIIZphHl+pk7CPReuMIhYhncmgzdko85MaCG4YQFTxqMFr1/oEH32tZuKKovcDEg==",
)
NAMES = ("pyjwt", "joserfc", "jose")
_JOSE_PROGRAM = Path(__file__).parent / "verifiers" / "jose_verifier.mjs"
_END_SECONDS = 30


class Verifier:
    """One program. Tokens are fed to it by any thread; `finish` says what became of them."""

    def __init__(self, name: str, demands: Demands) -> None:
        self.name = name
        program = [sys.executable, "-m", f"tests.load.verifiers.{name}_verifier"]
        environment = dict(os.environ)
        if name == "jose":
            program = [npm.program("node"), str(_JOSE_PROGRAM)]
            environment["JOSE"] = str(JOSE.unpacked() / "dist" / "webapi" / "index.js")
        self._feeding = threading.Lock()
        self._process = subprocess.Popen(
            [*program, json.dumps(asdict(demands))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def feed(self, token: str) -> None:
        """Let it verify a token that was issued now."""
        with self._feeding:
            self._process.stdin.write(f"{time.time()} {token}\n")

    def finish(self) -> Tally:
        """End its input, and wait for its answer."""
        answer, _ = self._process.communicate(timeout=_END_SECONDS)
        assert self._process.returncode == 0, f"the verifier on {self.name} ended with {self._process.returncode}"
        return Tally(**json.loads(answer))

    def close(self) -> None:
        """End the program, whatever it does."""
        with self._process:
            self._process.kill()
