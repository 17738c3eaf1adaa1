"""`idp doctor`: what is wrong with this deployment, and the mend. It changes nothing that anybody reads."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import make_url, select
from sqlalchemy.exc import SQLAlchemyError

from idp import files
from idp.config import SECRET_KEY_FILE, OperatorError, Settings, SettingsError, secrets_in_the_file, settings_file
from idp.discovery.health import prove
from idp.keys.sealing import UnsealError
from idp.provider import Provider, key_policy
from idp.runtime import migrations
from idp.runtime.database import Database
from idp.runtime.inbound.file_limits import Descriptors, most
from idp.runtime.inbound.forwarding import NO_PROXY_NAMED
from idp.runtime.limits import Limits
from idp.runtime.temporary import temporary_folder


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state` is `good`, `note` or `wrong`."""

    state: str
    what: str
    finding: str
    mend: str = ""

    def shown(self) -> dict[str, str]:
        """The finding as a row."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything, in the order in which one thing needs another; stop where nothing further can be known."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        return [Finding("wrong", "settings", str(error), "see docs/settings.md")]
    open_to_others = list(_open_to_others(settings))
    findings = [Finding("good", "settings", f"issuer {settings.issuer}"), *_surroundings(settings)]
    for look in (_database, _schema, _writes, _keys, _clients, _senders):
        if any(finding.state == "wrong" for finding in findings):
            break
        findings.append(look(settings))
    return [*findings, *open_to_others]


def _surroundings(settings: Settings) -> Iterator[Finding]:
    if not settings.secure:
        yield Finding(
            "note",
            "issuer",
            "plain http: cookies carry no Secure and loopback targets are allowed; for development only",
            "set IDP_ISSUER to an https URL and terminate TLS in front",
        )
    elif not settings.trusted_proxies:
        yield Finding("note", "proxies", *NO_PROXY_NAMED)
    if settings.templates_dir is not None and not settings.templates_dir.is_dir():
        yield Finding("wrong", "templates", f"{settings.templates_dir} is no folder", "correct IDP_TEMPLATES_DIR or unset it")
    descriptors = Descriptors(settings.signals_followers, settings.delivery_concurrency)
    if descriptors.connections < descriptors.wanted:
        finding = (
            f"a process may have {most()} open files: it takes {descriptors.connections} connections at once, not"
            f" {descriptors.wanted}, and idle ones keep others out sooner"
        )
        mend = f"raise the hard limit to {descriptors.needed} (`ulimit -Hn`, LimitNOFILE in systemd)"
        yield Finding("note", "open files", finding, mend)
    problem = key_policy(settings).problem()
    if problem is not None:
        yield Finding("wrong", "key policy", problem, "lengthen the period or shorten the cache time")
    try:
        with temporary_folder("idp-doctor-"):
            pass
    except OperatorError as error:
        yield _of_sentence("temporary files", error)
    there = next(folder for folder in (settings.data_dir, *settings.data_dir.absolute().parents) if folder.exists())
    if settings.embedded and not (there.is_dir() and os.access(there, os.W_OK)):
        mend = "set IDP_DATA_DIR to a folder that the user who runs idp may make or use"
        yield Finding("wrong", "data directory", f"{settings.data_dir} cannot be written: {there} stands in the way", mend)


def _open_to_others(settings: Settings) -> Iterator[Finding]:
    """Whoever can read these has every key, session and password hash; whoever can put others in their place decides them."""
    for path in filter(files.is_open_to_others, settings.private_files):
        what = "secret key" if path.name == SECRET_KEY_FILE else "database file"
        yield Finding("wrong", what, f"{path} can be read by others", f"chmod 600 {path}")
    own = {path.parent for path in settings.private_files if path.exists()}
    for folder in sorted({settings.data_dir, *own} if settings.embedded else own):
        if files.takes_files_of_others(folder):
            yield Finding("wrong", "data directory", f"others may put files into {folder}", f"chmod 700 {folder}")
    if settings.data_dir.is_dir() and files.is_open_to_others(settings.data_dir):
        yield Finding("note", "data directory", f"others may look into {settings.data_dir}", f"chmod 700 {settings.data_dir}")
    told = settings_file()
    if files.is_open_to_everybody(told) and secrets_in_the_file():
        yield Finding("wrong", "settings file", f"{told} holds secrets and can be read by everybody", f"chmod 640 {told}")


def _of_sentence(what: str, error: OperatorError) -> Finding:
    """What an operator can mend is one sentence: what it is, a colon, and the mend."""
    finding, _, mend = str(error).partition(": ")
    return Finding("wrong", what, finding, mend)


def _with_database(settings: Settings, what: str, look: Callable[[Database], Finding]) -> Finding:
    try:
        database = Database(settings.database, limits=Limits.of(settings))
        try:
            return look(database)
        finally:
            database.dispose()
    except OperatorError as error:
        return _of_sentence(what, error)
    except SQLAlchemyError as error:  # its own text may hold a part of the address, and that a part of a password
        finding = f"the database cannot be used ({type(error).__name__})"
        return Finding("wrong", what, finding, "see that IDP_DATABASE_URL names a database of idp alone, and its owner")


def _database(settings: Settings) -> Finding:
    if _is_not_made(settings):
        return Finding("note", "database", "not made yet", "`idp serve` makes it")

    def look(database: Database) -> Finding:
        with database.reading() as tx:
            tx.execute(select(1))
            return Finding("good", "database", f"{database.dialect} answers")

    return _with_database(settings, "database", look)


def _schema(settings: Settings) -> Finding:
    if _is_not_made(settings):
        return Finding("note", "schema", "not made yet", "`idp serve` makes it")

    def look(database: Database) -> Finding:
        there, needed = migrations.current(database), migrations.head()
        if there == needed:
            return Finding("good", "schema", f"revision {needed}")
        if settings.embedded:
            return Finding(
                "note", "schema", f"revision {there}, this version needs {needed}", "`idp serve` brings it up to date"
            )
        return Finding("wrong", "schema", f"revision {there}, this version needs {needed}", "run `idp migrate`")

    return _with_database(settings, "schema", look)


def _writes(settings: Settings) -> Finding:
    """Whether the database takes writes: a disk may be full, a server a standby. The row that is written is read by nobody."""
    if _is_not_made(settings):
        return Finding("note", "writes", "not made yet", "`idp serve` makes it")

    def look(database: Database) -> Finding:
        if migrations.current(database) != migrations.head():
            return Finding("note", "writes", "not known while the schema is another", "`idp serve` or `idp migrate`")
        with database.writing() as tx:
            prove(tx)
        return Finding("good", "writes", "the database takes writes")

    return _with_database(settings, "writes", look)


def _is_not_made(settings: Settings) -> bool:
    """Whether there is no database file yet: who looks for it would make it."""
    address = make_url(settings.database)
    return settings.embedded and not Path(str(address.database)).exists()


def _keys(settings: Settings) -> Finding:
    def look(provider: Provider) -> Finding:
        provider.keys.load()
        problem = provider.keys.problem()
        if problem is not None:
            return Finding("note", "keys", problem, "start `idp serve`: it makes the keys that are due")
        if (older := provider.keys.under_an_older_secret()) > 0:
            mend = "run `idp key reseal`, then take the older secret out of IDP_SECRET_KEY"
            return Finding("note", "keys", f"{older} are sealed under an older secret than the first", mend)
        return Finding("good", "keys", "one signs, its successor is planned")

    return _with_provider(settings, "keys", look)


def _clients(settings: Settings) -> Finding:
    def look(provider: Provider) -> Finding:
        with provider.database.reading() as tx:
            clients = list(provider.clients.every(tx))
            older = provider.clients.secrets.under_an_older_secret(tx)
        off = [client for client in clients if client.id_token_signed_response_alg not in settings.keys_algorithms]
        if not off and older:
            mend = "run `idp client reseal`, then take the older secret out of IDP_SECRET_KEY"
            return Finding("note", "clients", f"{older} secrets are sealed under an older secret than the first", mend)
        if not off:
            return Finding("good", "clients", f"{len(clients)} are registered")
        named = ", ".join(f"{client.client_id} ({client.id_token_signed_response_alg})" for client in off)
        mend = "name their algorithms in IDP_KEYS_ALGORITHMS, or let them register another"
        return Finding("wrong", "clients", f"an algorithm is switched off that these registered: {named}", mend)

    return _with_provider(settings, "clients", look)


def _senders(settings: Settings) -> Finding:
    def look(provider: Provider) -> Finding:
        with provider.database.reading() as tx:
            people, addresses = provider.sessions.senders(tx)
        if settings.secure and people > 1 and len(addresses) == 1:
            finding = f"all {people} people who are signed in came from one address, {addresses[0]}: a proxy's, it seems"
            mend = f"let the proxy send X-Forwarded-For, and name {addresses[0]} in IDP_TRUSTED_PROXIES"
            return Finding("note", "addresses", finding, mend)
        return Finding("good", "addresses", f"{people} people are signed in, from {_some(len(addresses))}")

    return _with_provider(settings, "addresses", look)


def _some(addresses: int) -> str:
    return f"{addresses} address" if addresses == 1 else "several addresses" if addresses > 1 else "no address"


def _with_provider(settings: Settings, what: str, look: Callable[[Provider], Finding]) -> Finding:
    if _is_not_made(settings):
        return Finding("note", what, "not made yet", "`idp serve` makes them")
    provider = Provider(settings)
    try:
        return look(provider)
    except UnsealError as error:
        return Finding("wrong", what, str(error), "set the IDP_SECRET_KEY that this database was made with")
    except OperatorError as error:
        return _of_sentence(what, error)
    except SQLAlchemyError:
        return Finding("note", what, "not made yet", "`idp serve` makes them")
    finally:
        provider.database.dispose()
