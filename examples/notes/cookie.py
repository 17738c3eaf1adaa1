"""Who sends this request, and whether our own page had it sent."""

import hmac

from flask import abort, request

from examples.sessions import Session, Sessions

COOKIE = "notes_session"  # cookies know no ports: on localhost every app needs a name of its own


def current(sessions: Sessions) -> Session | None:
    """Who sends this request. Asked anew each time: an ended session must not live on in a cache."""
    return sessions.find(request.cookies.get(COOKIE))


def refuse_forgery(session: Session) -> None:
    """Stop a form that another site had our user send. SameSite=Lax is not enough: all of localhost is one site."""
    if not hmac.compare_digest(request.form.get("csrf_token", "").encode(), session.csrf_token.encode()):
        abort(400, "This form was not sent from our page: go back, load the page again, and repeat.")
