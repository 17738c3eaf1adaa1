"""What ends by what: the one table. `docs/ending.md` shows it, and every cell of it is tried over HTTP.

The world in which it is tried: Alice is signed in at two browsers, `here` and `there`; Bob at one. At the app `one` she has
tokens from both, and offline access from `here`; at the app `two` from `here`. Bob has all that at both apps, too.
"""

from collections.abc import Mapping

#: What can be alive or dead, and what stands for it in the documentation.
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

_SESSION = {
    "cookie here",
    "code",
    "access one here",
    "refresh one here",
    "access two here",
    "refresh two here",
    "app one here",
    "app two here",
}
_OTHER_SESSION = {"cookie there", "access one there", "refresh one there", "app one there"}
_FAMILY = {"access one here", "refresh one here"}
_ACCESS = {*_FAMILY, "code", "access one there", "refresh one there", "offline one", "app one here", "app one there"}

#: What each trigger kills. All else survives.
DEAD: Mapping[str, frozenset[str]] = {
    trigger: frozenset(things)
    for trigger, things in {
        "signing out at the provider": _SESSION,
        "RP-initiated logout": _SESSION,
        "another person signing in at this browser": _SESSION,
        "`idp session end`": _SESSION,
        "idle timeout": _SESSION,
        "absolute timeout": _SESSION,
        "account page: sign out there": _OTHER_SESSION,
        "account page: sign out others": _OTHER_SESSION,
        "account page: change the password": _OTHER_SESSION,
        "account page: sign out everywhere": _SESSION | _OTHER_SESSION,
        "`idp user sign-out`": _SESSION | _OTHER_SESSION,
        "`idp user set-password`": _SESSION | _OTHER_SESSION,
        "`idp user disable`": _SESSION | _OTHER_SESSION | {"offline one"},
        "`idp user remove`": _SESSION | _OTHER_SESSION | {"offline one"},
        "account page: withdraw access": _ACCESS,
        "`idp client remove`": _ACCESS - {"app one here", "app one there"} | {"bob's access one", "bob's offline one"},
        "refresh token used twice": _FAMILY,
        "code used twice": _FAMILY,
        "`/revoke` of a refresh token": _FAMILY,
        "`/revoke` of an access token": {"access one here"},
        "`idp key revoke`": {"access one here", "access two here", "access one there", "bob's access one", "bob's access two"},
    }.items()
}


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


def as_markdown() -> str:
    """The table as the documentation shows it: what dies, by trigger, and that nothing else does."""
    rows = [
        f"| {trigger} | {'; '.join(THINGS[thing] for thing in THINGS if thing in dead)} |" for trigger, dead in DEAD.items()
    ]
    return "\n".join(["| by what | what dies; all else survives |", "| --- | --- |", *rows])
