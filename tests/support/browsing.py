"""A person at a browser, as far as HTTP goes: cookies, forms and redirects, without JavaScript."""

import weakref
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx

from tests.support import http


@dataclass
class Form:
    """A form on a page: where it goes, its fields, and its buttons by id."""

    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.main: str | None = None
        self.forms: list[Form] = []
        self.texts: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self._open_ids: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "main":
            self.main = given.get("id")
        if tag == "a" and given.get("id"):
            self.links[given["id"]] = given.get("href", "")
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        if tag == "input" and self.forms and given.get("name"):
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        if tag == "button" and self.forms and given.get("id"):
            self.forms[-1].buttons[given["id"]] = (given.get("name", ""), given.get("value", ""))
        if tag not in {"input", "meta", "link", "img", "br", "hr"}:
            self._open_ids.append((tag, given.get("id")))

    def handle_endtag(self, tag: str) -> None:
        while self._open_ids:
            if self._open_ids.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        for _, name in self._open_ids:
            if name:
                self.texts[name] = self.texts.get(name, "") + data


@dataclass
class Page:
    """An answer, read as a page. `main` says which it is."""

    response: httpx.Response
    main: str | None
    forms: list[Form]
    texts: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, response: httpx.Response) -> "Page":
        reader = _Reader()
        if "text/html" in response.headers.get("Content-Type", ""):
            reader.feed(response.text)
        return cls(response, reader.main, reader.forms, reader.texts, reader.links)

    @property
    def url(self) -> str:
        return str(self.response.url)

    @property
    def query(self) -> dict[str, str]:
        """The query of the address that this page has: what a relying party's redirect URI received."""
        return dict(parse_qsl(urlsplit(self.url).query))

    @property
    def fragment(self) -> dict[str, str]:
        """What stands behind the `#` of this address: the answer of the implicit and hybrid flows, read by a script there."""
        return dict(parse_qsl(urlsplit(self.url).fragment))


class Person:
    """Somebody with a browser. Redirects are followed until they leave `home`; the page that was left for is returned."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.http = http.client(timeout=20, follow_redirects=False)
        weakref.finalize(self, self.http.close)

    def open(self, url: str) -> Page:
        """Go to an address."""
        return self._follow(self.http.get(urljoin(self.home + "/", url)))

    def submit(self, page: Page, button: str = "", **values: str) -> Page:
        """Fill in and send the form with this button (the first form without one)."""
        form = next((form for form in page.forms if button in form.buttons), None) if button else page.forms[0]
        assert form is not None, f"no button {button!r} on {page.main} ({page.url}): {page.response.text[:2000]}"
        name, value = form.buttons.get(button, ("", ""))
        fields = form.fields | values | ({name: value} if name else {})
        return self._follow(self.http.post(urljoin(page.url, form.action), data=fields))

    def sign_in(self, page: Page, username: str, password: str) -> Page:
        """Fill in the sign-in page."""
        assert page.main == "login-page", f"{page.main} at {page.url}: {page.response.text[:2000]}"
        return self.submit(page, "login-submit", username=username, password=password)

    def _follow(self, response: httpx.Response) -> Page:
        while response.is_redirect:
            target = urljoin(str(response.url), response.headers["Location"])
            if not target.startswith(self.home + "/"):
                return self._leave(target)
            response = self.http.get(target)
        page = Page.of(response)
        return self._leave(urljoin(page.url, page.links["continue"])) if page.main == "moving-on-page" else page

    def _leave(self, target: str) -> Page:
        """Go on from the page that moves on by itself in a browser."""
        if target.startswith(self.home + "/"):
            return self._follow(self.http.get(target))
        return Page(httpx.Response(0, request=httpx.Request("GET", target)), None, [], {})
