"""The exam: a provider with every profile switched on, sat by `Rp`, which registers itself as the suite does.

A test that takes `flow` is run with every variant that the suite's plans run its module with. The plans of the default
response modes sit it on SQLite, those of form post on PostgreSQL, the rest on both.
"""

import json
from collections.abc import Iterator

import pytest

from tests.conformance import plans
from tests.conformance.rp import Rp
from tests.conformance.suite import CLAIMS, PEOPLE, SETTINGS
from tests.support.browsing import Person
from tests.support.serving import Providers, RunningProvider

_MODULES = {plans.test_name(module): module for module in plans.modules()}
_DATABASES = ("sqlite", "postgresql")
_Variant = tuple[str, plans.Flow]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Variants: (database, flow)."""
    if "variant" not in metafunc.fixturenames:
        return
    if "flow" in metafunc.function.__code__.co_varnames and metafunc.function.__name__ in _MODULES:
        flows = plans.flows(_MODULES[metafunc.function.__name__])
        variants = [(_DATABASES[flow.form_post], flow) for flow in flows]
        names = [str(flow) for flow in flows]
    else:
        variants = [(database, plans.Flow(plans.CODE)) for database in _DATABASES]
        names = list(_DATABASES)
    metafunc.parametrize("variant", variants, ids=names)


@pytest.fixture(scope="session")
def _known() -> set[str]:
    """The databases on which everything is known of Alice."""
    return set()


@pytest.fixture
def op(variant: _Variant, providers: Providers, _known: set[str]) -> RunningProvider:
    """The provider under examination, one for each database, with Alice of whom everything is known, and Bob."""
    database = variant[0]
    running = providers("examined", database, SETTINGS, PEOPLE)
    if database not in _known:
        running.cli("user", "set", "alice", "--claims-file", "-", stdin=json.dumps(CLAIMS))
        _known.add(database)
    return running


@pytest.fixture
def flow(variant: _Variant) -> plans.Flow:
    """The variant of the plan."""
    return variant[1]


@pytest.fixture
def person(op: RunningProvider) -> Iterator[Person]:
    """Somebody whose browser has never been here."""
    somebody = Person(op.issuer)
    yield somebody
    somebody.http.close()


@pytest.fixture
def rp(op: RunningProvider, flow: plans.Flow) -> Iterator[Rp]:
    """A relying party that registered itself, and takes its registration back as the suite does."""
    party = Rp.register(op, flow)
    yield party
    party.unregister()
