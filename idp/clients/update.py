"""What an update of a client's metadata must and must not hold (RFC 7592 §2.2). Pure."""

from collections.abc import Mapping

from idp.clients.metadata_fields import MetadataError
from idp.clients.rules import Client

#: Members of an answer that an update must not send back as metadata.
_NEVER_SENT = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")


def check_update(client: Client, sent: Mapping[str, object], *, by_operator: bool = False) -> None:
    """Raise MetadataError unless an update may hold what it holds.

    An operator names the client elsewhere, and may send back what `idp client show` printed of it, unchanged.
    """
    if sent.get("client_id", client.client_id if by_operator else None) != client.client_id:
        message = f"client_id: an update must hold the client's own{f', {client.client_id}' if by_operator else ''}"
        raise MetadataError(message)
    known = {"client_id_issued_at": int(client.created_at), "client_secret_expires_at": 0} if by_operator else {}
    forbidden = [name for name in _NEVER_SENT if name in sent and (name not in known or sent[name] != known[name])]
    if forbidden:
        message = f"{forbidden[0]}: an update must not hold it"
        raise MetadataError(message)
    secret = sent.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and client.check_client_secret(secret)):
        message = "client_secret: clients do not choose their own; leave it out"
        raise MetadataError(message)
