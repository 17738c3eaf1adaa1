"""What can be read of a verifier: plain values, and the same as text for Prometheus."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isinf

from idp.verifier.core import Core
from idp.verifier.rules import Kind


@dataclass(frozen=True, slots=True)
class State:
    """Seconds are by the clock that passes. `staleness` is infinite as long as nothing was ever proved."""

    is_stale: bool
    staleness: float
    max_staleness: float | None
    ended: Mapping[Kind, int]
    keys: int
    keys_overdue: float
    requests: int
    failures: int
    refused: int
    problem: str

    @classmethod
    def of(cls, core: Core) -> "State":
        """That of this moment."""
        now, fresh = core.clock.elapsed(), core.staleness()
        return cls(
            is_stale=fresh.is_stale,
            staleness=fresh.seconds,
            max_staleness=core.knowledge.max_staleness,
            ended=core.revocations.count(),
            keys=len(core.keys.keys),
            keys_overdue=core.keys.age(now),
            requests=core.counts.requests,
            failures=core.counts.failures,
            refused=core.counts.refused,
            problem=fresh.problem,
        )

    def as_dict(self) -> dict[str, object]:
        """For JSON: what is infinite is None there."""
        return {name: None if isinstance(value, float) and isinf(value) else value for name, value in asdict(self).items()}

    def as_prometheus(self) -> str:
        """In the text format of Prometheus, version 0.0.4."""
        lines: list[str] = []
        for name, kind, help_text, value in (
            ("stale", "gauge", "Whether what is known of endings is older than it may be", int(self.is_stale)),
            ("staleness_seconds", "gauge", "How old what is known of endings is", self.staleness),
            ("keys", "gauge", "Published keys", self.keys),
            ("keys_overdue_seconds", "gauge", "How long the JWKS has been kept beyond its max-age", self.keys_overdue),
            ("requests_total", "counter", "Requests to the provider", self.requests),
            ("request_failures_total", "counter", "Requests that were not answered", self.failures),
            ("refused_total", "counter", "Tokens refused", self.refused),
        ):
            lines += [f"# HELP idp_verifier_{name} {help_text}", f"# TYPE idp_verifier_{name} {kind}"]
            lines.append(f"idp_verifier_{name} {_shown(value)}")
        lines += ["# HELP idp_verifier_ended What is known to have ended", "# TYPE idp_verifier_ended gauge"]
        lines += [f'idp_verifier_ended{{kind="{kind}"}} {count}' for kind, count in self.ended.items()]
        return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else "+Inf" if isinf(value) else f"{value:.3f}"
