"""A traceback as it may stand in a log: where it went wrong and what kind of error it was, never a variable's value.

The variables of a sign-in are passwords and tokens. An error's own text may quote them as well, or a row of the database:
only its first line is shown, and what the request brought is left out of it.
"""

import json
import traceback
from collections.abc import Collection, Iterator
from urllib.parse import quote, quote_plus

from idp.runtime.printing import escaped

#: The innermost frames of each error; a recursion without end would fill the log.
_FRAMES = 40
#: Errors of a chain or of a group.
_ERRORS = 10
_TEXT = 300
#: Shorter values are words of every sentence, and no secrets.
_SHORTEST = 4
_HIDDEN = "[hidden]"
_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"


def of(error: BaseException, hidden: Collection[str] = ()) -> str:
    """The traceback of `error` and of what led to it, without any value. `hidden` is what no text may quote."""
    forms = sorted({form for value in hidden for form in _forms(value)}, key=len, reverse=True)
    return "\n".join(_lines(error, forms, _ERRORS))


def _lines(error: BaseException, forms: Collection[str], left: int) -> Iterator[str]:
    for link, one in _chain(error, left):
        if link:
            yield from ("", link, "")
        if one.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            yield from "".join(traceback.format_tb(one.__traceback__, -_FRAMES)).rstrip("\n").split("\n")
        yield f"{_name(one)}: {_text(one, forms)}".rstrip(": ")
        if isinstance(one, BaseExceptionGroup):
            for part in one.exceptions[: max(0, left - 1)]:
                yield from (f"  | {line}" for line in _lines(part, forms, left // 2))


def _chain(error: BaseException, left: int) -> list[tuple[str, BaseException]]:
    """What led to `error`, the first of it first, each with the sentence that links it to the one before."""
    chain: list[tuple[str, BaseException]] = []
    one: BaseException | None = error
    while one is not None and len(chain) < left and all(one is not known for _, known in chain):
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        chain.append(("" if before is None else _CAUSED if one.__cause__ is not None else _MEANWHILE, one))
        one = before
    first = chain[-1][1]
    return [("" if one is first else link, one) for link, one in reversed(chain)]


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException, forms: Collection[str]) -> str:
    """The first line of what an error says. A database's second line quotes the row (PostgreSQL's DETAIL)."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot say what it is must not hide where it came from
        return f"(its text cannot be read: {type(broken).__name__})"
    for form in forms:
        text = text.replace(form, _HIDDEN)
    lines = text.splitlines() or [""]
    return escaped(lines[0][:_TEXT])


def _forms(value: str) -> set[str]:
    """A value as an error may quote it."""
    if len(value) < _SHORTEST:
        return set()
    quotable = value.encode("utf-8", "backslashreplace")
    return {value, repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1], quote(quotable), quote_plus(quotable)}
