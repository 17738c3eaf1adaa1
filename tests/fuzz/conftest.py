"""A running provider on each database, for requests that nobody in their right mind would send."""

from collections.abc import Iterator

import pytest

from tests.attacks.conftest import provider
from tests.fuzz.seeds import Request, good_requests
from tests.support.serving import RunningProvider

__all__ = ["provider"]


@pytest.fixture
def seeds(provider: RunningProvider) -> Iterator[list[Request]]:
    """Requests that work right now, of a person who has just signed in."""
    yield good_requests(provider)
