"""Headers that stand on every response, error pages too (OWASP ASVS 5 V3.4)."""

from collections.abc import Iterable

STRICT = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
HSTS = ("Strict-Transport-Security", "max-age=31536000")


def content_security_policy(
    *,
    form_targets: Iterable[str] = (),
    forms_lead_anywhere: bool = False,
    scripts: bool = False,
    frames: Iterable[str] = (),
    framed: bool = False,
    images: Iterable[str] = (),
) -> str:
    """A policy that lets a page load our own style and images and nothing else.

    Forms end here, at a page of ours that moves on, or at `form_targets`, the schemes of native apps: Chromium applies
    `form-action` to the redirects that follow a form. `forms_lead_anywhere` is for the page that posts to the app itself: its
    form was written by us alone, and browsers would hold to `form-action` what the app redirects to. `scripts` lets our own
    files run.
    `frames` are origins of apps whose pages it may load in frames, to sign them out. `framed` is for the one page that
    apps may load in a frame of theirs. `images` are origins of logos.
    """
    loaded = [" ".join(["frame-src", *sorted(set(frames))])] if frames else []
    return "; ".join(
        [
            *loaded,
            "default-src 'none'",
            "style-src 'self'",
            " ".join(["img-src 'self'", *images]),
            "script-src 'self'" if scripts else "script-src 'none'",
            *([] if forms_lead_anywhere else [" ".join(["form-action 'self'", *form_targets])]),
            "frame-ancestors *" if framed else "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
    )
