"""What must go on for as long as the process lives: threads that are started again when they end, and whether each ran lately.

A thread that died was noticed by nobody: deliveries stayed where they were, sessions did not expire, and the process went on
as if nothing were wrong.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from idp.runtime import audit, clock
from idp.runtime.inbound.threads import FullError

#: Beyond its own pauses a round may take this long, in seconds: it waits for the database's locks and time-outs.
SLACK = 60.0
#: After what nobody foresaw it begins anew this much later, in seconds: the cause may be there still.
_PAUSE = 1.0


class Heartbeat:
    """When something was last seen at work. It has to `beat` at least every `within` seconds from its first beat on."""

    def __init__(self, name: str, within: float) -> None:
        self.name = name
        self._within = within
        self._beaten_at: float | None = None

    def beat(self) -> None:
        """It runs. Any thread may say so."""
        self._beaten_at = clock.elapsed()

    def problem(self) -> str | None:
        """That it has not run lately, as a sentence, or None."""
        if self._beaten_at is None:
            return None
        silent = clock.elapsed() - self._beaten_at
        if silent <= self._within:
            return None
        return f"{self.name} has not run for {clock.lasting(silent)}."


class Supervised(Heartbeat):
    """Runs `run` in a thread of this process until `stop` is called, and again whenever it ends before that.

    `run` returns when it is told to stop, and beats in each of its rounds.
    """

    def __init__(self, name: str, run: Callable[[], object], within: float) -> None:
        super().__init__(name, within)
        self._run = run
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to come to its end."""
        return self._stopping.is_set()

    @property
    def is_started(self) -> bool:
        """Whether it was ever started."""
        return self._thread is not None

    def start(self) -> None:
        """Run it from now on."""
        self.beat()
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it not run again. What makes `run` return is the caller's to say."""
        self._stopping.set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is told to stop; whether it is."""
        return self._stopping.wait(seconds)

    def join(self, seconds: float | None) -> bool:
        """Wait for its end, at most so long; whether it has ended, or never began."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def problem(self) -> str | None:
        """That it ended or has not run lately, as a sentence, or None."""
        if self._thread is None or self.is_stopping:
            return None
        if not self._thread.is_alive():
            return f"{self.name} has ended."
        return super().problem()

    def _live(self) -> None:
        while not self.is_stopping:
            self._run_once()
            if self.wait(_PAUSE):
                return

    def _run_once(self) -> None:
        """Run it, and tell of whatever ends it: it is there again a moment later."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - not even SystemExit may end it: nobody would notice
            audit.fail("process.thread_failed", error, thread=self.name)
        else:
            if not self.is_stopping:
                audit.warn("process.thread_ended", thread=self.name)


class Probe:
    """Asks for a sign of life whenever the last one has come: threads that only serve others have no rounds of their own.

    `ask` has the beat called there. Where too much waits to be asked, it is asked again the next time.
    """

    def __init__(self, ask: "Callable[[], Future[None]]") -> None:
        self._ask = ask
        self._asked: Future[None] | None = None

    def __call__(self) -> None:
        """Ask, unless an answer is waited for."""
        if self._asked is not None and not self._asked.done():
            return
        with suppress(FullError):
            self._asked = self._ask()


class Watch:
    """Everything that must go on in one process."""

    def __init__(self, *pulses: Heartbeat) -> None:
        self._pulses = list(pulses)
        self._told: str | None = None

    def add(self, pulse: Heartbeat) -> None:
        """Watch another one."""
        self._pulses.append(pulse)

    def problem(self) -> str | None:
        """What does not go on, as a sentence, or None."""
        return next((problem for pulse in self._pulses if (problem := pulse.problem()) is not None), None)

    def look(self) -> None:
        """Log what does not go on, and that it does again: each once."""
        stalled = next((pulse.name for pulse in self._pulses if pulse.problem() is not None), None)
        if stalled == self._told:
            return
        if stalled is None:
            audit.record("process.goes_on", thread=self._told)
        else:
            audit.warn("process.stalled", thread=stalled, problem=self.problem())
        self._told = stalled
