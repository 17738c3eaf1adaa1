"""`idp key`: which key signs, what comes next, and letting it come sooner. Revoking one is in `logout`: it ends things."""

import click

from idp.keys.rules import KeyLifetime, KeyState
from idp.protocol.signatures import ALGORITHMS, DEFAULT_ALG
from idp.runtime.clock import Instant, in_words, lasting
from idp.runtime.console import HELP, Line, Refused, draw, emit, json_option, reads

_BAR = 40
#: How each state looks in a bar; readable without colours, too.
_SIGNS = {KeyState.ANNOUNCED: ("·", "cyan"), KeyState.SIGNING: ("█", "green"), KeyState.VERIFYING: ("▒", "yellow")}
_NEXT = {KeyState.PLANNED: "announced", KeyState.ANNOUNCED: "signs", KeyState.SIGNING: "retires", KeyState.VERIFYING: "removed"}


@click.group(name="key", context_settings=HELP)
def group() -> None:
    """Signing keys."""


@group.command(name="list")
@click.option("--all", "with_ended", is_flag=True, help="Also keys that are removed or revoked.")
@json_option
@click.pass_obj
@reads
def list_(obj, *, with_ended: bool, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - see idp.cli.Deployment
    """Show every key on a common line of time: what it does now, and what comes next."""
    obj.keys.load()
    now = obj.database.clock()
    spans = obj.keys.spans()
    if as_json:
        emit([_record(span, now) for span in spans], as_json=True)
        return
    ended = {KeyState.REMOVED, KeyState.REVOKED}
    shown = [span for span in spans if with_ended or span.state(now) not in ended]
    first, last = _window(shown, now)
    lines = [line for span in shown for line in ([(f"{span.key.kid}  {span.key.alg}", "bold")], _line(span, now, first, last))]
    legend = ", ".join(f"{sign} {state}" for state, (sign, _) in _SIGNS.items())
    draw([*lines, [(f"{in_words(first)} to {in_words(last)}: {legend}, | now", "dim")]])


@group.command()
@click.option("--alg", type=click.Choice(ALGORITHMS), default=DEFAULT_ALG, show_default=True, help="Which line of keys.")
@json_option
@click.pass_obj
def rotate(obj, alg: str, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Let the announced successor sign as early as every relying party can know it."""
    try:
        kid, at = obj.keys.rotate(alg)
    except LookupError as error:
        message = f"The key cannot be rotated: {error}. Try again in a minute, or see `idp doctor`."
        raise Refused(message) from None
    now = obj.database.clock()
    said = "signs now" if at <= now else f"signs from {in_words(at)}, when every cache of the JWKS has it"
    emit({"kid": kid, "signs_from": at} if as_json else {"kid": kid, "plan": said}, as_json=as_json)


@group.command()
@json_option
@click.pass_obj
def reseal(obj, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Seal every private key under the first of several secrets in IDP_SECRET_KEY, so that the others can go."""
    done = obj.keys.reseal()
    emit({"resealed": done.resealed, "keys": done.keys}, as_json=as_json)


def _record(span: KeyLifetime, now: Instant) -> dict[str, object]:
    key = span.key
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": str(span.state(now)),
        "published": key.published_at,
        "signs_from": key.active_at,
        "signs_until": span.retired_at,
        "removed": span.removed_at,
        "revoked": key.revoked_at,
        "revoked_reason": key.revoked_reason,
        "next_change": span.next_change(now),
        "holder": key.holder,
    }


def _line(span: KeyLifetime, now: Instant, first: Instant, last: Instant) -> Line:
    """What a key does over time, and in words what it does now and what comes next."""
    state, change = span.state(now), span.next_change(now)
    words = str(state) if span.key.revoked_reason is None else f"{state}: {span.key.revoked_reason}"
    if change is not None:
        words += f", {_NEXT[state]} in {lasting(change - now)}"
    return [*_bar(span, now, first, last), (f" {words}", "")]


def _window(spans: list[KeyLifetime], now: Instant) -> tuple[Instant, Instant]:
    """The time that the bars show: everything that is planned, what led to it, and a little of what follows."""
    instants = [
        instant
        for span in spans
        for instant in (span.key.published_at, span.key.active_at, span.retired_at, span.removed_at)
        if instant is not None
    ]
    first, last = min(now, *instants, now), max(now, *instants, now)
    return first, last + max(60.0, (last - first) / 8)


def _bar(span: KeyLifetime, now: Instant, first: Instant, last: Instant) -> Line:
    cell = (last - first) / _BAR
    signs = [_SIGNS.get(span.state(first + (index + 0.5) * cell), (" ", "")) for index in range(_BAR)]
    return [("|" if index == int((now - first) / cell) else sign, style) for index, (sign, style) in enumerate(signs)]
