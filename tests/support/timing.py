"""What a run took: the seconds of each folder beside its budget, and the slowest tests."""

from dataclasses import dataclass, field
from typing import Any

import pytest

#: Seconds of work, on all cores together, that the whole of each folder takes on two quiet cores. A run that takes half as much
#: again says so; machines differ, so it fails nothing.
BUDGET: dict[str, float] = {
    "accounts": 21,
    "attacks": 198,
    "authorization": 31,
    "brand": 2,
    "browser": 109,
    "cli": 143,
    "clients": 22,
    "config": 10,
    "conformance": 210,
    "delivery": 62,
    "documentation": 77,
    "endings": 164,
    "examples": 99,
    "faults": 377,
    "flows": 144,
    "fuzz": 373,
    "house": 20,
    "issuing": 92,
    "keys": 53,
    "load": 223,
    "migrations": 34,
    "packaging": 27,
    "protocol": 8,
    "proxies": 80,
    "runtime": 32,
    "sessions": 23,
    "signals": 294,
    "tokens": 11,
    "verifier": 233,
}
_SLOWEST = 10
_OVER = 1.5
_OTHERS = 10.0


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Timing:
    """A plugin of pytest: hears of every test, in whichever process it was run."""

    seconds: dict[str, float] = field(default_factory=dict)
    tests: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    quick: bool = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what setting up, running and tearing down took."""
        folder = report.nodeid.split("/")[1] if "/" in report.nodeid else report.nodeid
        self.seconds[folder] = self.seconds.get(folder, 0.0) + report.duration
        self.tests[report.nodeid] = self.tests.get(report.nodeid, 0.0) + report.duration

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what was left out."""
        self.left_out += len(items)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A test process says it to the one that prints."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["left_out"] = self.left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Each test process left out the same."""
        self.left_out = max(self.left_out, getattr(node, "workeroutput", {}).get("left_out", 0))

    def _left_out(self, terminalreporter: pytest.TerminalReporter) -> str:
        """What this run did not prove, and why."""
        skipped = len(terminalreporter.stats.get("skipped", ()))
        reasons = [
            f"{self.left_out} by --quick (proofs, and the second database)" if self.left_out and self.quick else "",
            f"{self.left_out} that no database has a part in, on the second one" if self.left_out and not self.quick else "",
            f"{skipped} for a missing tool (see above)" if skipped else "",
        ]
        said = "; ".join(filter(None, reasons))
        return f"Left out: {said}." if said else "Nothing was left out."

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it."""
        if len(self.tests) < _SLOWEST:
            return
        line = terminalreporter.write_line
        by_folder = sorted(self.seconds.items(), key=lambda pair: -pair[1])
        line("")
        line(self._left_out(terminalreporter))
        line("Seconds by folder: " + ", ".join(f"{name} {took:.0f}" for name, took in by_folder))
        line(f"The {_SLOWEST} slowest:")
        for name, took in sorted(self.tests.items(), key=lambda pair: -pair[1])[:_SLOWEST]:
            line(f"  {took:6.1f} s  {name}")
        for name, took in by_folder:
            if took > max(_OTHERS, _OVER * BUDGET.get(name, took)):
                line(f"tests/{name} took {took:.0f} s, and {BUDGET[name]:.0f} are its budget.", yellow=True)
