"""`idp` as processes, forked from one that has imported everything.

To import `idp` takes more than a second of CPU, and a run of the tests starts hundreds of processes. What is forked is the same
program in a process of its own, with its own session, signals and descriptors: it can be killed as any other. That a fresh
interpreter does it all as well is shown by tests/cli, tests/packaging and tests/documentation.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
_ROOMS = ("accounts", "clients", "delivery", "keys", "logout", "sessions", "signals")
_LONGEST = 1 << 20
#: The descriptors that come with a request: the program's own three, and where its end is told.
_DESCRIPTORS = 4
_CHECKOUT = Path(__file__).resolve().parents[2]


class Process:
    """A process of `idp`, of the interface of subprocess.Popen as far as tests need it."""

    def __init__(self, pid: int, ending: int, arguments: Sequence[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ending = ending
        self._arguments = arguments

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, minus the signal's number where a signal ended it. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._ending], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self._arguments), timeout or 0)
            told = os.read(self._ending, 64)
            os.close(self._ending)
            assert told, "the process that idp is forked from is gone"
            self.returncode = int(told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    stdin: IO[bytes] | None = None,
    *,
    module: str = "idp",
) -> Process:
    """`python -m MODULE ARGUMENTS` as a process with a session of its own. Without `stdin` it has nothing to read."""
    if stdin is None:
        with open(os.devnull, "rb") as nothing:
            return start(arguments, env, stdout, stderr, nothing, module=module)
    ending, told = os.pipe()
    request = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": os.getcwd(), "module": module}).encode()
    assert len(request) < _LONGEST
    origin = _origin()
    with origin.turn:
        socket.send_fds(origin.connection, [request], [stdin.fileno(), stdout.fileno(), stderr.fileno(), told])
        os.close(told)
        pid = origin.connection.recv(64)
    assert pid, "the process that idp is forked from is gone"
    return Process(int(pid), ending, [module, *arguments])


def run(
    arguments: Sequence[str], env: Mapping[str, str], stdin: bytes = b"", *, module: str = "idp", timeout: float = 60
) -> tuple[int, bytes, bytes]:
    """Run `python -m MODULE ARGUMENTS`: its exit code, standard output and standard error."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = start(arguments, env, out, err, given, module=module)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


class _Origin:
    """The process that has imported everything, and the connection to it."""

    def __init__(self) -> None:
        self.connection, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        self.turn = threading.Lock()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(its.fileno())],
                env=os.environ | {_FIGURES: tempfile.mkdtemp(prefix="idp-figures-")},
                cwd=_CHECKOUT,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def close(self) -> None:
        """Nobody asks for more processes; then it ends."""
        self.connection.close()
        self._process.wait()


_begun: list[_Origin] = []
_beginning = threading.Lock()


def _origin() -> _Origin:
    """The one of this test process."""
    with _beginning:
        if not _begun:
            _begun.append(_Origin())
        return _begun[0]


def close() -> None:
    """Give back what was started, when no process is needed any more."""
    while _begun:
        _begun.pop().close()


# -- in the process that has imported everything ----------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork for each request, and tell each end, until nobody asks any more."""
    from importlib import import_module

    for name in ("idp.cli", "idp.serving", "idp.doctor", "idp.housekeeping", *(f"idp.{room}.cli" for room in _ROOMS)):
        import_module(name)
    _compile_templates()
    gc.collect()
    gc.freeze()
    endings: dict[int, int] = {}
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)  # noqa: FBT003 - the standard library's own way
    os.set_blocking(wakes, False)  # noqa: FBT003
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([control.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        _tell_endings(endings)
        if control.fileno() in ready:
            request, descriptors, _, _ = socket.recv_fds(control, _LONGEST, _DESCRIPTORS)
            if not request:
                return
            *streams, ending = descriptors
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (control.fileno(), woken, wakes, ending, *endings.values()):
                    os.close(each)
                _become(json.loads(request), streams)
            endings[pid] = ending
            for each in streams:
                os.close(each)
            control.send(str(pid).encode())


def _compile_templates() -> None:
    from flask import Flask

    from idp import resources
    from idp.runtime.web.pages import set_up_templates

    app = Flask("idp")
    set_up_templates(app, [str(resources.folder("templates"))])
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)


def _tell_endings(endings: dict[int, int]) -> None:
    for pid in list(endings):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with open(endings.pop(pid), "wb", buffering=0) as ending, contextlib.suppress(BrokenPipeError):
                ending.write(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, object], streams: Sequence[int]) -> None:
    """Be `idp` from here to the end."""
    code = 1
    try:
        os.setsid()
        for number, each in enumerate(streams):
            os.dup2(each, number)
            os.close(each)
        figures = os.environ[_FIGURES]
        os.environ.clear()
        os.environ.update({_FIGURES: figures, **dict(request["env"])})  # type: ignore[call-overload]
        os.chdir(str(request["cwd"]))
        tempfile.tempdir = None
        sys.argv = [str(request["module"]), *request["arguments"]]  # type: ignore[misc]
        try:
            runpy.run_module(str(request["module"]), run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        threading._shutdown()  # type: ignore[attr-defined]  # what an interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
