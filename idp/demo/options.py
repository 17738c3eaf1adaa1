"""What may be chosen for a demo, and why one cannot go on."""

from dataclasses import dataclass
from pathlib import Path

PROVIDER = "provider"
#: The apps, and the ports that their client.json names.
APPS = {"notes": 8001, "arena": 8002}


class DemoError(Exception):
    """Why the demo cannot go on: one sentence, and perhaps the last words of a process."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What may be chosen. Without `data_dir` the state is in a temporary folder that is removed at the end."""

    port: int = 8000
    notes_port: int = APPS["notes"]
    arena_port: int = APPS["arena"]
    data_dir: Path | None = None
    as_json: bool = False

    @property
    def ports(self) -> dict[str, int]:
        """Who listens where."""
        return {PROVIDER: self.port, "notes": self.notes_port, "arena": self.arena_port}

    def address(self, name: str) -> str:
        """Where the provider or an app is found; the provider's is its issuer."""
        return f"http://localhost:{self.ports[name]}"
