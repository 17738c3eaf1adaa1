"""`/logout` (RP-Initiated Logout 1.0): the cookie decides who is signed out; `id_token_hint` only names the client.

Without a hint from this very session the person is asked first: otherwise any page could sign people out by a link (§6).
"""

from collections.abc import Sequence

from flask import Blueprint, Response, request
from flask import session as browser_session
from flask_login import current_user, logout_user
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

from idp.clients.display import ShownClient
from idp.clients.pages import as_shown, ways_back
from idp.clients.service import ClientService
from idp.logout.request import FIELDS, LogoutRequest, LogoutRequestError, read
from idp.logout.rules import Heard, Reason
from idp.logout.service import LogoutService
from idp.protocol import uris
from idp.protocol.parameters import Parameters
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.web.foreign_forms import refuse_foreign_form
from idp.runtime.web.pages import (
    BROWSER,
    PageError,
    RefusedAddress,
    blueprint,
    forms_may_lead_to,
    frames_may_show,
    moves_on_to,
    moving_on,
    parameters,
    render,
    see_other,
)
from idp.runtime.web.stale_forms import NOT_OF_NOW
from idp.signals.rules import together
from idp.signals.streams import StreamService
from idp.tokens.service import TokenService

CONFIRM = "confirm"
_LEFT = "left"
#: For how long, in seconds, the page tells of the apps, and for how long it asks for itself again while one is waited for.
_TOLD_FOR, _LIVE_FOR = 600, 10
#: Of so many sessions that ended at once the page tells.
MOST_LEFT = 20
#: How long the frames of apps get before the browser goes on to where it was asked to.
_FRAMES_SECONDS = 2


def pages(
    database: Database,
    clients: ClientService,
    tokens: TokenService,
    logout: LogoutService,
    streams: StreamService,
    issuer: str,
) -> Blueprint:
    """The end-session endpoint."""
    routes = blueprint("logout", open_to_others=True)

    @routes.route("/logout", methods=["GET", "POST"])
    def end_session() -> Response:
        given = parameters()
        if request.method == "POST" and "decision" not in given:
            # A relying party's POST brings no cookie (SameSite=Lax); the GET that follows brings it.
            return see_other(uris.with_parameters("logout", [(name, given[name]) for name in FIELDS if name in given]))
        sid: str | None = current_user.session.sid if current_user.is_authenticated else None
        with database.reading() as tx:
            asked = _read(tx, given)
            hinted = sid is not None and logout.is_hinted(tx, sid, asked.client, asked.hint_sid)
        if request.method != "POST":
            _log_refused(asked)
        if sid is None:
            return _finish(asked, was_signed_in=False)
        asking = _asked_first(given, asked, issuer, hinted=hinted)
        if asking is not None:
            return asking
        with database.writing() as tx:
            logout.end_session(tx, sid, Reason.RP_INITIATED if asked.client is not None else Reason.SIGNED_OUT)
            framed = bool(logout.frames(tx, [sid]))
        logout_user()
        left(database.clock(), [sid])
        return _finish(asked, was_signed_in=True, framed=framed)

    @routes.get("/logout/done")
    def done() -> Response:
        """What became of it, for the browser that signed out, and only for a while."""
        return _done_page(database, clients, logout, streams)

    def _read(tx: Transaction, given: Parameters) -> LogoutRequest:
        try:
            return read(tx, given, clients, tokens)
        except LogoutRequestError as error:
            sentence = "The app asked to sign you out in a way that makes no sense. You can sign out on your account page."
            raise PageError("invalid_request", str(error), sentence) from None

    return routes


def _asked_first(given: Parameters, asked: LogoutRequest, issuer: str, *, hinted: bool) -> Response | None:
    """What comes before anything ends: the question, or what the person answered to it. None where it may end now.

    An address that is not registered is the app's mistake, and the person learns of it first.
    """
    if request.method != "POST":
        return None if hinted and asked.refused_uri is None else _confirmation(given, asked)
    if given["decision"] != CONFIRM:
        return render("logout_cancelled.html", ways=ways_back(asked.client, issuer, asked.ui_locales))
    return None if _is_of_now(given) else _confirmation(given, asked, 400, NOT_OF_NOW)


