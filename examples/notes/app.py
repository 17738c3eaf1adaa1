"""The app's pages, and what stands around them."""

import secrets
from collections import defaultdict

from flask import Flask, Response, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from examples.notes import signing
from examples.notes.cookie import current, refuse_forgery
from examples.receiver import Receiver
from examples.sessions import Sessions
from examples.settings import Settings

LONGEST_NOTE = 280


def create_app(settings: Settings, *, sessions: Sessions | None = None, receiver: Receiver | None = None) -> Flask:
    """The app for one provider. A test hands in its own `sessions` and `receiver`."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),
        # Flask's own session holds nothing but Authlib's state while a sign-in is under way.
        SESSION_COOKIE_NAME="notes_login",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    known = sessions or Sessions()
    receives = receiver or Receiver(issuer=settings.issuer, client_id=settings.client_id)
    app.register_blueprint(signing.blueprint(app, settings, known, receives))
    _add_guards(app, settings)
    _add_pages(app, known)
    return app


def _add_guards(app: Flask, settings: Settings) -> None:
    @app.before_request
    def only_our_own_name() -> AnyResponse | None:
        return None if request.host == settings.host else redirect(settings.base)

    @app.after_request
    def with_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = settings.content_security_policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"  # "back" must not show the page of a session that ended
        return response

    @app.errorhandler(400)
    @app.errorhandler(502)
    def explain(error: Exception) -> tuple[str, int]:
        code = getattr(error, "code", 400)
        return render_template("page.html", problem=getattr(error, "description", "")), code


def _add_pages(app: Flask, sessions: Sessions) -> None:
    notes: dict[str, list[str]] = defaultdict(list)

    @app.get("/")
    def home() -> str:
        session = current(sessions)
        mine = notes[session.sub] if session else []
        return render_template("page.html", session=session, notes=mine, longest=LONGEST_NOTE)

    @app.post("/notes")
    def add() -> AnyResponse:
        session = current(sessions)
        if session:
            refuse_forgery(session)
            text = request.form.get("text", "").strip()[:LONGEST_NOTE]
            notes[session.sub] = [*([text] if text else []), *notes[session.sub]][:20]
        return redirect("/", 303)

    @app.get("/me")
    def me() -> Response:
        """What the page asks twice a second, so that it goes dark soon after its session."""
        session = current(sessions)
        return jsonify(signed_in=session is not None, name=session.name if session else None)
