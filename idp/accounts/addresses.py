"""Where our own pages are."""

from urllib.parse import urlencode

from idp.config import Settings


class Addresses:
    """Paths of our own, from the issuer and never from what a request says of its host."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.issuer_path

    def __call__(self, path: str, **query: str | None) -> str:
        """The absolute path of `path`, with those parameters of `query` that are not None."""
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self._root}/{path.lstrip('/')}" + (f"?{urlencode(given)}" if given else "")
