"""What receivers send, read strictly: a stream's configuration, and a poll (SSF 1.0 §8.1.1, RFC 8936 §2.2)."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from idp.protocol import strict_json, uris
from idp.protocol.strict_json import JsonError
from idp.signals import rules

_T = TypeVar("_T")

_MAXIMUM_STRING = 512
_MAXIMUM_EVENTS = 64
_MAXIMUM_REASON = 256
_MAXIMUM_SUBJECT = 1024
_MAXIMUM_STATE = 1024
#: A poll acknowledges at most so many at once, and gets at most so many.
MOST_EVENTS = 256
_MOST_ACKS = 2048
_WAIT = re.compile(r"(?:^|[,;\s])wait=\"?([0-9]{1,6})(?![0-9.])")


class MalformedError(ValueError):
    """A body that says something else than it should. Its text is a sentence for developers."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a receiver decides about its stream; None for what it left out."""

    events_requested: tuple[str, ...] | None
    description: str | None
    delivery: "StreamDelivery | None"


@dataclass(frozen=True, slots=True)
class StreamDelivery:
    """How events are to come. `authorization` is the header that is sent with each push."""

    method: str
    endpoint_url: str | None = None
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PollBody:
    """A poll: what is acknowledged (also in error: it was received), how much may come, and for how long to wait for it."""

    acked: tuple[str, ...]
    errors: Mapping[str, str]
    most: int
    wait: float


def body(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises MalformedError."""
    try:
        return strict_json.load_object(data)
    except JsonError as error:
        message = f"The body must be a JSON object ({error})."
        raise MalformedError(message) from None


def configuration(sent: Mapping[str, Any], *, loopback_http: bool) -> Configuration:
    """What a receiver wants of its stream. Raises MalformedError.

    `loopback_http` is set where the issuer itself is plain http on a loopback host: development.
    """

    def delivery(_name: str, value: Any) -> StreamDelivery:
        return _delivery(value, loopback_http=loopback_http)

    return Configuration(
        _optional(sent, "events_requested", _events),
        _optional(sent, "description", _string),
        _optional(sent, "delivery", delivery),
    )


def _delivery(value: Any, *, loopback_http: bool) -> StreamDelivery:
    if not isinstance(value, dict) or value.get("method") not in (rules.POLL, rules.PUSH):
        message = f"delivery: its method must be {rules.POLL} or {rules.PUSH}."
        raise MalformedError(message)
    if value["method"] == rules.POLL:  # its address is for the transmitter to say
        return StreamDelivery(rules.POLL)
    url = value.get("endpoint_url")
    problem = uris.endpoint_problem(url, loopback_http=loopback_http) if isinstance(url, str) else "it must be a string"
    if problem is not None:
        message = f"delivery: endpoint_url cannot be pushed to: {problem}."
        raise MalformedError(message)
    header = _optional(value, "authorization_header", _string)
    if header is not None and not header.isascii():
        message = "authorization_header: must be ASCII."
        raise MalformedError(message)
    return StreamDelivery(rules.PUSH, url, header)


def poll(sent: Mapping[str, Any], prefer: str, longest_wait: float) -> PollBody:
    """A poll; `prefer` is the header of that name (RFC 7240 §4.3). Raises MalformedError."""
    acked = _optional(sent, "ack", _strings) or ()
    errors = sent.get("setErrs") or {}
    if not isinstance(errors, dict) or len(errors) + len(acked) > _MOST_ACKS:
        message = f"ack and setErrs: at most {_MOST_ACKS} together, a list and an object."
        raise MalformedError(message)
    most, immediately = sent.get("maxEvents", MOST_EVENTS), sent.get("returnImmediately", False)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0 or not isinstance(immediately, bool):
        message = "maxEvents must be a number from 0 on, and returnImmediately true or false."
        raise MalformedError(message)
    asked = _WAIT.search(prefer)
    wait = longest_wait if asked is None else min(longest_wait, float(asked.group(1)))
    words = {str(jti): str(error.get("err", "")) if isinstance(error, dict) else "" for jti, error in errors.items()}
    # `maxEvents` of 0 acknowledges and asks for nothing. RFC 8936 §2.4.2 lets it wait all the same; here it never does.
    received = tuple(jti for jti in (*acked, *words) if rules.is_name(jti))
    return PollBody(received, words, min(most, MOST_EVENTS), 0.0 if immediately or most == 0 else wait)


def _optional(sent: Mapping[str, Any], name: str, read: Callable[[str, Any], _T]) -> _T | None:
    return None if sent.get(name) is None else read(name, sent[name])


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAXIMUM_STRING or not value.isprintable():
        message = f"{name}: must be a string of 1 to {_MAXIMUM_STRING} printable characters."
        raise MalformedError(message)
    return value


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        message = f"{name}: must be a list of strings."
        raise MalformedError(message)
    return tuple(value)


def _events(name: str, value: Any) -> tuple[str, ...]:
    found = _strings(name, value)
    if len(found) > _MAXIMUM_EVENTS or any(len(one) > _MAXIMUM_STRING for one in found):
        message = f"{name}: at most {_MAXIMUM_EVENTS} events."
        raise MalformedError(message)
    return tuple(dict.fromkeys(found))


def stream_id(sent: Mapping[str, Any]) -> str:
    """Which stream is meant. Raises MalformedError."""
    named = sent.get("stream_id")
    if not isinstance(named, str):
        message = "stream_id: must be a string."
        raise MalformedError(message)
    return named


def check_supplied(sent: Mapping[str, Any], known: Mapping[str, object]) -> None:
    """See that what the transmitter supplies is repeated as it is, if at all (SSF 1.0 §8.1.1.3). Raises MalformedError."""
    for name in ("iss", "aud", "events_supported", "events_delivered", "min_verification_interval", "inactivity_timeout"):
        if name in sent and sent[name] != known.get(name):
            message = f"{name}: is for the transmitter to say."
            raise MalformedError(message)


@dataclass(frozen=True, slots=True)
class Status:
    """The status that a receiver wants for its stream, and why."""

    status: str
    reason: str | None


def status(sent: Mapping[str, Any]) -> Status:
    """A status update (SSF 1.0 §8.1.2.2). Raises MalformedError."""
    if sent.get("status") not in rules.STATUSES:
        message = f"status: must be one of {', '.join(rules.STATUSES)}."
        raise MalformedError(message)
    reason = _optional(sent, "reason", _string)
    return Status(sent["status"], None if reason is None else reason[:_MAXIMUM_REASON])


def subject(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The subject that is added or removed (RFC 9493). Raises MalformedError."""
    found = sent.get("subject")
    if not isinstance(found, dict) or not isinstance(found.get("format"), str) or len(json.dumps(found)) > _MAXIMUM_SUBJECT:
        message = f"subject: must be a subject identifier with a format, of at most {_MAXIMUM_SUBJECT} characters."
        raise MalformedError(message)
    return found


def state(sent: Mapping[str, Any]) -> str | None:
    """What a receiver wants to find in its verification event (SSF 1.0 §8.1.4.2). Raises MalformedError."""
    found = sent.get("state")
    if found is not None and (not isinstance(found, str) or len(found) > _MAXIMUM_STATE or not _is_unicode(found)):
        message = f"state: must be a string of at most {_MAXIMUM_STATE} characters."
        raise MalformedError(message)
    return found


def _is_unicode(text: str) -> bool:
    """Whether it can be signed at all: JSON can hold half a character (RFC 8259 §8.2)."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
