"""What stands between a verifier and its provider: a TCP relay that can be cut, so that nothing comes any more, or everything breaks."""

import contextlib
import socket
import threading


class Relay:
    """Listens, and hands on what comes. `cut` swallows every byte; `broken` resets every connection."""

    def __init__(self, port: int) -> None:
        """`port` is that of the provider on this machine."""
        self._to = port
        self.cut = False
        self.broken = False
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def break_all(self) -> None:
        """Reset the connections there are, and those that come."""
        self.broken = True
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.cut = self.broken = False

    def close(self) -> None:
        self.break_all()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            if self.broken:
                here.close()
                continue
            try:
                there = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                here.close()
                continue
            self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not self.cut:
                    target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
