"""File descriptors: a server process needs one for each connection, and must not be without one for anything else."""

import resource
from dataclasses import dataclass

#: Connections on which nothing is asked just now: so many leave others served (docs/threats.md 50).
IDLE = 10_000
#: For the database, the keys, the log, and requests that wait for other servers.
_OTHERS = 500
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a process is to have at once: `followers` who wait for security events, and `deliveries` on their way."""

    followers: int
    deliveries: int

    @property
    def wanted(self) -> int:
        """How many connections it is to take."""
        return IDLE + self.followers

    @property
    def needed(self) -> int:
        """How many descriptors that needs."""
        return self.wanted + self._others

    @property
    def connections(self) -> int:
        """How many connections it can take, at least one: fewer than are wanted where the hard limit is too low."""
        return max(1, min(self.wanted, most() - self._others))

    @property
    def _others(self) -> int:
        return self.deliveries + _OTHERS

    def allow(self) -> None:
        """Raise the soft limit of this process, and of those that it starts, as far as that is needed and may be."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < self.needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(self.needed, most()), hard))


def most() -> int:
    """How many descriptors a process may have: the hard limit, to which it may raise the soft one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _NO_LIMIT if hard == resource.RLIM_INFINITY else hard
