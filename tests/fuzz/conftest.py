"""A running provider on each database, for requests that nobody in their right mind would send."""

import pytest

from tests.attacks.conftest import browsers_are_closed, provider
from tests.fuzz.seeds import Request, good_requests
from tests.support.serving import RunningProvider

__all__ = ["browsers_are_closed", "provider"]


@pytest.fixture
def seeds(provider: RunningProvider) -> list[Request]:
    """Requests that work right now, of a person who has just signed in."""
    return good_requests(provider)
