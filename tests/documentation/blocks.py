"""The code blocks of the documentation, so that what people copy is what is tested."""

import re
from pathlib import Path

from tests.house.code import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page that people read."""
    return [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts)]


def blocks(page: str, language: str = "python", below: str = "") -> list[str]:
    """The blocks of a language, of one section if it is named."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if below:
        text = re.split(r"^## ", text.partition(f"## {below}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [code for name, code in _BLOCK.findall(text) if name == language]


def block(page: str, below: str, language: str = "python") -> str:
    """The one block of a section."""
    found = blocks(page, language, below)
    assert len(found) == 1, f"{page}, {below}: {len(found)} blocks of {language}"
    return found[0]
