"""What happened, as one JSON object a line on standard output: `idp demo` reads it, and so can you."""

import json
import sys
from datetime import UTC, datetime


def tell(event: str, **fields: str | float | None) -> None:
    """Write one line. Fields are names and figures, never a token."""
    line = json.dumps({"event": event, "timestamp": datetime.now(UTC).isoformat(), **fields})
    sys.stdout.write(line + "\n")  # in one piece: threads write here at the same time
    sys.stdout.flush()
