"""nginx: a real proxy, from the system's packages. Where it is missing, its tests are left out, and that is said."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support import http

MISSING = "nginx is missing: install it (Debian, Ubuntu: `apt-get install nginx-light`)"
START_SECONDS = 20

_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
{server}
    }}
}}
"""


def program() -> str | None:
    """The program, if nginx is installed; on Debian it is on the path of root alone."""
    return shutil.which("nginx") or next(
        (place for place in ("/usr/sbin/nginx", "/usr/local/sbin/nginx") if Path(place).exists()), None
    )


@contextmanager
def serving(folder: Path, port: int, server: str) -> Iterator[str]:
    """nginx on `port`, with `server` as what stands in its `server` block; its origin."""
    configuration = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # its workers write into this folder
    configuration.write_text(_CONFIGURATION.format(user=user, folder=folder, port=port, server=server))
    with (folder / "stderr.log").open("wb") as said:
        process = subprocess.Popen(
            [str(program()), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    try:
        _wait(process, port, folder)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "stderr.log").read_text()
        try:
            http.get(f"http://127.0.0.1:{port}/", timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nginx did not answer within {START_SECONDS} s:\n{(folder / 'error.log').read_text()}")
