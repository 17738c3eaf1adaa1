"""Signing in, signing out, and being signed out: the part of the app that talks with the provider."""

import hmac
from urllib.parse import parse_qs

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError, StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from examples.arena.cookie import COOKIE, current
from examples.arena.game import Game
from examples.journal import tell
from examples.receiver import LogoutToken, Receiver, refused
from examples.sessions import LIFETIME, Session, SessionEndedError, Sessions
from examples.settings import Settings

LONGEST_BODY = 64 * 1024


class Signing:
    """The routes, for one provider."""

    def __init__(self, settings: Settings, sessions: Sessions, game: Game, receiver: Receiver) -> None:
        self._settings, self._sessions, self._game, self._receiver = settings, sessions, game, receiver
        self._provider: StarletteOAuth2App = OAuth().register(
            "provider",
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            server_metadata_url=f"{settings.issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "timeout": 10},
        )
        self._unreachable = HTTPException(502, f"The provider at {settings.issuer} does not answer. Try again in a moment.")

    async def login(self, request: Request) -> Response:
        """Send the browser to the provider, with PKCE, state and nonce."""
        try:
            return await self._provider.authorize_redirect(request, f"{self._settings.base}/callback")
        except httpx2.HTTPError:
            raise self._unreachable from None

    async def callback(self, request: Request) -> Response:
        """The provider's answer: redeem the code, start a session of our own, bound to the provider's `sid`."""
        try:
            session = await self._session_of(request)
        except OAuthError as error:
            raise HTTPException(400, f"You are not signed in: {error.description or error.error}.") from None
        except (JoseError, KeyError):
            raise HTTPException(400, "You are not signed in: the provider's answer is not what we asked for.") from None
        except SessionEndedError:
            raise HTTPException(400, "You are not signed in: the session at the provider has already ended.") from None
        except httpx2.HTTPError:
            raise self._unreachable from None
        self._end_here(current(request, self._sessions))  # what a new sign-in replaces must not live on unseen
        self._receiver.warm()
        tell("signed_in", app="arena", sid=session.sid, name=session.name)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, session.key, max_age=LIFETIME, httponly=True, samesite="lax")
        return answer

    async def _session_of(self, request: Request) -> Session:
        token = await self._provider.authorize_access_token(request)  # checks state, PKCE, signature, iss, aud, exp, nonce
        claims = token["userinfo"]
        if claims["iss"] != self._settings.issuer or "sid" not in claims:
            raise HTTPException(502, "The provider answered for another issuer, or without the sid that sign-out needs.")
        # A name may stand at the userinfo endpoint only (OpenID Connect Core §5.4).
        return self._sessions.start({**await self._provider.userinfo(token=token), **claims}, token["id_token"])

    async def sign_out(self, request: Request) -> Response:
        """RP-Initiated Logout 1.0 §2: end our session, then ask the provider to end its own and everybody else's."""
        session = current(request, self._sessions)
        if session is None:
            return RedirectResponse("/", 303)
        posted = parse_qs((await _body(request)).decode("latin-1")).get("csrf_token", [""])[0]
        # SameSite=Lax is not enough against forged forms: all of localhost is one site.
        if not hmac.compare_digest(posted.encode(), session.csrf_token.encode()):
            raise HTTPException(400, "This form was not sent from our page: load the page again, and repeat.")
        try:
            answer = await self._provider.logout_redirect(
                request,
                f"{self._settings.base}/signed-out",
                id_token_hint=session.id_token,
                client_id=self._settings.client_id,
            )
        except httpx2.HTTPError:
            raise self._unreachable from None
        answer.status_code = 303  # a POST leads on by GET (RFC 9110 §15.4.4)
        self._end_here(session)
        tell("session_ended", app="arena", sid=session.sid, by="sign-out")
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    async def signed_out(self, request: Request) -> Response:
        """Back from the provider: the state that we sent must have come back, to the browser that sent it."""
        try:
            await self._provider.validate_logout_response(request)
        except OAuthError:
            message = "Nobody signed out here just now, so this answer from the provider is not believed."
            raise HTTPException(400, message) from None
        request.session["signed_out"] = True
        return RedirectResponse("/", 303)

    async def backchannel_logout(self, request: Request) -> Response:
        """Back-Channel Logout 1.0 §2.5: the provider says that a session ended; its sockets close before we answer."""
        ended: list[Session] = []

        def end(token: LogoutToken) -> None:
            ended.extend(self._sessions.end(token.iss, sid=token.sid, sub=token.sub))

        try:
            answer = await run_in_threadpool(self._receiver.receive, await _body(request), end)
        except HTTPException as error:
            answer = refused(400, "invalid_request", error.detail)
        self._game.end(ended)
        for session in ended:
            tell("session_ended", app="arena", sid=session.sid, by="provider", through="logout token")
        return Response(answer.body, answer.status, dict(answer.headers))

    def _end_here(self, session: Session | None) -> None:
        if session is not None:
            self._sessions.end_one(session)
            self._game.end([session])


async def _body(request: Request) -> bytes:
    """The request's body, read no further than a form of ours could be long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise HTTPException(400, "the request is too long")
    return body
