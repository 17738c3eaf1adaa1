"""Marking what was issued as ended. Only `logout`, the one door, may import this."""

from idp.tokens.store import (
    end,
    end_of_access,
    end_of_client,
    end_of_session,
    end_of_subject,
    end_these,
    end_token,
    open_of_client,
)

__all__ = [
    "end",
    "end_of_access",
    "end_of_client",
    "end_of_session",
    "end_of_subject",
    "end_these",
    "end_token",
    "open_of_client",
]
