"""What an app answers to what the provider posts to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, for the app's framework to send."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Cache-Control": "no-store"})


#: Taken in (RFC 8935 §2.2).
ACCEPTED = Reply(202)
#: Not now: to be sent again.
TRY_AGAIN = Reply(503, headers={"Cache-Control": "no-store", "Retry-After": "5"})


def refused(code: str, description: str) -> Reply:
    """Never to be sent again (RFC 8935 §2.3)."""
    body = json.dumps({"err": code, "description": description}).encode()
    return Reply(400, body, {"Content-Type": "application/json", "Content-Language": "en", "Cache-Control": "no-store"})
