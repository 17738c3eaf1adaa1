"""The ready-made person and the apps' clients: made once for a folder of state, and kept there.

Made in this process, with the services that `idp user add` and `idp client add` call: three more interpreters would
cost the start more than a second.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from idp import files
from idp.config import Settings
from idp.demo.options import APPS, DemoError, DemoOptions
from idp.protocol import strict_json

USERNAME = "alice"
PASSWORD = "correct horse battery staple"
CREDENTIALS_FILE = "demo.json"

#: By app: `client_id`, `client_secret`, and the `address` that they were registered for.
Clients: TypeAlias = dict[str, dict[str, str]]


def clients(options: DemoOptions, settings: Settings, examples: Path) -> Clients:
    """Each app's credentials: kept from an earlier run with the same addresses, or new ones. Raises DemoError."""
    path = settings.data_dir / CREDENTIALS_FILE
    kept: Clients = strict_json.stored(path.read_text(encoding="utf-8"))["clients"] if path.is_file() else {}
    found = {app: client for app, client in kept.items() if client["address"] == options.address(app)}
    missing = [app for app in APPS if app not in found]
    if missing:
        metadata = {app: _metadata(options, examples, app) for app in missing}
        for app, answer in _registered(settings, metadata, with_person=not kept).items():
            given = {name: str(answer[name]) for name in ("client_id", "client_secret")}
            found[app] = {"address": options.address(app), **given}
        everything = {"username": USERNAME, "password": PASSWORD, "clients": found}
        files.write(path, json.dumps(everything, indent=2).encode())
    return found


def _registered(
    settings: Settings, metadata: Mapping[str, Mapping[str, object]], *, with_person: bool
) -> dict[str, Mapping[str, object]]:
    """Add the person and the clients, all or none; each client's RFC 7591 response."""
    from idp.accounts.errors import AccountRefusedError  # noqa: PLC0415 - the provider's process starts meanwhile
    from idp.provider import Provider  # noqa: PLC0415
    from idp.runtime import audit, migrations  # noqa: PLC0415

    audit.configure("json", "error")
    provider = Provider(settings)
    try:
        migrations.upgrade(provider.database)  # the provider's process does the same just now; either may be first
        person = provider.accounts.prepare(USERNAME, PASSWORD, name="Alice", email="alice@example.com")
        with provider.database.writing() as tx:
            if with_person:
                provider.accounts.add(tx, person)
            return {name: provider.clients.add(tx, sent).response() for name, sent in metadata.items()}
    except AccountRefusedError:
        message = f"{settings.data_dir} holds the state of something else: name another folder with --data-dir."
        raise DemoError(message) from None
    finally:
        provider.database.dispose()


def _metadata(options: DemoOptions, examples: Path, app: str) -> Mapping[str, object]:
    """What examples/APP/client.json says, at the address that the app has today."""
    text = (examples / app / "client.json").read_text(encoding="utf-8")
    metadata: Mapping[str, object] = strict_json.loads(text.replace(f"http://localhost:{APPS[app]}", options.address(app)))
    return metadata
