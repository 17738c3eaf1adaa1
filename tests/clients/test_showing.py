"""A client on a page: in the person's language, and its logo only where the operator lets it be loaded."""

import pytest

from idp.clients.rules import Client
from idp.clients.showing import show

CLIENT = Client(
    "id",
    None,
    0.0,
    client_name="Notes",
    logo_uri="https://app.example/logo.png",
    localised={"client_name#de": "Notizen", "client_name#pt-BR": "Anotações", "tos_uri#fr": "https://app.example/fr"},
)


@pytest.mark.parametrize(
    ("languages", "name"),
    [
        ([], "Notes"),
        (["de"], "Notizen"),
        (["DE-at"], "Notizen"),
        (["de-CH-1996", "pt-br"], "Notizen"),
        (["pt-br", "de"], "Anotações"),
        (["pt"], "Notes"),
        (["ja", "de"], "Notizen"),
        (["*"], "Notes"),
        (["d" * 200, "", "-", "de-"], "Notizen"),
    ],
)
def test_the_name_is_in_the_first_language_that_there_is(languages: list[str], name: str) -> None:
    assert show(CLIENT, languages, logos=True).client_name == name


def test_what_there_is_in_one_language_only_is_shown_in_that() -> None:
    assert show(CLIENT, ["de"], logos=True).tos_uri == "https://app.example/fr"


def test_a_logo_is_shown_only_where_that_is_switched_on() -> None:
    assert show(CLIENT, [], logos=True).logo_uri == "https://app.example/logo.png"
    assert show(CLIENT, [], logos=False).logo_uri is None
