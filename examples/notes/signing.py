"""Signing in, signing out, and being signed out: the part of the app that talks with the provider."""

import requests
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth, OAuthError
from flask import Blueprint, Flask, Response, abort, flash, redirect, request
from joserfc.errors import JoseError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from examples.journal import tell
from examples.notes.cookie import COOKIE, current, refuse_forgery
from examples.receiver import LogoutToken, Receiver, refused
from examples.sessions import LIFETIME, SessionEndedError, Sessions
from examples.settings import Settings


def blueprint(app: Flask, settings: Settings, sessions: Sessions, receiver: Receiver) -> Blueprint:
    """The routes, for one provider."""
    provider: FlaskOAuth2App = OAuth(app).register(
        "provider",
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        server_metadata_url=f"{settings.issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "default_timeout": 10},
    )
    routes = Blueprint("signing", __name__)
    _add_sign_in(routes, provider, settings, sessions, receiver)
    _add_sign_out(routes, provider, settings, sessions)
    _add_receiver(routes, receiver, sessions)
    return routes


def _add_sign_in(
    routes: Blueprint, provider: FlaskOAuth2App, settings: Settings, sessions: Sessions, receiver: Receiver
) -> None:
    @routes.get("/login")
    def login() -> AnyResponse:
        try:
            return provider.authorize_redirect(f"{settings.base}/callback")  # with PKCE, state and nonce
        except requests.RequestException:
            abort(502, f"The provider at {settings.issuer} does not answer. Try again in a moment.")

    @routes.get("/callback")
    def callback() -> AnyResponse:
        try:
            token = provider.authorize_access_token()  # checks state, PKCE, signature, iss, aud, exp, nonce
            claims = token["userinfo"]
            if claims["iss"] != settings.issuer or "sid" not in claims:
                abort(502, "The provider answered for another issuer, or without the sid that sign-out needs.")
            # A name may stand at the userinfo endpoint only (OpenID Connect Core §5.4).
            session = sessions.start({**provider.userinfo(token=token), **claims}, token["id_token"])
        except OAuthError as error:
            abort(400, f"You are not signed in: {error.description or error.error}.")
        except (JoseError, KeyError):
            abort(400, "You are not signed in: the provider's answer is not what we asked for.")
        except SessionEndedError:
            abort(400, "You are not signed in: the session at the provider has already ended.")
        except requests.RequestException:
            abort(502, f"The provider at {settings.issuer} does not answer. Try again in a moment.")
        _end_former(sessions)
        receiver.warm()
        tell("signed_in", app="notes", sid=session.sid, name=session.name)
        answer = redirect("/", 303)
        answer.set_cookie(COOKIE, session.key, max_age=LIFETIME, httponly=True, samesite="Lax")
        return answer


def _end_former(sessions: Sessions) -> None:
    """A browser has one session here; the one that a new sign-in replaces must not live on unseen."""
    former = current(sessions)
    if former:
        sessions.end_one(former)


def _add_sign_out(routes: Blueprint, provider: FlaskOAuth2App, settings: Settings, sessions: Sessions) -> None:
    @routes.post("/sign-out")
    def sign_out() -> AnyResponse:
        """RP-Initiated Logout 1.0 §2: end our session, then ask the provider to end its own and everybody else's."""
        session = current(sessions)
        if session is None:
            return redirect("/", 303)
        refuse_forgery(session)
        try:
            answer = provider.logout_redirect(
                f"{settings.base}/signed-out", id_token_hint=session.id_token, client_id=settings.client_id
            )
            answer.status_code = 303  # a POST leads on by GET (RFC 9110 §15.4.4)
        except requests.RequestException:
            abort(502, f"The provider at {settings.issuer} does not answer, so you are still signed in. Try again.")
        sessions.end_one(session)
        tell("session_ended", app="notes", sid=session.sid, by="sign-out")
        answer.delete_cookie(COOKIE, httponly=True, samesite="Lax")
        return answer

    @routes.get("/signed-out")
    def signed_out() -> AnyResponse:
        try:
            provider.validate_logout_response()  # the state that we sent has come back, to the browser that sent it
        except OAuthError:
            abort(400, "Nobody signed out here just now, so this answer from the provider is not believed.")
        flash("You are signed out everywhere.")
        return redirect("/", 303)


def _add_receiver(routes: Blueprint, receiver: Receiver, sessions: Sessions) -> None:
    def end(token: LogoutToken) -> None:
        for session in sessions.end(token.iss, sid=token.sid, sub=token.sub):
            tell("session_ended", app="notes", sid=session.sid, by="provider")

    @routes.post("/backchannel-logout")
    def backchannel_logout() -> Response:
        try:
            answer = receiver.receive(request.get_data(), end)
        except RequestEntityTooLarge:
            answer = refused(400, "invalid_request", "the request is too long")
        return Response(answer.body, answer.status, dict(answer.headers))
