"""Who wants to hear of something. Each is told by itself: one that fails makes nobody else deaf, and harms no teller."""

from collections.abc import Callable

from idp.runtime import audit


class Listeners:
    """Calls those who were added, in their order. They must return at once: committers call them."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], object]] = []

    def add(self, listener: Callable[[], object]) -> None:
        """Have `listener` called from now on."""
        self._listeners.append(listener)

    def tell(self) -> None:
        """Call each."""
        for listener in self._listeners:
            try:
                listener()
            except Exception as error:  # noqa: BLE001 - whatever it was, the others are waited for
                audit.fail("process.listener_failed", error, listener=getattr(listener, "__qualname__", None))
