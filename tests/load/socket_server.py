"""An app with websockets, as a user of the library writes one: `python -m tests.load.socket_server`, told by its environment.

A message that looks like a token is taken as a newer one, and answered with `extended` or why not; any other comes back.
"""

import asyncio
import json
import os
import socket

import uvicorn

from idp.verifier import AsyncVerifier, Guard, OtherSessionError, Poll, TokenError
from idp.verifier.asgi import GuardedSockets, Message, Receive, Scope, Send, bearer, socket_of


async def main() -> None:
    """Serve on a free port, which is printed as soon as the provider is followed."""
    told = os.environ
    follow = Poll(told["CLIENT_ID"], told["CLIENT_SECRET"])
    async with AsyncVerifier(told["ISSUER"], told["AUDIENCE"], follow=follow) as verifier:
        with Guard(verifier) as guard:
            assert await verifier.wait(20), verifier.state.problem
            app = GuardedSockets(echo_of(verifier), guard, bearer(verifier.verify))
            listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
            config = uvicorn.Config(app, log_level="error", lifespan="off", ws_ping_interval=None, timeout_graceful_shutdown=1)
            print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
            await uvicorn.Server(config).serve(sockets=[listening])


def echo_of(verifier: AsyncVerifier):
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": await answer(scope, message)})

    async def answer(scope: Scope, message: Message) -> str:
        text = str(message["text"])
        if text.count(".") != 2:
            return text
        try:
            socket_of(scope).handle.extend(await verifier.verify(text))
        except (TokenError, OtherSessionError) as error:
            return f"{type(error).__name__}: {error}"
        return "extended"

    return echo


if __name__ == "__main__":
    asyncio.run(main())
