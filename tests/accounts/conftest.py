"""The accounts room on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts.databases import DIALECTS, fresh_database
from tests.accounts.site import Site


@pytest.fixture(params=DIALECTS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site with an empty database."""
    with fresh_database(request, tmp_path) as url:
        built = Site.build(url)
        yield built
        built.close()
