"""The manual's own examples, run as they stand there."""

import re
import time

from idp.verifier import MalformedTokenError
from tests.house.code import ROOT
from tests.verifier.feeding import SID, claims


class Knowing:
    """Stands for a verifier: the one good token is the `sid` itself."""

    def verify(self, token: str) -> dict[str, object]:
        if token != SID:
            raise MalformedTokenError("not a token")
        return claims(sid=token, expires=time.time() + 300)


def example(page: str, chapter: str) -> str:
    """The Python of a chapter."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(chapter)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, chapter
    return "\n".join(re.findall(r"```python\n(.*?)```", found[1], re.DOTALL))
