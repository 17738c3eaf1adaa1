"""JSON as strangers may send it to us: every member once, every number finite, nothing nested without end."""

import json
import math
from typing import Any


def loads(encoded: bytes | str) -> Any:
    """The value. Raises ValueError for anything that two parsers could read in two ways, and for what is no JSON."""
    try:
        return json.loads(encoded, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member comes twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
