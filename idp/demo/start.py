"""Bringing a demo up: free ports, the provider, and beside it what the apps need to start."""

import errno
import os
import socket
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from idp import resources
from idp.config import Settings
from idp.demo import registration
from idp.demo.options import APPS, PROVIDER, DemoError, DemoOptions
from idp.demo.stage import Stage

START_SECONDS = 30
_POLL_SECONDS = 0.05


def check_ports(options: DemoOptions) -> None:
    """Raise DemoError for a port that is taken, on whichever address `localhost` may mean."""
    for name, port in options.ports.items():
        option = "--port" if name == PROVIDER else f"--{name}-port"
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                with socket.socket(family) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            except PermissionError:
                message = f"Port {port} is not open to you: choose one above 1023 with {option}."
                raise DemoError(message) from None
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    message = f"Port {port} is taken: stop what listens there, or choose another with {option}."
                    raise DemoError(message) from None  # anything else: there is no IPv6 here


def everything(stage: Stage, options: DemoOptions) -> dict[str, str]:
    """Start all and return when all are ready: the apps' names by `client_id`. Raises DemoError."""
    examples = _examples()
    settings = _settings(options, (options.data_dir or stage.scratch / "state").resolve())
    inherited = _inherited_environment()
    settings.make_data_dir()
    # In the folder of its state: an idp.toml of the folder that we were called from is not meant for the demo.
    stage.start(PROVIDER, "idp", "serve", environment=inherited | _environment(settings), folder=settings.data_dir)
    clients = registration.clients(options, settings, examples)
    for app, client in clients.items():
        told = {"ISSUER": options.address(PROVIDER), "PORT": str(options.ports[app])}
        told |= {"CLIENT_ID": client["client_id"], "CLIENT_SECRET": client["client_secret"]}
        stage.start(app, f"{examples.name}.{app}", environment=inherited | told, folder=examples.parent)
    _wait(stage, options)
    return {client["client_id"]: app for app, client in clients.items()}


def _examples() -> Path:
    try:
        return resources.folder("examples")
    except FileNotFoundError:
        message = "The demo's apps stand in examples/, which no wheel carries: clone the repository and run `make demo` there."
        raise DemoError(message) from None


class _DemoSettings(Settings):
    """Settings that the demo alone decides, whatever stands in the environment or in an idp.toml."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What `_settings` hands in, and nothing else."""
        return (init_settings,)


def _settings(options: DemoOptions, data_dir: Path) -> Settings:
    bind = f"127.0.0.1:{options.port}"
    return _DemoSettings(issuer=options.address(PROVIDER), bind=bind, data_dir=data_dir, log_format="json", workers=1)


def _environment(settings: Settings) -> dict[str, str]:
    return {f"IDP_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}


def _inherited_environment() -> dict[str, str]:
    """Our own, without the settings of another deployment, and without a proxy between neighbours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IDP_")}
    return kept | dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1")


def _wait(stage: Stage, options: DemoOptions) -> None:
    """Return when the apps have said that they started, and the provider answers that it is ready."""
    waiting = dict.fromkeys([PROVIDER, *APPS], "has not started")
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            problems = "; ".join(f"{name} {problem}" for name, problem in waiting.items())
            message = f"Not ready within {START_SECONDS} seconds: {problems}."
            raise DemoError(message)
        said = stage.next(_POLL_SECONDS)
        if said is not None and said[1]["event"] == "started":
            waiting.pop(said[0], None)
        if PROVIDER in waiting:
            problem = _problem(options.port)
            if problem is None:
                del waiting[PROVIDER]
            else:
                waiting[PROVIDER] = problem


def _problem(port: int) -> str | None:
    """Why the provider is not ready, None when it is."""
    asking = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        asking.request("GET", "/health/ready")
        answer = asking.getresponse()
        said = answer.read(500).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return "does not answer"
    finally:
        asking.close()
    return None if answer.status == HTTPStatus.OK else f"answers {said}"
