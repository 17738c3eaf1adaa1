"""Forms that another site sent are not for our pages, whatever token they carry (docs/threats.md 26, OWASP "CSRF Prevention").

What browsers say of themselves decides: no page can change `Sec-Fetch-Site`, nor `Origin`.
"""

from flask import current_app, request

from idp.runtime import audit
from idp.runtime.web.pages import PageError, People

#: Where the application's configuration says which origin the issuer has.
OUR_ORIGIN = "OUR_ORIGIN"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: `Sec-Fetch-Site` of a form that was sent from a page of ours, or by the person alone (Fetch Metadata §2.3).
_OUR_SITE = {"same-origin", "none"}
_MAXIMUM_SHOWN = 200
_SENTENCE = "This form was sent to us by another website, so nothing was done. If you want to go on, open this page here."


def refuse_foreign_forms() -> None:
    """Before each request, and before its CSRF token is looked at: a page that others may post to decides for itself."""
    people = current_app.blueprints.get(request.blueprint or "")
    if isinstance(people, People) and not people.open_to_others:
        refuse_foreign_form()


def refuse_foreign_form() -> None:
    """Refuse a form that another site sent. Raises PageError.

    Browsers that send no `Sec-Fetch-Site` send `Origin`. `null` there is no other site's word: browsers send it for our own
    forms, since our pages withhold the referrer (Fetch, "append a request Origin header"), and so do privacy settings. Then
    the token alone counts, as it does for what is no browser and sends neither.
    """
    if request.method in _SAFE_METHODS:
        return
    site, sender = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = current_app.config.get(OUR_ORIGIN)
    if site in _OUR_SITE or (site is None and sender in {None, "null", ours}):
        return
    said = f"Origin: {sender}" if sender is not None else f"Sec-Fetch-Site: {site}"
    audit.warn("page.foreign_form", path=request.path, origin=_shown(sender), site=_shown(site))
    description = f"The form was sent by another site ({_shown(said)}), and this one is {ours}."
    raise PageError("invalid_request", description, _SENTENCE)


def _shown(text: str | None) -> str | None:
    """What a header said, as far as it is printed anywhere."""
    return None if text is None else "".join(char if char.isprintable() else "?" for char in text[:_MAXIMUM_SHOWN])
