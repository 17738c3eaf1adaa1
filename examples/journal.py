"""What happened, as one JSON object a line on standard output: `idp demo` reads it, and so can you."""

import json
from datetime import UTC, datetime


def tell(event: str, **fields: str | float | None) -> None:
    """Write one line. Fields are names and figures, never a token."""
    print(json.dumps({"event": event, "timestamp": datetime.now(UTC).isoformat(), **fields}), flush=True)
