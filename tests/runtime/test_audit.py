"""The log: it shows no variable and no raw character of a stranger's, and whoever writes to it never fails because of it."""

import errno
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from idp.runtime import audit, traces
from idp.runtime.console import Refused, draw, emit
from idp.runtime.printing import escaped, json_escaped, replaced

SECRET = "correct-horse-battery-staple"
FORMATS = ("console", "json")
#: C0, DEL, C1, bidirectional controls, zero-width characters, line and paragraph separators, a private one, a lone surrogate.
CONTROLS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ue000\U000e0001",
    "\ud800",
]
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J" + "".join(CONTROLS) + " end"


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    """What a test configures is undone."""
    before, stream = structlog.get_config(), audit._sink.stream
    yield
    structlog.configure(**before)
    audit._sink.stream = stream
    audit._sink.settle()


def is_printable(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.fixture(params=FORMATS)
def log_format(request: pytest.FixtureRequest) -> str:
    audit.configure(request.param, "info")
    return request.param


def deep(password: str, levels: int = 3) -> None:
    """A frame whose variables are secrets."""
    form = {"password": password, "list": [password]}
    if levels:
        deep(form["password"], levels - 1)
    raise RuntimeError("boom")


# -- what is in a line ----------------------------------------------------------------------------------------------------


def test_a_traceback_shows_where_and_what_and_no_variable(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        deep(SECRET)
    except RuntimeError as error:
        audit.fail("request.failed", error, path="/login")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "test_audit.py" in said
    assert "in deep" in said
    assert "RuntimeError: boom" in said


def test_a_traceback_is_without_variables_however_structlog_is_asked_for_it(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        deep(SECRET)
    except RuntimeError as error:
        structlog.get_logger().exception("other.failed")
        structlog.get_logger().error("other.failed", exc_info=error)
        structlog.get_logger().error("other.failed", exc_info=(type(error), error, error.__traceback__))
    said = capsys.readouterr().err
    assert said.count("RuntimeError: boom") == 3
    assert SECRET not in said


def test_before_anything_is_configured_no_variable_is_shown_either() -> None:
    code = (
        "from idp.runtime import audit\n"
        f"def inner(password):\n  raise RuntimeError('boom')\n"
        f"try:\n  inner({SECRET!r})\nexcept RuntimeError as error:\n  audit.fail('a.b', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "RuntimeError: boom" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SECRET),
        ValueError(f"invalid literal: {SECRET!r}"),
        RuntimeError(f"duplicate key\nDETAIL:  Key (hash)=({SECRET}) already exists."),
        UnicodeDecodeError("utf-8", SECRET.encode(), 1, 2, SECRET),
        ExceptionGroup(f"several of {SECRET}", [ValueError(SECRET), KeyError(SECRET)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_request_brought_is_hidden_in_what_an_error_says(
    log_format: str, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            raise error from cause
    except Exception as caught:
        audit.fail("request.failed", caught, hidden={SECRET})
    said = capsys.readouterr().err
    assert SECRET not in said
    assert type(error).__name__ in said
    assert "direct cause" in said


def test_the_second_line_of_an_errors_text_is_not_shown() -> None:
    """PostgreSQL's DETAIL quotes the row."""
    assert "hash" not in traces.of(RuntimeError("duplicate key\nDETAIL: Key (hash)=(x)"))


def test_an_error_that_cannot_say_what_it_is_is_told_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    assert traces.of(Mute()).endswith("(its text cannot be read: RuntimeError)")


def test_a_recursion_without_end_and_a_circle_of_causes_stay_short() -> None:
    def around(n: int) -> int:
        return around(n + 1)

    try:
        around(0)
    except RecursionError as error:
        assert len(traces.of(error).splitlines()) < 200
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert traces.of(one).count("ValueError") == 2


def test_nothing_of_a_strangers_reaches_the_terminal_raw(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    audit.warn("signals.refused_by_receiver", error=HOSTILE, client_id="bare\x1bname", signal_id="\u202e")
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        audit.fail("request.failed", error, path="/\x1b[2J")
    said = capsys.readouterr().err
    assert is_printable(said)
    assert "red" in said


def test_a_value_can_forge_no_line_and_no_field(capsys: pytest.CaptureFixture[str]) -> None:
    audit.configure("console", "info")
    audit.record("token.issued", client_id="x\n2026-01-01 [info] session.ended sid=1", note="a sid=2", other="b")
    (line,) = capsys.readouterr().err.splitlines()
    assert "note='a sid=2' other=b" in line


def test_a_json_line_is_read_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    audit.configure("json", "info")
    text = HOSTILE.replace("\ud800", "") + "\U0001f600"
    audit.warn("signals.refused_by_receiver", error=text)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["error"] == text


def test_every_character_that_is_not_printable_is_replaced_or_escaped() -> None:
    others = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "CZ" and code != 0x20]
    text = "".join(others)
    for harmless in (replaced(text), escaped(text), json_escaped(text.replace("\n", ""))):
        assert harmless.isprintable()


@pytest.mark.parametrize("as_json", [False, True])
def test_no_table_and_no_sentence_of_a_command_shows_it_raw(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    emit({"client_name": HOSTILE, "nested": {"error": [HOSTILE]}}, as_json=as_json)
    emit([{"last_error": HOSTILE}], as_json=as_json)
    Refused(HOSTILE).show()
    said = capsys.readouterr()
    assert is_printable(said.out)
    assert is_printable(said.err)


def test_json_of_a_command_is_read_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"client_name": HOSTILE.replace("\ud800", "") + "\U0001f600 é"}
    emit(value, as_json=True)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert "é" in shown


# -- what becomes of a log that cannot be written ---------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that fails as disks and pipes do."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EIO, "broken"),
        BrokenPipeError(errno.EPIPE, "gone"),
        ValueError("I/O operation on closed file"),
        RuntimeError("whatever"),
    ],
    ids=str,
)
def test_a_log_that_cannot_be_written_raises_nothing_and_says_later_what_is_missing(
    log_format: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stream = Broken(error)
    monkeypatch.setattr(sys, "stderr", stream)
    audit.record("token.issued")
    audit.record_each("delivery.delivered", [{}, {}])
    audit.warn("delivery.died")
    audit.fail("request.failed", RuntimeError())
    stream.error = None
    audit.record("token.issued")
    said = stream.getvalue()
    assert said.count("token.issued") == 1
    assert said.count("log.lines_lost") == 1
    assert ('"count": 5' if log_format == "json" else "count=5") in said


@pytest.mark.parametrize("how", ["full", "closed", "none", "reader gone"])
def test_a_real_standard_error_that_takes_nothing_raises_nothing(
    log_format: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    streams = {
        "full": lambda: open("/dev/full", "w"),
        "closed": lambda: open(os.devnull, "w"),
        "none": lambda: None,
        "reader gone": lambda: os.fdopen(os.dup(writing), "w"),
    }
    stream = streams[how]()
    if how == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    audit.configure("console", "info")
    for _ in range(3):
        audit.record("token.issued")
        audit.fail("request.failed", RuntimeError())
    assert audit._sink.lost == 6
    if stream is not None:
        stream.close()
    os.close(writing)


def test_a_field_that_cannot_be_shown_raises_nothing_and_the_event_is_told(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError(SECRET)

    audit.record("token.issued", client=Mute())
    said = capsys.readouterr().err
    assert "token.issued" in said
    assert "RuntimeError" in said
    assert SECRET not in said


def test_figures_that_cannot_be_counted_raise_nothing_and_the_line_says_so(
    log_format: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_event: str) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(audit, "_counter", fail)
    audit.record("token.issued")
    said = capsys.readouterr().err
    assert "token.issued" in said
    assert "uncounted" in said


def test_a_line_that_was_cut_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = os.write, tmp_path / "log"
    with path.open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        audit.configure("json", "info")
        calls = iter([10, None])

        def cut(descriptor: int, data: bytes) -> int:
            size = next(calls, -1)
            if size is None:
                raise OSError(errno.ENOSPC, "full")
            return write(descriptor, data if size < 0 else data[:size])

        monkeypatch.setattr(os, "write", cut)
        audit.record("token.issued")
        audit.record("session.ended")
    torn, *whole = path.read_text().splitlines()
    assert len(torn) == 10
    assert [json.loads(line)["event"] for line in whole] == ["session.ended", "log.lines_lost"]


# -- what is said past the log ----------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, logging, sys, threading
from idp.runtime import audit
audit.configure({log_format!r}, "info")
audit.catch_all()
SECRET = {secret!r}

def inner(password):
    raise RuntimeError("boom " + {quoted})

def in_a_thread():
    inner(SECRET)

thread = threading.Thread(target=in_a_thread, name="lonely")
thread.start()
thread.join()

class Unraisable:
    def __del__(self):
        inner(SECRET)

Unraisable()

async def forgotten():
    async def failing():
        inner(SECRET)
    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    del task

asyncio.run(forgotten())
import gc; gc.collect()
logging.getLogger("some.library").warning("cannot read %s", SECRET)
logging.getLogger("some.library").error("%d", SECRET)
try:
    inner(SECRET)
except RuntimeError:
    logging.getLogger("some.library").exception("it failed")
inner(SECRET)
"""


@pytest.mark.parametrize("log_format", FORMATS)
def test_nothing_that_python_prints_by_itself_shows_a_variable(log_format: str) -> None:
    code = PROGRAM.format(log_format=log_format, secret=SECRET, quoted="'!'")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert SECRET not in said
    for event in ("process.failed", "process.thread_failed", "process.unraisable", "process.complaint"):
        assert event in said, event
    assert "Task exception was never retrieved" in said
    assert "lonely" in said
    if log_format == "json":
        assert all(json.loads(line)["event"] for line in said.splitlines())


def test_a_command_that_fails_unforeseen_says_so_without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\nfrom idp import cli\nfrom idp.config import Settings\n"
        "def load(cls):\n"
        f"  password = {SECRET!r}\n  raise RuntimeError('boom')\n"
        "Settings.load = classmethod(load)\n"
        "sys.argv = ['idp', 'user', 'list']\ncli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr
    assert SECRET not in done.stderr


def test_drawn_lines_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    draw([(("key \x1b[2J\u202e", "dim"),)])
    assert is_printable(capsys.readouterr().out)


def test_a_message_of_an_operators_error_is_harmless() -> None:
    from idp import cli
    from idp.config import OperatorError

    def fail(**_: object) -> None:
        raise OperatorError("bad \x1b[2J value")

    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch, runner.isolation() as (_, err, _):
        patch.setattr(cli, "cli", fail)
        patch.setattr(audit, "catch_all", lambda: None)
        with pytest.raises(SystemExit):
            cli.main()
        assert is_printable(err.getvalue().decode())
