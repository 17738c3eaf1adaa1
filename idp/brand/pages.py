"""`/brand.css` and `/brand/logo`: what a deployment's pages load besides our own style, from this origin alone."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Response, abort, request

from idp.brand import rules
from idp.config import Settings, SettingsError

MAXIMUM_LOGO = 262_144
_MAX_AGE = 300
_NOT_FOUND = 404
#: The kinds of pictures by how their files begin; an SVG is told by its name, and is looked at as a picture alone.
_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
#: A picture that somebody opens by itself runs nothing and loads nothing, whatever stands in it.
_INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True, slots=True)
class Brand:
    """What the templates are told: whether there is a logo, and where help and the privacy policy are."""

    has_logo: bool
    support_url: str | None
    privacy_url: str | None


def brand_of(settings: Settings) -> Brand:
    """The brand of a deployment."""
    return Brand(settings.brand_logo is not None, settings.brand_support_url or None, settings.brand_privacy_url or None)


def pages(settings: Settings) -> Blueprint:
    """The style and the logo. Raises SettingsError for a logo that is no picture."""
    routes = Blueprint("brand", __name__)
    style = BrandFile(_style(settings).encode(), "text/css; charset=utf-8")
    logo = None if settings.brand_logo is None else _logo(settings.brand_logo)

    @routes.get("/brand.css")
    def stylesheet() -> Response:
        return style.response()

    @routes.get("/brand/logo")
    def picture() -> Response:
        return abort(_NOT_FOUND) if logo is None else logo.response()

    return routes


def _style(settings: Settings) -> str:
    accent = rules.colour(settings.brand_accent) if settings.brand_accent else None
    background = rules.colour(settings.brand_background) if settings.brand_background else None
    return rules.stylesheet(accent, background)


@dataclass(frozen=True, slots=True)
class BrandFile:
    """A file as it is sent; browsers keep it for five minutes."""

    body: bytes
    content_type: str

    def response(self) -> Response:
        """The answer."""
        response = Response(self.body, content_type=self.content_type)
        response.headers.update({"Cache-Control": f"public, max-age={_MAX_AGE}", "Content-Security-Policy": _INERT})
        response.set_etag(sha256(self.body).hexdigest()[:32])
        response.make_conditional(request)
        return response


def _logo(path: Path) -> BrandFile:
    try:
        body = path.read_bytes()
    except OSError as error:
        message = f"IDP_BRAND_LOGO {path} cannot be read ({error.strerror}): name a picture that idp may read."
        raise SettingsError(message) from None
    kind = next((kind for begin, kind in _KINDS.items() if body.startswith(begin)), None)
    if kind is None and path.suffix.lower() == ".svg" and b"<svg" in body:
        kind = "image/svg+xml"
    if kind is None or len(body) > MAXIMUM_LOGO:
        message = f"IDP_BRAND_LOGO {path} must be an SVG, PNG, JPEG or GIF of at most {MAXIMUM_LOGO // 1024} KiB."
        raise SettingsError(message)
    return BrandFile(body, kind)
