"""An address to listen on, as a setting names it."""

import socket
from dataclasses import dataclass
from functools import cached_property

from idp.config import OperatorError


@dataclass(frozen=True)
class Place:
    """`setting` is the setting's name, `bind` its value: `ADDRESS:PORT`, an IPv6 address in brackets or without."""

    setting: str
    bind: str

    @property
    def host(self) -> str:
        """The address, without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.bind.rpartition(":")[2])

    @cached_property
    def family(self) -> socket.AddressFamily:
        """Of which kind the address is. Raises OperatorError where it is none."""
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
        except (OSError, UnicodeError) as error:
            raise OperatorError(self._sentence(error)) from None

    def see_that_it_is_free(self) -> str:
        """The numeric address. Raises OperatorError where nobody can listen here now.

        Servers tell of that by a page of backtrace, and granian knows no names.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return str(address[0])
        except (OSError, UnicodeError) as error:
            raise OperatorError(self._sentence(error)) from None

    def _sentence(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or "no address has this name"
        where = f"{self.setting} {self.host}:{self.port}"
        return f"{where} cannot be listened on ({reason}): stop what listens there, or set another."
