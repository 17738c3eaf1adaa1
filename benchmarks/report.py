"""What is printed: a table for people, one JSON object for programs."""

import json
import platform
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.draining import Drained
from benchmarks.figures import CORES, Figures
from benchmarks.following import ALLOWED as ALLOWED_REQUESTS
from benchmarks.following import Following
from benchmarks.locally import ALLOWED, Locally
from benchmarks.waiting import ALLOWED as ALLOWED_BESIDE
from benchmarks.waiting import Waiting

_HEADINGS = ("database", "workers", "case", "req/s", "p50 ms", "p99 ms", "sign/s", "of RSA", "server", "load", "other")
#: What the table needs.
_WIDTH = 124


def as_json(
    limits: Mapping[int, float],
    figures: Sequence[Figures],
    drained: Sequence[Drained],
    waiting: Sequence[Waiting],
    verified: int,
    local: Locally | None,
    following: Following | None,
) -> str:
    """Everything that was measured. `limits` are bare signatures per second by the number of processes."""
    return json.dumps(
        {
            "machine": {"cores": CORES, "python": platform.python_version(), "system": platform.system()},
            "rsa_2048_signatures_per_second": {str(processes): limit for processes, limit in limits.items()},
            "jwks_of_empty_view": {str(workers): _jwks(figures, workers) for workers in limits},
            "tokens_verified": verified,
            "figures": [line.shown() for line in figures],
            "drained": [line.shown() for line in drained],
            "waiting": [line.shown() for line in waiting],
            "verified_locally": None if local is None else local.shown(),
            "followed": None if following is None else following.shown(),
        },
        indent=2,
    )


def table(
    limits: Mapping[int, float],
    figures: Sequence[Figures],
    drained: Sequence[Drained],
    waiting: Sequence[Waiting],
    verified: int,
    local: Locally | None,
    following: Following | None,
) -> None:
    """Print the table and how it is to be read."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH  # a file or a pipe: nothing is cut
    shown = Table(title="idp serve under load", header_style="bold")
    for heading in _HEADINGS:
        shown.add_column(heading, justify="left" if heading in {"database", "case"} else "right", no_wrap=True)
    before = None
    for line in figures:
        if before is not None and (line.database, line.workers) != before:
            shown.add_section()
        before = (line.database, line.workers)
        shown.add_row(*_row(line))
    console.print(shown)
    for processes, limit in limits.items():
        console.print(f"Bare RSA-2048 limit, {processes} process(es), nothing else running: {limit:,.0f} signatures/s.")
    for workers in limits:
        ratio = _jwks(figures, workers)
        if ratio is not None:
            console.print(f"/jwks does {ratio:.2f} times what an empty Flask view does with {workers} worker(s).")
    for line in drained:
        console.print(
            f"{line.deliveries:,} deliveries on {line.database} with {line.workers} worker(s): {line.rate:,.0f}/s in {line.seconds:.1f} s, "
            f"{line.signing:.0%} of what signing alone allows (server {line.server_share:.0%}, receivers {line.receivers_share:.0%} of the cores)."
        )
    for beside in waiting:
        middle, late = beside.ratios
        console.print(
            f"{beside.followers} waiting followers on {beside.database} with {beside.workers} worker(s): /token p99 {beside.p99_alone:.2f} ms without and "
            f"{beside.p99:.2f} ms with them, {late:.2f} times ({ALLOWED_BESIDE} is allowed); p50 {middle:.2f} times, at {beside.rate:,.0f} requests/s."
        )
    if local is not None:
        console.print(
            f"Verifying locally: {local.verifier:.0f} µs for a token by idp.verifier, {local.joserfc:.0f} µs by joserfc alone (signature and claims), "
            f"{local.pyjwt:.0f} µs by PyJWT; the RSA operation is {local.bare_rsa:.0f} µs of each. That is {local.ratio:.2f} times joserfc's ({ALLOWED} is allowed).",
            f"{local.entries:,} live revocations take {local.traced_bytes / 1e6:.0f} MB as Python counts it, {local.resident_bytes / 1e6:.0f} MB resident.",
            sep="\n",
        )
    if following is not None:
        console.print(
            f"Following by long poll, the verifier asked its provider {following.requests} times while {following.verified:,} tokens were verified in {following.seconds:.0f} s: "
            f"{following.per_minute:.1f} requests a minute (fewer than {ALLOWED_REQUESTS} are allowed), {following.per_million:.1f} for a million tokens."
        )
    console.print(
        f"The load generator shares the {CORES} core(s) with the server: server, load and other say who used how much of "
        "them. Latencies are those of a server kept busy (closed loop), so they grow with the connections.",
        f"{verified} of the issued tokens, drawn at random, were verified by PyJWT with the published keys.",
        sep="\n",
    )


def _row(line: Figures) -> list[str]:
    return [
        line.database,
        str(line.workers),
        line.case,
        f"{line.rate:,.0f}",
        f"{line.p50:.2f}",
        f"{line.p99:.2f}",
        f"{line.signatures:,.0f}" if line.signatures else "-",
        f"{line.signing:.0%}" if line.signing is not None else "-",
        *(f"{share:.0%}" for share in (line.server_share, line.load_share, line.other_share)),
    ]


def _jwks(figures: Sequence[Figures], workers: int) -> float | None:
    """How `/jwks` compares with the empty view of the same run."""
    rates = {line.case: line.rate for line in figures if line.workers == workers}
    empty, jwks = rates.get("empty Flask view"), rates.get("/jwks")
    return jwks / empty if empty and jwks else None
