"""A network between the provider and PostgreSQL in which every packet can get lost: nothing is refused, nothing is answered."""

import contextlib
import socket
import threading

from sqlalchemy import make_url


class Network:
    """Stands before a PostgreSQL server. While it is `silent` it takes whatever comes, connections too, and hands nothing on.

    `holds` is set as soon as it swallowed something.
    """

    def __init__(self, url: str) -> None:
        """`url` is that of the database, which may be at a Unix socket."""
        address = make_url(url)
        folder, port = address.query.get("host"), address.port or address.query.get("port") or 5432
        self._to = f"{folder}/.s.PGSQL.{port}" if folder else (address.host or "127.0.0.1", int(str(port)))
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = address.set(host="127.0.0.1", port=self._listening.getsockname()[1], query={}).render_as_string(
            hide_password=False
        )
        self.silent = False
        self.holds = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self) -> None:
        """Every packet is lost from now on."""
        self.holds.clear()
        self.silent = True

    def mend(self) -> None:
        """New connections work. What was open stays as it is: nobody ever hears anything on it."""
        self.silent = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(here)
            if self.silent:
                self.holds.set()
                continue
            there = socket.socket(socket.AF_UNIX if isinstance(self._to, str) else socket.AF_INET)
            self._open.append(there)
            there.connect(self._to)
            is_lost = threading.Event()
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self._hand_on, args=(source, target, is_lost), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self.silent:
                    is_lost.set()
                    self.holds.set()
                if not is_lost.is_set():
                    target.sendall(data)
        if not is_lost.is_set():
            for each in (source, target):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
