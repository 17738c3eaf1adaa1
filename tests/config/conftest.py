"""Settings are read in an empty folder and a clean environment, so that only what a test says counts."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, without a setting in the environment."""
    for name in list(os.environ):
        if name.upper().startswith("IDP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
