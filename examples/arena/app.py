"""The app's pages and its socket, and what stands around them."""

import secrets
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket

from examples.arena.cookie import current
from examples.arena.following import Following, verifier_of
from examples.arena.game import Game
from examples.arena.guards import Guards
from examples.arena.signing import Signing
from examples.receiver import Receiver
from examples.sessions import Sessions
from examples.settings import Settings
from idp.verifier import AsyncVerifier
from idp.verifier.asgi import GuardedSockets

HERE = Path(__file__).parent


def create_app(
    settings: Settings,
    *,
    sessions: Sessions | None = None,
    receiver: Receiver | None = None,
    verifier: AsyncVerifier | None = None,
) -> Starlette:
    """The app for one provider. A test hands in its own `sessions`, `receiver` and `verifier`."""
    known, game = sessions or Sessions(), Game(settings.client_id)
    following = Following(settings, known, verifier or verifier_of(settings))
    receives = receiver or Receiver(issuer=settings.issuer, client_id=settings.client_id)
    signing = Signing(settings, known, game, receives)
    pages = Pages(settings, known, game, following)
    return Starlette(
        routes=[
            Route("/", pages.home),
            Route("/me", pages.me),
            WebSocketRoute("/arena", pages.arena),
            Route("/login", signing.login),
            Route("/callback", signing.callback),
            Route("/sign-out", signing.sign_out, methods=["POST"]),
            Route("/signed-out", signing.signed_out),
            Route("/backchannel-logout", signing.backchannel_logout, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(Guards, settings=settings),
            Middleware(GuardedSockets, guard=following.guard),
            # Starlette's own session holds nothing but Authlib's state while a sign-in is under way.
            Middleware(SessionMiddleware, secret_key=secrets.token_hex(32), session_cookie="arena_login", max_age=3600),
        ],
        exception_handlers={HTTPException: pages.problem},
        lifespan=following.lifespan,
    )


class Pages:
    """What a person sees, and the socket behind it."""

    def __init__(self, settings: Settings, sessions: Sessions, game: Game, following: Following) -> None:
        self._settings, self._sessions, self._game, self._following = settings, sessions, game, following
        self._templates = Jinja2Templates(HERE / "templates")

    async def home(self, request: Request) -> Response:
        """The one page; `/signed-out` leads back to it with a word."""
        session = current(request, self._sessions)
        notice = "You are signed out everywhere." if request.session.pop("signed_out", False) and not session else ""
        return self._templates.TemplateResponse(request, "page.html", {"session": session, "notice": notice})

    async def problem(self, request: Request, error: Exception) -> Response:
        """What went wrong, on the same page."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        return self._templates.TemplateResponse(request, "page.html", {"problem": detail}, status_code=status)

    async def me(self, request: Request) -> Response:
        """Whether this browser is signed in: the page asks when it lost its socket and does not know why."""
        session = current(request, self._sessions)
        return JSONResponse({"signed_in": session is not None, "name": session.name if session else None})

    async def arena(self, socket: WebSocket) -> None:
        """The handshake is the one moment at which a socket can be authenticated: cookies come with it, once.

        Browsers let any page open a socket to us and send our cookies along, so the Origin decides first
        (Cross-Site WebSocket Hijacking; RFC 6455 §10.2). SameSite does not help between two ports of localhost.
        """
        if socket.headers.get("origin") != self._settings.base:
            await socket.send_denial_response(JSONResponse({"error": "another origin"}, 403))
            return
        if not await self._following.is_heard():
            await socket.send_denial_response(JSONResponse({"error": "the provider cannot be reached"}, 503))
            return
        session = current(socket, self._sessions)
        player = self._game.admit(session, socket) if session else None
        if player is None:
            await socket.send_denial_response(JSONResponse({"error": "not signed in, or too many sockets"}, 401))
            return
        await socket.accept()
        await self._game.play(socket, player)
