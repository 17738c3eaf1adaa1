"""One attempt: make the message, post it, and read the answer.

What a relying party says is an outsider's text: only what has the expected form is kept of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from idp.delivery.composing import Composing
from idp.delivery.rules import REFUSED, SOON, Composer, Delivery, Result, Verdict
from idp.delivery.rules import judge as judge_status
from idp.protocol import strict_json
from idp.runtime.clock import Clock, Instant
from idp.runtime.outbound.client import HttpReply, Line, OutboundBusyError, OutboundError, OutboundRefusedError

_SECONDS = re.compile(r"[0-9]{1,9}")
#: An OAuth error code. A token that a hostile party echoes as its "error" does not fit (dots, capitals, length).
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


async def attempt(
    delivery: Delivery,
    composers: Mapping[str, Composer],
    composing: Composing,
    line: Line,
    clock: Clock,
    is_ours: Callable[[], bool],
) -> Result:
    """Attempt `delivery` once. Whatever goes wrong is a result: one delivery must not stop the others.

    `is_ours`: whether its lane is ours for as long as an exchange may take. The message may have been a while in the making.
    """
    now = clock()
    if delivery.expires_at <= now:
        return Result(Verdict.DEAD, delivery.last_status, f"expired; {delivery.last_error or 'never attempted'}", ours=True)
    composer = composers.get(delivery.kind)
    if composer is None:
        return Result(Verdict.RETRY, error="this worker knows no such kind", ours=True)
    try:
        message = await composing.compose(composer, delivery, now)
    except TimeoutError:
        return Result(Verdict.RETRY, error="its message could not be made in time", ours=True, again_in=SOON)
    except Exception as error:  # noqa: BLE001 - its text may hold what was to be sent, so only its name is kept
        return Result(Verdict.RETRY, error=f"the attempt failed here: {type(error).__name__}", ours=True)
    if not is_ours():
        return Result(Verdict.RETRY, error="its message was made too late", ours=True, again_in=SOON)
    try:
        answer = await line.post(delivery.uri, body=message.body, content_type=message.content_type, headers=message.headers)
    except OutboundRefusedError as error:
        # A name may resolve to a forbidden address for a moment only, and what has a place lets nothing pass for that.
        return Result(Verdict.DEAD if delivery.place is None else Verdict.RETRY, error=str(error))
    except OutboundBusyError as error:
        return Result(Verdict.RETRY, error=str(error), ours=True, again_in=SOON)
    except OutboundError as error:
        return Result(Verdict.RETRY, error=str(error))
    except Exception as error:  # noqa: BLE001 - its text may hold what was to be sent, so only its name is kept
        return Result(Verdict.RETRY, error=f"the attempt failed here: {type(error).__name__}", ours=True)
    result = read(answer, clock(), message.judge)
    return replace(result, hint=message.hint) if result.verdict is Verdict.DEAD and result.status == REFUSED else result


def read(answer: HttpReply, now: Instant, judge: Callable[[HttpReply], Verdict] | None = None) -> Result:
    """What an answer that arrived at `now` comes to."""
    verdict = judge_status(answer.status) if judge is None else judge(answer)
    if verdict is Verdict.DELIVERED:
        return Result(verdict, answer.status)
    code = error_code(answer.body)
    error = f"answered {answer.status}" + (f" ({code})" if code else "")
    return Result(verdict, answer.status, error, retry_after(answer.headers.get("retry-after", ""), now))


def retry_after(value: str, now: Instant) -> float | None:
    """The seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3: seconds or a date), or None."""
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def error_code(body: bytes) -> str | None:
    """The `error` member of a JSON body (Back-Channel Logout 1.0 §2.8), or its `err` (RFC 8935 §2.4), or None."""
    try:
        document = strict_json.loads(body)
    except ValueError:
        return None
    code = document.get("error", document.get("err")) if isinstance(document, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None
