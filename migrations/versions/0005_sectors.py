"""Sectors of pairwise subjects are https hosts.

A client with pairwise subjects whose redirect URIs are of a private scheme, http or a loopback address had the host in them
as its sector, and shared it with whoever named the same host. It has a sector of its own now. People keep the names by which
it knows them: those of its tokens, of what it was allowed and of sessions in which it takes part are written down there, too.

Revision: 0005, after 0004
"""

import ipaddress
import json
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KNOWN = sa.text(
    "SELECT subject FROM token_families WHERE client_id = :client"
    " UNION SELECT subject FROM consents WHERE client_id = :client"
    " UNION SELECT s.subject FROM session_clients c JOIN sessions s ON s.sid = c.sid WHERE c.client_id = :client"
)
_NAMES = sa.text("SELECT subject, sub FROM pairwise_subjects WHERE sector = :sector")
_NAME = sa.text("INSERT INTO pairwise_subjects (subject, sector, sub) VALUES (:subject, :sector, :sub)")
_SESSIONS = sa.text("UPDATE session_clients SET sector = :new WHERE client_id = :client AND sector = :old")
_STREAMS = sa.text("UPDATE signal_streams SET sector = :new WHERE client_id = :client AND sector = :old")


def upgrade() -> None:
    with op.batch_alter_table("pairwise_subjects") as names:
        names.drop_constraint("uq_pairwise_subjects_sub", type_="unique")
        names.create_unique_constraint("uq_pairwise_subjects_sector_sub", ["sector", "sub"])
    connection = op.get_bind()
    clients = connection.execute(sa.text("SELECT client_id, metadata FROM clients WHERE ended_at IS NULL")).all()
    for client_id, metadata in clients:
        members = json.loads(metadata)
        if members.get("subject_type") == "pairwise" and members.get("sector_identifier_uri") is None:
            _move(connection, client_id, members.get("redirect_uris") or [])


def _move(connection: sa.Connection, client_id: str, uris: list[str]) -> None:
    """Give a client a sector of its own, if it is to have one, and the names of the people that it knows."""
    hosts = {_https_host(uri) for uri in uris}
    if len(hosts) == 1 and None not in hosts:
        return
    old = next((host for uri in uris if (host := urlsplit(uri).hostname) is not None), client_id)
    new = f"client:{client_id}"
    known = set(connection.execute(_KNOWN, {"client": client_id}).scalars())
    names = [row for row in connection.execute(_NAMES, {"sector": old}).all() if row.subject in known]
    for name in names:
        connection.execute(_NAME, {"subject": name.subject, "sector": new, "sub": name.sub})
    for statement in (_SESSIONS, _STREAMS):
        connection.execute(statement, {"client": client_id, "old": old, "new": new})


def _https_host(uri: str) -> str | None:
    """The host, where it makes a sector: as `idp.clients.sectors` has it at this revision."""
    parts = urlsplit(uri)
    host = parts.hostname
    if parts.scheme != "https" or host is None or host == "localhost" or host.endswith(".localhost"):
        return None
    try:
        return host if ipaddress.ip_address(host).is_global else None
    except ValueError:
        return host
