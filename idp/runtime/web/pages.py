"""The edge of every page for people: rendering, errors that a person understands, and how a form ends outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Blueprint, Flask, Response, g, make_response, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader
from werkzeug.datastructures import Headers

from idp.protocol.parameters import MalformedParametersError, Parameters
from idp.protocol.uris import form_target, origin
from idp.runtime.clock import ago, in_iso, in_words, time_of_day
from idp.runtime.web.compiled_templates import COMPILED
from idp.runtime.web.headers import NO_STORE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SEE_OTHER = 303


#: The browser's own secret in its signed cookie. It names the browser and nobody at it: signing in and out keep it.
BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Way:
    """A way on from a page. `id` is the link's; `name` is what an app calls itself, and is shown behind the words."""

    id: str
    address: str
    words: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """What developers see of an address that was refused: the one that came, and those that the client registered.

    Neither is a secret: the first came with the request, and the others are where browsers are sent in the open. What
    protects them is that they are compared to the letter (RFC 9700 §2.1), not that nobody knows them.
    """

    parameter: str
    came: str
    registered: Sequence[str]
    MOST: ClassVar[int] = 10
    _LONGEST: ClassVar[int] = 500

    @property
    def visible(self) -> str:
        """What came, with whatever cannot be seen or looks like something else written out: such is why it was refused."""
        shown = self.came[: self._LONGEST].encode("unicode_escape").decode("ascii")
        return shown if len(self.came) <= self._LONGEST else f"{shown}…"

    def fields(self) -> dict[str, str]:
        """As fields of a log line."""
        return {self.parameter: self.visible, "registered": " ".join(self.registered[: self.MOST])}


class People(Blueprint):
    """Pages for people. `open_to_others` is set where other sites post to them, as specifications say."""

    open_to_others = False


class PageError(Exception):
    """A refusal shown to a person: the protocol's code, a description for developers, and a sentence for everybody.

    `ways` lead on from there, besides the one to the account, which every error page has.
    """

    def __init__(
        self,
        error: str,
        description: str,
        sentence: str,
        status: int = 400,
        *,
        ways: Sequence[Way] = (),
        address: RefusedAddress | None = None,
    ) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description
        self.sentence = sentence
        self.status = status
        self.ways = ways
        self.address = address


def set_up_templates(app: Flask, folders: Sequence[str], **names: object) -> None:
    """Where the pages of `app` come from, first of all from the first of `folders`, and what each of them may use: `names`."""
    app.jinja_env.autoescape = True
    app.jinja_env.bytecode_cache = COMPILED
    app.jinja_loader = ChoiceLoader([FileSystemLoader(folder) for folder in folders])
    app.jinja_env.filters |= {"ago": ago, "in_iso": in_iso, "in_words": in_words, "time_of_day": time_of_day}
    app.jinja_env.globals |= names


def blueprint(name: str, *, open_to_others: bool = False) -> People:
    """A blueprint for people: its answers are never stored, its errors are pages."""
    people = People(f"{name}_pages", __name__)
    people.open_to_others = open_to_others
    people.register_error_handler(PageError, error_page)

    @people.after_request
    def finish(response: Response) -> Response:
        response.headers.update(NO_STORE)
        return response

    return people


def render(template: str, status: int = 200, **context: Any) -> Response:
    """A page."""
    response = make_response(render_template(template, **context), status)
    response.headers.update(NO_STORE)
    return response


def error_page(error: PageError) -> Response:
    """An error as a page."""
    shown = {"error": error.error, "description": error.description, "sentence": error.sentence}
    return render("error.html", error.status, code=error.status, ways=error.ways, address=error.address, **shown)


class _SeeOther(Response):
    """A redirect to an address as it is: Werkzeug would rewrite what the relying party registered to the letter."""

    def __init__(self, location: str) -> None:
        super().__init__(status=SEE_OTHER)
        self._exact = location

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """The headers, with the exact address."""
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self._exact
        return headers


def see_other(location: str) -> Response:
    """Go on by GET. Never 307: that would post the password again (RFC 9700 §4.12)."""
    return _SeeOther(location)


def is_browser() -> bool:
    """Whether whoever asks shows pages: a browser names HTML when it goes somewhere, a program takes anything."""
    return any(kind == "text/html" and quality > 0 for kind, quality in request.accept_mimetypes)


def moves_on_to(uri: str) -> bool:
    """Whether a form of ours ends at a page that moves on to `uri` by itself, and not with a redirect there.

    Chromium and WebKit hold every redirect that follows a form to its page's `form-action` (CSP 3 §6.4.1), those of the app
    too: where its callback redirects to another origin or to `app://`, no list of ours could name it. A page ends that
    chain, and what it moves on to is a navigation of its own. A program follows no page, and knows no such policy. A native
    app's own scheme is no server that could redirect on, and systems open the app only in answer to what the person did.
    """
    return is_browser() and origin(uri) is not None


def moving_on(address: str, **context: Any) -> Response:
    """The page that ends a form of ours, and moves on to `address`."""
    return render("moving_on.html", address=address, **context)


def forms_may_lead_to(uri: str | None) -> None:
    """Let the forms of this answer's page end at `uri` where it is a native app's: see `moves_on_to` for all others."""
    g.form_targets = () if uri is None or origin(uri) is not None else (form_target(uri),)


def forms_lead_anywhere() -> None:
    """For the one page whose only form posts to the app itself (form_post): whatever the app redirects to then, it may."""
    g.forms_lead_anywhere = True


def scripts_may_run() -> None:
    """Let our own script files run on this answer's page."""
    g.scripts = True


def images_may_come_from(uri: str | None) -> None:
    """Let this answer's page load images from the origin of `uri`, besides our own."""
    g.images = () if uri is None else (form_target(uri),)


def frames_may_show(uris: Sequence[str]) -> None:
    """Let this answer's page load these in frames: exactly their origins."""
    g.frames = tuple(form_target(uri) for uri in uris)


def parameters() -> Parameters:
    """The parameters of this request: the form of a POST, else the query. Raises PageError."""
    encoded = request.get_data() if request.method == "POST" else request.query_string
    try:
        return Parameters.parse(encoded)
    except MalformedParametersError as error:
        sentence = "The link or form that brought you here is damaged. Go back to the app and try again."
        raise PageError("invalid_request", f"The request cannot be read: {error}.", sentence) from None
