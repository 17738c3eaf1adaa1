"""Single Java archives from Maven Central: pinned, their bytes checked, kept in `.cache/` of the checkout."""

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.npm import CACHE, MissingError

FETCH = """import sys
from maven_artifact import Artifact, Downloader
Downloader().download(Artifact(*sys.argv[1:4]), sys.argv[4])"""


@dataclass(frozen=True)
class Jar:
    """An archive as Maven knows it. What it depends on is not brought."""

    group: str
    name: str
    version: str
    sha256: str

    def path(self) -> Path:
        """The archive; fetched on first use. Raises MissingError when it cannot be had, or is another one."""
        home = CACHE / "maven" / f"{self.name}-{self.version}.jar"
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home.parent) as draft:
                self._fetch(Path(draft) / home.name).rename(home)  # another test process may have been first: it is the same
        return home

    def _fetch(self, draft: Path) -> Path:
        words = [sys.executable, "-c", FETCH, self.group, self.name, self.version, str(draft)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise MissingError(f"Maven could not bring {self.name} {self.version}: {done.stderr.strip()[-300:]}")
        if hashlib.sha256(draft.read_bytes()).hexdigest() != self.sha256:
            raise MissingError(f"Maven brought another {self.name} {self.version} than the one pinned in tests/.")
        return draft
