"""`prompt` in all combinations: the table of docs/conformance.md, each of its cells asked for over HTTP."""

import re
from dataclasses import dataclass
from itertools import combinations, product

import pytest

from tests.conformance.rp import Rp
from tests.conformance.suite import check_error
from tests.house.code import ROOT
from tests.support.browsing import Page, Person

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

VALUES = ("none", "login", "consent", "select_account")
PROMPTS = [" ".join(each) for count in range(len(VALUES) + 1) for each in combinations(VALUES, count)]
SIGNED_IN = ("nobody", "somebody")
HINTS = ("", "their own", "another's")
MAX_AGES = {"": None, "not passed": "10000", "passed": "0"}
SCOPES = {"yes": "openid", "no": "openid email"}
Cell = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Row:
    """A line of the table. `cell` is prompt, signed in, id_token_hint, max_age, allowed before; empty fits everything."""

    cell: Cell
    answer: str

    def fits(self, cell: Cell) -> bool:
        (prompt, *others), (asked, *states) = self.cell, cell
        together = "none" in asked.split() and len(asked.split()) > 1
        holds = together if prompt == "none and another" else not prompt or prompt in asked.split()
        return holds and all(other in {"", state} for other, state in zip(others, states, strict=True))


def table() -> list[Row]:
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    section = text.split("## What `prompt` is answered with")[1].split("\n## ")[0]
    lines = [[part.strip(" `") for part in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    return [Row(tuple(cell), answer) for *cell, answer in lines[2:]]  # type: ignore[arg-type]


ROWS = table()


def expected(cell: Cell) -> Row:
    return next(row for row in ROWS if row.fits(cell))


def cells(prompt: str) -> list[Cell]:
    return list(product((prompt,), SIGNED_IN, HINTS, MAX_AGES, SCOPES))


def answer_of(rp: Rp, page: Page) -> str:
    """A page of ours by its id, an error by its name, or that the code came."""
    if page.main is not None:
        return page.main
    answer = rp.answered(page)
    if "error" not in answer:
        return "the code"
    check_error(answer, answer["error"])
    return answer["error"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_cell_of_the_table(rp: Rp, person: Person, prompt: str) -> None:
    stranger, bob = Person(rp.op.issuer), Person(rp.op.issuer)
    hints = {"": None, "their own": rp.sign_in(person).id_token, "another's": rp.sign_in(bob, "bob").id_token}
    people = {"nobody": stranger, "somebody": person}
    for cell in cells(prompt):
        _, signed_in, hint, max_age, allowed = cell
        asked = {"id_token_hint": hints[hint], "max_age": MAX_AGES[max_age], "scope": SCOPES[allowed]}
        page = rp.ask(people[signed_in], prompt=prompt or None, **asked)
        assert answer_of(rp, page) == expected(cell).answer, cell


def test_no_row_of_the_table_is_for_nothing() -> None:
    assert {expected(cell) for prompt in PROMPTS for cell in cells(prompt)} == set(ROWS)


def test_a_person_who_selects_no_account_goes_back_with_account_selection_required(rp: Rp, person: Person) -> None:
    rp.sign_in(person)
    page = rp.ask(person, prompt="consent select_account")
    check_error(rp.answered(person.submit(page, "select-cancel")), "account_selection_required")
    assert rp.finish(rp.ask(person, prompt="none")).claims


def test_a_person_who_selects_an_account_and_does_not_allow_it_goes_back_with_access_denied(rp: Rp, person: Person) -> None:
    rp.sign_in(person)
    page = person.submit(rp.ask(person, prompt="consent select_account"), "select-continue")
    check_error(rp.answered(person.submit(page, "consent-deny")), "access_denied")
    page = person.sign_in(rp.ask(person, prompt="login consent select_account"), "alice", "correct horse battery staple")
    check_error(rp.answered(person.submit(page, "consent-deny")), "access_denied")


def test_a_person_who_signs_in_as_another_than_the_hint_goes_back_with_login_required(rp: Rp, person: Person) -> None:
    hint, other = rp.sign_in(person).id_token, Person(rp.op.issuer)
    check_error(rp.answered(rp.through(other, rp.ask(other, id_token_hint=hint), "bob")), "login_required")


@pytest.mark.parametrize("hint", ["alice", "bob", "bob@example.org", "nobody", "nobody@example.org", "a" * 256])
def test_a_login_hint_changes_nothing_for_who_is_signed_in_whether_it_names_an_account_or_not(
    rp: Rp, person: Person, hint: str
) -> None:
    first = rp.sign_in(person)
    assert rp.finish(rp.ask(person, prompt="none", login_hint=hint)).claims["sub"] == first.claims["sub"]
    check_error(rp.answered(rp.ask(Person(rp.op.issuer), prompt="none", login_hint=hint)), "login_required")


def test_every_error_that_stands_in_the_table_is_one_of_core() -> None:
    errors = {row.answer for row in ROWS if re.fullmatch("[a-z_]+", row.answer)}
    assert errors == {"invalid_request", "login_required", "consent_required"}
