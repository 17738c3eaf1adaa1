"""`idp key`: which key signs, what comes next, and letting it come sooner."""

import click

from idp.keys.rules import Span
from idp.runtime.clock import Instant, in_words
from idp.runtime.console import Refused, emit, json_option


@click.group(name="key")
def group() -> None:
    """Signing keys."""


@group.command(name="list")
@json_option
@click.pass_obj
def list_(obj, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - see idp.cli.Deployment
    """Show every key: what it does now, and from when to when."""
    obj.keys.load()
    now = obj.database.clock()
    rows = [_row(span, now, as_json=as_json) for span in obj.keys.spans()]
    emit(rows, as_json=as_json, columns=("kid", "alg", "state", "published", "signs_from", "signs_until", "removed"))


def _row(span: Span, now: Instant, *, as_json: bool) -> dict[str, object]:
    instants = {
        "published": span.key.published_at,
        "signs_from": span.key.active_at,
        "signs_until": span.retired_at,
        "removed": span.removed_at,
    }
    shown = {name: at if as_json else in_words(at) for name, at in instants.items()}
    return {"kid": span.key.kid, "alg": span.key.alg, "state": str(span.state(now)), **shown}


@group.command()
@json_option
@click.pass_obj
def rotate(obj, *, as_json: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Let the announced successor sign as early as every relying party can know it."""
    try:
        kid, at = obj.keys.rotate()
    except LookupError as error:
        message = f"The key cannot be rotated: {error}. Try again in a minute, or see `idp doctor`."
        raise Refused(message) from None
    now = obj.database.clock()
    said = "signs now" if at <= now else f"signs from {in_words(at)}, when every cache of the JWKS has it"
    emit({"kid": kid, "signs_from": at} if as_json else {"kid": kid, "plan": said}, as_json=as_json)
