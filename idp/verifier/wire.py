"""What a verifier does beside verifying, as steps that somebody else takes: requests to send, and pauses to make.

A flow is a generator of steps. It knows nothing of threads, event loops or HTTP clients, so that `Verifier` and
`AsyncVerifier` walk the very same ones.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from secrets import SystemRandom
from typing import TypeAlias, TypeVar

from idp.protocol import strict_json

#: A longer answer is not read to its end, in bytes.
MAXIMUM_ANSWER = 16 * 1024 * 1024
#: For an ordinary request, in seconds; the provider answers those in milliseconds.
ORDINARY_SECONDS = 5.0
#: So much of what an error answer says is repeated.
_LONGEST_SAID = 300
#: A number of seconds that is longer is none.
_DIGITS = 10
_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Request:
    """One request. It must be answered whole within `seconds`."""

    method: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = ORDINARY_SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


class ExchangeError(Exception):
    """No answer, or not the one that was to come. Its text is a sentence for operators, and holds no secret."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


T = TypeVar("T")
Step: TypeAlias = Request | Pause
#: Sent into it: the answer to a request, None after a pause. Thrown into it: ExchangeError where no answer came.
Flow: TypeAlias = Generator[Step, Answer | None, T]


def ask(request: Request) -> Flow[Answer]:
    """Send it; the answer, whatever its status. Raises ExchangeError."""
    answer = yield request
    if answer is None:
        message = f"{request.address} was not asked"
        raise ExchangeError(message)
    return answer


def expect(answer: Answer, what: str, *statuses: int) -> None:
    """Raise ExchangeError for an answer with another status."""
    if answer.status not in statuses:
        said = _said(answer.body)
        message = f"{what} was answered {answer.status}{f' ({said})' if said else ''}"
        raise ExchangeError(message, seconds(answer.headers.get("retry-after", "")))


def _said(body: bytes) -> str:
    """What an error answer says of itself, by OAuth's members or those of RFC 8935: it may be all that helps an operator."""
    try:
        found = strict_json.loads(body)
    except ValueError:
        return ""
    members = ("error", "error_description", "err", "description") if isinstance(found, dict) else ()
    said = ": ".join(found[name] for name in members if isinstance(found.get(name), str) and found[name])
    return "".join(char for char in said if char.isprintable())[:_LONGEST_SAID]


def seconds(text: str) -> float:
    """A header that says a number of seconds (`Age`, `Retry-After`); none for anything else."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0.0


class Backoff:
    """Growing pauses between attempts: at once, then doubled each time, and scattered so that many do not come together."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        """It went well."""
        self._failures = 0

    def next(self, at_least: float = 0.0) -> float:
        """Seconds to wait after another failure; no more than the longest, whatever the other side asks for."""
        pause = 0.0 if self._failures == 0 else min(self._longest, 0.1 * 2 ** min(self._failures, 16))
        self._failures += 1
        return min(self._longest, max(at_least, pause)) * _random.uniform(0.5, 1.0)
