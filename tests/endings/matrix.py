"""What ends by what: `docs/ending.md` holds the one table, and every cell of it is tried over HTTP.

The world in which it is tried: Alice is signed in at two browsers, `here` and `there`; Bob at one. At the app `one` she has
tokens from both, and offline access from `here`; at the app `two` from `here`. Bob has all that at both apps, too.
"""

from collections.abc import Mapping

from tests.house.code import ROOT

#: What can be alive or dead, and what it is.
THINGS: Mapping[str, str] = {
    "cookie here": "the cookie of this session",
    "cookie there": "the cookie of the person's other session",
    "code": "a code in flight",
    "access one here": "access tokens of an app in this session",
    "refresh one here": "its refresh token",
    "access two here": "access tokens of another app in this session",
    "refresh two here": "its refresh token, too",
    "access one there": "access tokens of the app in the other session",
    "refresh one there": "its refresh token there",
    "offline one": "offline access of the app",
    "app one here": "the person's session at the app",
    "app two here": "the person's session at the other app",
    "app one there": "the person's session at the app, in the other browser",
    "bob's cookie": "another person's cookie",
    "bob's access one": "another person's tokens of the app",
    "bob's offline one": "another person's offline access of the app",
    "bob's access two": "another person's tokens of the other app",
    "bob's apps": "another person's sessions at apps",
}

#: The columns of the page's table: each word that may stand in a cell, and the thing that it says is dead.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "browser here": {"cookie": "cookie here"},
    "code in flight": {"code": "code"},
    "app 1 here": {"access": "access one here", "refresh": "refresh one here", "session": "app one here"},
    "app 2 here": {"access": "access two here", "refresh": "refresh two here", "session": "app two here"},
    "browser there": {"cookie": "cookie there"},
    "app 1 there": {"access": "access one there", "refresh": "refresh one there", "session": "app one there"},
    "app 1 offline": {"tokens": "offline one"},
    "Bob at app 1": {"access": "bob's access one", "offline": "bob's offline one"},
    "Bob at app 2": {"access": "bob's access two"},
    "Bob's sessions": {"cookie": "bob's cookie", "apps": "bob's apps"},
}

_PAGE = ROOT / "docs" / "ending.md"


def _cell(column: str, cell: str) -> frozenset[str]:
    """The things of a column that a cell says are dead. `KeyError`: a word that the column does not have."""
    words = COLUMNS[column]
    if cell == "·":
        return frozenset()
    return frozenset(words.values() if cell == "ends" else (words[word] for word in cell.split(", ")))


def read(page: str) -> dict[str, frozenset[str]]:
    """The table of the page: what each cause kills. `ValueError`: a row or a column is missing, or there is one too many."""
    lines = [line for line in page.partition("## The matrix")[2].splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, *rows = (row for row in table if len(row) > 2 and row[0] != "---")
    if header != ["cause", *COLUMNS]:
        raise ValueError(header)
    dead: dict[str, frozenset[str]] = {}
    for cause, *cells in rows:
        if cause in dead or len(cells) != len(COLUMNS):
            raise ValueError(cause)
        dead[cause] = frozenset().union(*(_cell(column, cell) for column, cell in zip(COLUMNS, cells, strict=True)))
    return dead


#: What each cause kills, as the page says. All else survives.
DEAD: Mapping[str, frozenset[str]] = read(_PAGE.read_text(encoding="utf-8"))


#: By which name in the table an access token of the world stands.
ACCESS: Mapping[str, str] = {
    "one here": "access one here",
    "two here": "access two here",
    "one there": "access one there",
    "offline one": "offline one",
    "bob's one": "bob's access one",
    "bob's two": "bob's access two",
    "bob's offline one": "bob's offline one",
}


def status(trigger: str, thing: str) -> int:
    """What the status list says of it then: valid, invalid, or that the provider must be asked."""
    if trigger == "`idp key revoke`":
        return 0  # a family goes on with another key: that one is dead stands in the JWKS
    if thing not in DEAD[trigger]:
        return 0
    return 3 if trigger == "`/revoke` of an access token" else 1
