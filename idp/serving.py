"""`idp serve` and `idp worker`: real processes under granian, each with its key schedule and delivery worker inside."""

import gc
import multiprocessing
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from idp import app, files
from idp.config import OperatorError, Settings
from idp.discovery.metrics import Listener
from idp.provider import Provider, build
from idp.runtime import audit
from idp.runtime.inbound.documents import DocumentsFirst
from idp.runtime.inbound.file_limits import Descriptors
from idp.runtime.inbound.forwarding import NO_PROXY_NAMED
from idp.runtime.inbound.listening import Place
from idp.runtime.inbound.rsgi import RsgiApplication
from idp.runtime.supervision import SLACK, Heartbeat, Probe

_BACKLOG = 2048
#: granian can hang when it is stopped right after its start.
_KILL_TIMEOUT = 5
_HEADER_TIMEOUT_MS = 10_000
#: A request makes some thousand objects, nearly all of which go without being looked for.
_COLLECTIONS = (10_000, 20, 20)
#: Nobody asks a worker whether it is ready: it looks itself whether all its threads go on, and logs it.
_LOOK_SECONDS = 5.0
_END = {signal.SIGTERM, signal.SIGINT}
#: What granian's parent process has handlers for.
_TOLD = {*_END, signal.SIGHUP}


def application() -> RsgiApplication:
    """What each worker process runs: the web application, its background threads started."""
    try:
        settings = Settings.load()
        audit.configure(settings.log_format, settings.log_level)
        audit.catch_all()
        provider = build(settings)
        web = app.create_app(provider)
        # A process that is told to end before the gateway listens would leave its lanes held: it is told a moment later.
        signal.pthread_sigmask(signal.SIG_BLOCK, _END)
        provider.start()
    except OperatorError as error:  # it is started again by the process above
        audit.warn("server.process_cannot_start", note=str(error))
        sys.exit(1)
    _leave_in_peace()
    first = settings.issuer_path.split("/")[1:2]
    if first and first[0] in {rule.rule.split("/")[1] for rule in web.url_map.iter_rules()}:
        note = f"the issuer's path {settings.issuer_path} begins like an address of ours: the proxy must pass it on"
        audit.warn("server.issuer_path", note=note)
    front = web.wsgi_app
    if not isinstance(front, DocumentsFirst):
        message = "something stands before the front"
        raise TypeError(message)
    return _gateway(provider, front)


def _gateway(provider: Provider, front: DocumentsFirst) -> RsgiApplication:
    """What granian calls. Its loop and its threads are watched as what runs beside the requests is."""
    polls = app.poll_lane(provider)
    loop, requests, followers = Heartbeat("idp-loop", SLACK), Heartbeat("idp-request", SLACK), Heartbeat("idp-followers", SLACK)
    gateway = RsgiApplication(
        front,
        maximum_body=app.MAXIMUM_BODY,
        is_quick=front.is_ready,
        lanes=[app.health_lane(provider), polls],
        stop=provider.stop,
        locate=front.located,
        secure=provider.settings.secure,
        each_second=[
            loop.beat,
            Probe(lambda: gateway.turns.submit(requests.beat)),
            Probe(lambda: polls.pool.submit(followers.beat)),
            provider.watch.look,
        ],
    )
    for each in (loop, requests, followers):
        each.beat()
        provider.watch.add(each)
    return gateway


def _leave_in_peace() -> None:
    """What is there now stays until the end. Looking it through for garbage would stop every thread for 0.1 s, now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


def serve(settings: Settings, folder: str) -> None:
    """Serve until SIGTERM or SIGINT. `folder` is that of the figures of all processes."""
    audit.catch_all()
    prepare(settings)
    place = Place("IDP_BIND", settings.bind)
    address = place.see_that_it_is_free()
    descriptors = Descriptors(settings.signals_followers, settings.delivery_concurrency)
    descriptors.allow()
    multiprocessing.set_start_method(_start_method(settings), force=True)
    _watch_forks()
    server = Server(
        target="idp.serving:application",
        factory=True,
        address=address,
        port=place.port,
        interface=Interfaces.RSGI,
        workers=settings.workers,
        backlog=_BACKLOG,
        # Connections, those too on which nothing is asked. One more is accepted when another one ends.
        backpressure=descriptors.connections,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        http=HTTPModes.http1,
        websockets=False,
        # An access log would hold codes and states; what matters is in the audit.
        log_access=False,
        log_enabled=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_KILL_TIMEOUT,
    )
    audit.record("server.starting", issuer=settings.issuer, bind=settings.bind, workers=settings.workers)
    if descriptors.connections < descriptors.wanted:
        audit.warn("server.few_descriptors", connections=descriptors.connections, wanted=descriptors.wanted)
    for path in filter(files.is_open_to_others, settings.private_files):
        audit.warn("server.readable_by_others", path=str(path), mend=f"chmod 600 {path}")
    if not settings.secure:
        audit.warn(
            "server.insecure",
            note="the issuer is plain http: loopback only, cookies without Secure, for development",
        )
    if settings.secure and not settings.trusted_proxies:
        audit.warn("server.no_proxy_named", note=": ".join(NO_PROXY_NAMED))
    with _metrics(settings, folder):
        server.serve()


def _start_method(settings: Settings) -> Literal["fork", "spawn"]:
    """How worker processes begin (docs/adr/0011).

    A forked one has all that is imported, so it is there in half the time, and shares its memory. But it has only one of its
    parent's threads: not those that serve `/metrics`, nor those that an HSM's library may have started.
    """
    is_alone = not settings.metrics_bind and settings.keys_pkcs11_module is None
    return "fork" if sys.platform == "linux" and is_alone else "spawn"


def _watch_forks() -> None:
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals, after_in_child=_take_signals_anew)


def _hold_signals() -> None:
    """A signal that comes to a process while it is being forked waits until the process can take it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD)


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)


def _take_signals_anew() -> None:
    """A signal ends the new process: the parent's handlers, which it has, would only take note of it."""
    for number in _TOLD:
        signal.signal(number, signal.SIG_DFL)
    _take_signals()


def _metrics(settings: Settings, folder: str) -> AbstractContextManager[object]:
    """`/metrics` at an address of its own, where the operator set one: for all workers together."""
    if not settings.metrics_bind:
        return nullcontext()
    return Listener(settings.metrics_bind, settings.metrics_token.get_secret_value(), folder)


def prepare(settings: Settings) -> None:
    """What must be there before the first request: the schema (on the embedded database) and the keys.

    Every service is built: what stops one stops the start here, with one sentence, and not in process after process.
    """
    provider = build(settings)
    try:
        provider.prepare()
        provider.keys.open()
        provider.keys.keep_up()
    finally:
        provider.keys.close()
        provider.database.dispose()


def work(settings: Settings) -> None:
    """Deliver until SIGTERM or SIGINT, without serving requests."""
    audit.catch_all()
    prepare(settings)
    provider = build(settings)
    # Waited for, not handled: a handler that came due just as the wait for it began would run when that had ended.
    # Blocked before any thread begins, so that none of them takes one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    provider.start()
    _leave_in_peace()
    audit.record("worker.started")
    while signal.sigtimedwait(_END, _LOOK_SECONDS) is None:
        provider.watch.look()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)  # a second one ends it at once
    provider.stop()
