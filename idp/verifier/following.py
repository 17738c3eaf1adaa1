"""What every way of following has: a flow of its own, a farewell, and what it does with what is posted to the app."""

from idp.verifier.received import Reply
from idp.verifier.wire import Flow


class Follower:
    """One that does nothing of it."""

    def follow(self) -> Flow[None]:
        """What it does beside verifying, without end."""
        yield from ()

    def farewell(self) -> Flow[None]:
        """What it leaves behind is tidied away. Raises ExchangeError."""
        yield from ()

    def find_list(self, _uri: str) -> Flow[None]:
        """Fetch a status list that a token names."""
        yield from ()

    def receive(self, _body: bytes) -> Flow[Reply]:
        """Take in what was posted. Raises ValueError where nothing is to be posted."""
        yield from ()
        message = "this verifier follows in a way by which nothing is posted to it"
        raise ValueError(message)