def _done_page(database: Database, clients: ClientService, logout: LogoutService, streams: StreamService) -> Response:
    kept = browser_session.get(_LEFT, {"at": 0.0, "sids": []})
    ago = database.clock() - kept["at"]
    sids = kept["sids"] if 0 <= ago < _TOLD_FOR else []
    with database.reading() as tx:
        apps = logout.told(tx, sids)
        exposure = together(streams.exposures(tx, sids).values())
        exposed = None if exposure is None else exposure.sentence(tx.now)
        frames = [] if kept.get("framed") else logout.frames(tx, sids)
    if frames:
        browser_session[_LEFT] = kept | {"framed": True}  # once: the page asks for itself again
        frames_may_show(frames)
    is_waited_for = any(app.state is Heard.WAITING for app in apps) or (exposure is not None and not exposure.all_confirmed)
    is_live = ago < _LIVE_FOR and is_waited_for
    client, go_on = clients.find(kept.get("client_id")), kept.get("go_on")
    found = {
        "client": as_shown(client, kept.get("ui_locales", ())) if client is not None else None,
        "apps": apps,
        "frames": frames,
        "go_on": go_on,
        "is_live": is_live,
        "exposed": exposed,
    }
    # Once as well: who comes back here by the Back button is not sent off again.
    moves_on = go_on is not None and not kept.get("framed")
    response = render("logout_done.html", was_signed_in=bool(sids), moves_on=moves_on, **found)
    if moves_on:
        response.headers["Refresh"] = f"{_FRAMES_SECONDS};url={go_on}"
    elif is_live or frames:
        response.headers["Refresh"] = "1"
    return response


def left(now: Instant, sids: Sequence[str]) -> None:
    """Forget who was at this browser, save which sessions it just ended: in the signed cookie, never in an address.

    What names the browser itself stays: a request that waits in another tab goes on after the next sign-in.
    """
    kept = {name: browser_session[name] for name in (BROWSER,) if name in browser_session}
    browser_session.clear()
    browser_session.update(kept)
    browser_session[_LEFT] = {"at": now, "sids": list(sids)[:MOST_LEFT]}


def _confirmation(given: Parameters, asked: LogoutRequest, status: int = 200, notice: str | None = None) -> Response:
    forms_may_lead_to(asked.redirect_uri)
    fields = {name: given[name] for name in FIELDS if name in given}
    username = current_user.account.username
    return render(
        "logout.html",
        status,
        notice=notice,
        refused=_refused(asked),
        action="logout",
        username=username,
        client=_shown(asked),
        fields=fields,
    )


def _shown(asked: LogoutRequest) -> ShownClient | None:
    return None if asked.client is None else as_shown(asked.client, asked.ui_locales)


def _refused(asked: LogoutRequest) -> RefusedAddress | None:
    """What the makers of the app see of an address that nobody is sent to."""
    if asked.refused_uri is None:
        return None
    registered = () if asked.client is None else asked.client.post_logout_redirect_uris
    return RefusedAddress("post_logout_redirect_uri", asked.refused_uri, registered)


def _log_refused(asked: LogoutRequest) -> None:
    refused = _refused(asked)
    if refused is not None:
        client_id = None if asked.client is None else asked.client.client_id
        audit.warn("logout.redirect_refused", client_id=client_id, **refused.fields())


def _finish(asked: LogoutRequest, *, was_signed_in: bool, framed: bool = False) -> Response:
    """Back to the app, or to our own page, which comes first where apps are signed out in frames."""
    state = [("state", asked.state)] if asked.state is not None else []
    back = None if asked.redirect_uri is None else uris.with_parameters(asked.redirect_uri, state)
    if back is not None and not framed:
        pauses = request.method == "POST" and moves_on_to(back)
        return moving_on(back, client=_shown(asked)) if pauses else see_other(back)
    if not was_signed_in:
        refused = _refused(asked) if request.method != "POST" else None
        return render("logout_done.html", client=_shown(asked), was_signed_in=False, apps=[], refused=refused)
    client_id = None if asked.client is None else asked.client.client_id
    named = {"client_id": client_id, "go_on": back, "ui_locales": asked.ui_locales}
    browser_session[_LEFT] = browser_session[_LEFT] | named
    return see_other("logout/done")


def _is_of_now(given: Parameters) -> bool:
    """The relying party's POST needs no token, so this blueprint is exempt; the person's answer does need one."""
    refuse_foreign_form()
    try:
        validate_csrf(given.get("csrf_token"))
    except ValidationError:
        return False
    return True
