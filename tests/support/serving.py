"""A real provider: `idp serve` in processes of its own, on a free port, with a database of its own."""

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeAlias

import httpx

from idp import app
from idp.app import Provider
from idp.config import Settings
from tests.support import http, preloaded
from tests.support.databases import migrated_file

Process: TypeAlias = subprocess.Popen[bytes] | preloaded.Process

#: A machine with much else to do starts slowly. What waits for longer waits for nothing.
START_SECONDS = 120


#: Below those that the system gives to whoever asks for any: nobody takes one of these between our look and our use.
_PORTS = range(12_000, 32_000)
_next_port = itertools.count(random.Random(os.getpid()).randrange(len(_PORTS)))


def free_port() -> int:
    """A port that nobody listens on at this moment, and that this process has not handed out for long."""
    while True:
        port = _PORTS[next(_next_port) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class RunningProvider:
    """`idp serve`, and the `idp` command on the same deployment. `settings` are names without the prefix `IDP_`.

    `program` is the module that stands for `idp`: another one may import it and change something first. The schema of a
    database at `database_url` is brought up to date at the start, unless `migrated` says that it is.
    """

    data_dir: Path
    database_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: Process | None = None
    program: str = "idp"
    migrated: bool = False

    @property
    def issuer(self) -> str:
        return self.settings.get("ISSUER", f"http://localhost:{self.port}")

    @property
    def origin(self) -> str:
        """Where the provider listens."""
        return f"http://localhost:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.data_dir / "server.log"

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("IDP_")}
        ours = {
            "ISSUER": self.issuer,
            "BIND": f"127.0.0.1:{self.port}",
            "DATA_DIR": str(self.data_dir),
            "LOG_FORMAT": "json",
            "WORKERS": "1",
            "ACCOUNTS_ARGON2_MEMORY_KIB": "64",
            "ACCOUNTS_ARGON2_TIME_COST": "1",
            "CLIENTS_CACHE_SECONDS": "0",
        }
        if self.database_url:
            ours |= {"DATABASE_URL": self.database_url, "SECRET_KEY": "a test secret that is long enough: really"}
        return clean | {f"IDP_{name}": value for name, value in (ours | self.settings).items()}

    def cli(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """Run `idp ARGUMENTS`; its standard output. The exit code must be `code`."""
        ended, out, err = preloaded.run(arguments, self.environment(), stdin.encode())
        assert ended == code, f"idp {arguments}: {ended}\n{out.decode()}\n{err.decode()}"
        return out.decode() if code == 0 else err.decode()

    def run(self, command: str, log: IO[bytes]) -> Process:
        """`idp COMMAND` as a process that goes on. What it says goes to `log`."""
        if self.program == "idp":
            return preloaded.start([command], self.environment(), log, log)
        words = [sys.executable, "-m", self.program, command]
        return subprocess.Popen(
            words, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run `idp ARGUMENTS --json`; what it printed, parsed."""
        return json.loads(self.cli(*arguments, "--json", stdin=stdin))

    def start(self) -> "RunningProvider":
        """Start serving and wait until it is ready."""
        if self.database_url and not self.migrated:
            self.cli("migrate")
        elif not self.database_url and self.settings.keys().isdisjoint({"DATABASE_URL", "DATABASE_URL_FILE"}):
            migrated_file(self.data_dir)
        self.migrated = True
        with self.log_file.open("ab") as log:
            self.process = self.run("serve", log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"idp serve ended:\n{self.log_file.read_text()[-4000:]}"
            try:
                if http.get(f"{self.origin}/health/ready", timeout=1).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"idp serve was not ready within {START_SECONDS} s:\n{self.log_file.read_text()[-4000:]}")

    def _signal(self, number: int) -> None:
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass
            self.process.wait(timeout=20)
            self.process = None

    def kill(self) -> None:
        """`kill -9` every process of the server."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the server to stop, and see that it does."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            finally:
                self.kill()

    def close(self) -> None:
        """Stop the server, if it runs, and give back what `services` opened."""
        self.stop()
        if "services" in self.__dict__:
            self.services.database.dispose()

    def events(self, name: str | None = None) -> list[dict[str, object]]:
        """What the server logged, in order."""
        parsed = []
        for line in self.log_file.read_text().splitlines():
            try:
                parsed.append(json.loads(line))
            except ValueError:
                continue
        return [event for event in parsed if name is None or event.get("event") == name]

    # -- what tests need again and again --------------------------------------------------------------------------

    @cached_property
    def services(self) -> Provider:
        """The same deployment's services in this process: quicker than the command where it is not what is tested."""
        named = {
            name.removeprefix("IDP_").lower(): value for name, value in self.environment().items() if name.startswith("IDP_")
        }
        return app.build(Settings.model_validate(named))

    def add_user(self, username: str = "alice", password: str = "correct horse battery staple") -> str:
        """A person; the password."""
        accounts = self.services.accounts
        person = accounts.prepare(username, password, email=f"{username}@example.org")
        with self.services.database.writing() as tx:
            accounts.add(tx, person)
        return password

    def add_client(self, metadata: dict[str, object]) -> dict[str, object]:
        """A relying party; its RFC 7591 response."""
        with self.services.database.writing() as tx:
            return self.services.clients.add(tx, metadata).response()


@dataclass
class Providers:
    """Running providers, each started when a test first asks for it, and stopped by `close`.

    `new_database` makes the URL of a migrated PostgreSQL database, `new_folder` a folder of the name it is given.
    """

    new_database: Callable[[], str]
    new_folder: Callable[[str], Path]
    _running: dict[tuple[str, str], RunningProvider] = field(default_factory=dict)

    def __call__(
        self, name: str, dialect: str, settings: Mapping[str, str] | None = None, people: Sequence[str] = ()
    ) -> RunningProvider:
        """The deployment `name` on the database `dialect`; whoever asks for it asks with the same settings and people."""
        if (name, dialect) not in self._running:
            url = "" if dialect == "sqlite" else self.new_database()
            starting = RunningProvider(self.new_folder(name), url, dict(settings or {}), migrated=True)
            self._running[name, dialect] = starting
            starting.start()
            for person in people:
                starting.add_user(person)
        return self._running[name, dialect]

    def close(self) -> None:
        """Stop every one of them."""
        for each in self._running.values():
            each.close()
