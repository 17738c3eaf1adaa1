"""A client on a page: in the person's language, and its logo only where the operator lets it be loaded."""

import pytest

from idp.clients.display import locales, show
from idp.clients.rules import Client

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


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ()),
        ("", ()),
        ("de", ("de",)),
        ("fr-CA en de-CH", ("fr-ca", "de-ch")),
        ("de  DE de", ("de",)),
        ("en se", ()),
        ("anything at all, \n<script>", ()),
        (" ".join(f"de-x{number}" for number in range(1000)), tuple(f"de-x{number}" for number in range(8))),
    ],
)
def test_of_the_languages_that_an_app_asks_for_those_are_kept_that_it_registered(
    sent: str | None, kept: tuple[str, ...]
) -> None:
    assert locales(sent, CLIENT) == kept
