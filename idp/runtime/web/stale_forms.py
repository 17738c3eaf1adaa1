"""Forms that do not fit the session of now: asked once more, or said not to have been done, and never dropped in silence.

A form is of another sign-in when its CSRF token is: the person signed out and in again in another tab, or somebody else
did. What it asks for may be what they want still, but only they can say so, on a page that names them.
"""

from dataclasses import dataclass

from flask import Response, flash

from idp.protocol.parameters import Parameters
from idp.runtime.web.pages import PageError, Way, render, see_other

NOT_DONE = "You are not signed in at this browser any more, so nothing was ended or changed. Sign in to go on."
#: True of a form from another tab, and of one that another site forged.
NOT_OF_NOW = "Nothing was done yet: that page is not from your current session. You may have signed in or out in another tab."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked once more: the question, the words on the button, and the fields that go with it."""

    sentence: str
    words: str
    fields: tuple[str, ...] = ()


def ask_again(question: Question, action: str, form: Parameters, username: str) -> Response:
    """Ask whoever is signed in now, by name, for what the form asked that goes to `action`."""
    fields = {name: form[name] for name in question.fields if name in form}
    shown = {"question": question, "action": action, "fields": fields, "username": username, "notice": NOT_OF_NOW}
    return render("ask_again.html", 400, **shown)


def not_signed_in(login_url: str) -> Response:
    """A form of somebody whose session ended meanwhile: they are told that nothing was done, and may sign in."""
    flash(NOT_DONE)
    return see_other(login_url)


def nobody(login_url: str) -> PageError:
    """The same for a form of another sign-in, which any site may have forged."""
    way = Way("sign-in-again", login_url, "Sign in again")
    return PageError("invalid_request", "The CSRF token is missing or does not match.", NOT_DONE, ways=[way])
