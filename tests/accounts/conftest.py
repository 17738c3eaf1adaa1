"""The accounts room on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts.site import Site
from tests.support.databases import DIALECTS, fresh


@pytest.fixture(params=DIALECTS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site with an empty database."""
    built = Site.build(fresh(request, tmp_path))
    yield built
    built.close()
