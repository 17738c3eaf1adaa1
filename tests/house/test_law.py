"""The law of imports, over every module that there is: no list that somebody forgets to lengthen."""

from functools import cache

import grimp
import pytest

FRAMEWORKS = ("flask", "werkzeug", "flask_login", "flask_wtf")
#: Where Flask is met besides `endpoints` and `pages`: what their routes share, what a browser keeps, and the composition.
WEB = {"idp.accounts.browser", "idp.app"}
#: Who names SQLAlchemy without having a statement of a room: errors that commands tell, and the address of the database.
NO_STATEMENTS = {"idp.cli", "idp.config", "idp.doctor"}
#: By whose clock a lease is judged: an expression, and no statement.
OF_LEASES = {"idp.delivery.lease_clock"}
IMPURE = {*FRAMEWORKS, "sqlalchemy", "authlib", "httpx", "httptools"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("idp", include_external_packages=True, cache_dir=None)


def ours() -> list[str]:
    return sorted(module for module in graph().modules if module.split(".")[0] == "idp")


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def last(module: str) -> str:
    return module.rpartition(".")[2]


def is_private(module: str) -> bool:
    return last(module) in {"store", "models"} or last(module).endswith("_store")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_flask_is_met_where_routes_are_and_nowhere_else(framework: str) -> None:
    found = graph().find_modules_that_directly_import(framework)
    assert found
    elsewhere = {
        module
        for module in found
        if last(module) not in {"endpoints", "pages"} and not module.startswith("idp.runtime.web.") and module not in WEB
    }
    assert not elsewhere


def test_statements_and_tables_are_private_to_their_rooms() -> None:
    private = [module for module in ours() if is_private(module)]
    assert len(private) > 20
    strangers = {
        (module, importer)
        for module in private
        for importer in graph().find_modules_that_directly_import(module)
        if room(importer) != room(module) and importer != "idp.tables"
    }
    assert not strangers


def test_statements_stand_in_stores_alone() -> None:
    elsewhere = {
        module
        for module in graph().find_modules_that_directly_import("sqlalchemy")
        if not is_private(module) and room(module) != "idp.runtime" and module not in NO_STATEMENTS | OF_LEASES
    }
    assert not elsewhere


def test_rules_and_the_words_of_the_specifications_are_pure() -> None:
    pure = [module for module in ours() if last(module).endswith("rules") or room(module) == "idp.protocol"]
    assert len(pure) > 25
    impure = {
        (module, imported)
        for module in pure
        for imported in graph().find_modules_directly_imported_by(module)
        if imported in IMPURE
    }
    assert not impure


def test_no_module_imports_itself_in_the_end() -> None:
    """Not for types alone, either (Tarjan's strongly connected components, one by one)."""
    left = {module: set(graph().find_modules_directly_imported_by(module)) for module in ours()}
    while True:
        leaves = {module for module, imported in left.items() if not imported & left.keys()}
        if not leaves:
            break
        left = {module: imported for module, imported in left.items() if module not in leaves}
    assert not left, "what is left lies on a circle, or leads to one"


@pytest.mark.parametrize(
    "room_", sorted({room(module) for module in ours()} - {"idp", "idp.verifier", "idp.runtime", "idp.demo"})
)
def test_inside_a_room_nothing_climbs_up(room_: str) -> None:
    """Routes and commands are above all else of their room, and its tables below it."""
    above, below = {"endpoints", "pages", "cli", "worker"}, {"rules", "models"}
    for module in [each for each in ours() if room(each) == room_]:
        imported = {each for each in graph().find_modules_directly_imported_by(module) if room(each) == room_ and each != room_}
        if last(module) not in above:
            climbs = {each for each in imported if last(each) in above}
            assert not climbs, f"{module} imports {climbs}"
        if last(module) in below:
            climbs = {each for each in imported if last(each) in {"service", "store"} or last(each).endswith("_store")}
            assert not climbs, f"{module} imports {climbs}"
