"""SoftHSM: an HSM in software, from the system's packages. Where it is missing, its tests are left out, and that is said."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
MISSING = "SoftHSM is missing: install it (Debian, Ubuntu: `apt-get install softhsm2`)"


def library() -> str | None:
    """The PKCS#11 library, if SoftHSM is installed."""
    found = next((place for place in _PLACES if Path(place).exists()), None)
    return found if shutil.which("softhsm2-util") else None


@dataclass(frozen=True)
class Token:
    """A token of its own: `module`, `label` and `pin` are what an operator would set."""

    folder: Path
    module: str
    label: str
    pin: str

    @classmethod
    def make(cls, folder: Path) -> "Token":
        """A new token in `folder`. From now on this process and those that it starts see this SoftHSM."""
        configuration = folder / "softhsm2.conf"
        (folder / "tokens").mkdir()
        configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        made = cls(folder, str(library()), "idp-test", secrets.token_hex(8))
        officer = secrets.token_hex(8)
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", made.label, "--pin", made.pin, "--so-pin", officer],
            check=True,
            capture_output=True,
        )
        return made

    def change_pin(self, old: str, new: str) -> None:
        """Give the token another PIN, as somebody else does it: in a process of their own."""
        change = (
            "import pkcs11, sys; module, label, old, new = sys.argv[1:];"
            "pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=old).set_pin(old, new)"
        )
        subprocess.run([sys.executable, "-c", change, self.module, self.label, old, new], check=True)

    @contextmanager
    def away(self) -> Iterator[None]:
        """While nobody can reach the token."""
        there, elsewhere = self.folder / "tokens", self.folder / "elsewhere"
        there.rename(elsewhere)
        yield
        elsewhere.rename(there)

    def settings(self) -> dict[str, str]:
        """As `RunningProvider` takes them."""
        return {"KEYS_PKCS11_MODULE": self.module, "KEYS_PKCS11_TOKEN": self.label, "KEYS_PKCS11_PIN": self.pin}
