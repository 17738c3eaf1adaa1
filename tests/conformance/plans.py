"""The test modules of the OpenID Foundation's conformance suite, by certification plan, as the suite lists them.

From `OIDCC*TestPlan.java` of openid/conformance-suite (5.2, early 2026). A module is run with every variant of its plan; a
form-post plan runs the modules of its sibling with `response_mode=form_post`.
"""

from dataclasses import dataclass

CODE, ID_TOKEN, ID_TOKEN_TOKEN = "code", "id_token", "id_token token"
CODE_ID_TOKEN, CODE_TOKEN, CODE_ID_TOKEN_TOKEN = "code id_token", "code token", "code id_token token"
HYBRID = (CODE_ID_TOKEN, CODE_TOKEN, CODE_ID_TOKEN_TOKEN)


@dataclass(frozen=True)
class Flow:
    """A variant that modules are run with. `auth` is how the client authenticates."""

    response_type: str
    form_post: bool = False
    auth: str = "client_secret_basic"

    def __str__(self) -> str:
        return "-".join([*self.response_type.split(), *(["form_post"] if self.form_post else [])])

    def gives(self, what: str) -> bool:
        """Whether `code`, `token` or `id_token` comes from the authorization endpoint."""
        return what in self.response_type.split()

    @property
    def tokens(self) -> bool:
        """Whether there is an access token at all."""
        return self.response_type != ID_TOKEN


_ALWAYS = (
    "oidcc-server",
    "oidcc-idtoken-signature",
    "oidcc-scope-profile",
    "oidcc-scope-email",
    "oidcc-scope-address",
    "oidcc-scope-phone",
    "oidcc-scope-all",
    "oidcc-ensure-other-scope-order-succeeds",
    "oidcc-display-page",
    "oidcc-display-popup",
    "oidcc-prompt-login",
    "oidcc-prompt-none-not-logged-in",
    "oidcc-prompt-none-logged-in",
    "oidcc-max-age-1",
    "oidcc-max-age-10000",
    "oidcc-ensure-request-with-unknown-parameter-succeeds",
    "oidcc-id-token-hint",
    "oidcc-login-hint",
    "oidcc-ui-locales",
    "oidcc-claims-locales",
    "oidcc-ensure-request-with-acr-values-succeeds",
    "oidcc-ensure-registered-redirect-uri",
    "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
    "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
    "oidcc-claims-essential",
    "oidcc-ensure-request-object-with-redirect-uri",
    "oidcc-response-type-missing",
)
_WITH_ACCESS_TOKEN = ("oidcc-userinfo-get", "oidcc-userinfo-post-header", "oidcc-userinfo-post-body")
_WITH_CODE = (
    *_WITH_ACCESS_TOKEN,
    "oidcc-codereuse",
    "oidcc-codereuse-30seconds",
    "oidcc-server-client-secret-post",
    "oidcc-refresh-token",
    "oidcc-ensure-request-with-valid-pkce-succeeds",
)
_BASIC = (
    *_ALWAYS,
    *_WITH_CODE,
    "oidcc-idtoken-unsigned",
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
    "oidcc-ensure-post-request-succeeds",
)
_IMPLICIT = (*_ALWAYS, *_WITH_ACCESS_TOKEN, "oidcc-ensure-request-without-nonce-fails")
_HYBRID = (
    *_ALWAYS,
    *_WITH_CODE,
    "oidcc-ensure-request-without-nonce-fails",
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
)
_DYNAMIC = (
    "oidcc-idtoken-rs256",
    "oidcc-idtoken-unsigned",
    "oidcc-userinfo-rs256",
    "oidcc-ensure-redirect-uri-in-authorization-request",
    "oidcc-redirect-uri-query-OK",
    "oidcc-redirect-uri-query-mismatch",
    "oidcc-redirect-uri-query-added",
    "oidcc-redirect-uri-regfrag",
    "oidcc-discovery-endpoint-verification",
    "oidcc-server",
    "oidcc-registration-logo-uri",
    "oidcc-registration-policy-uri",
    "oidcc-registration-tos-uri",
    "oidcc-registration-jwks-uri",
    "oidcc-registration-sector-uri",
    "oidcc-registration-sector-bad",
    "oidcc-server-rotate-keys",
    "oidcc-refresh-token-rp-key-rotation",
    "oidcc-request-uri-unsigned",
    "oidcc-request-uri-signed-rs256",
    "oidcc-ensure-request-object-with-redirect-uri",
    "oidcc-refresh-token",
    "oidcc-ensure-client-assertion-with-iss-aud-succeeds",
)
_RP_LOGOUT = (
    "oidcc-rp-initiated-logout-discovery-endpoint-verification",
    "oidcc-rp-initiated-logout",
    "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
    "oidcc-rp-initiated-logout-modified-id-token-hint",
    "oidcc-rp-initiated-logout-no-id-token-hint",
    "oidcc-rp-initiated-logout-no-params",
    "oidcc-rp-initiated-logout-no-post-logout-redirect-uri",
    "oidcc-rp-initiated-logout-no-state",
    "oidcc-rp-initiated-logout-only-state",
    "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
    "oidcc-rp-initiated-logout-bad-id-token-hint",
)
PLANS: dict[str, tuple[str, ...]] = {
    "Basic": _BASIC,
    "Config": ("oidcc-discovery-endpoint-verification",),
    "Dynamic": _DYNAMIC,
    "Form Post Basic": _BASIC,
    "Form Post Implicit": _IMPLICIT,
    "Form Post Hybrid": _HYBRID,
    "Implicit": _IMPLICIT,
    "Hybrid": _HYBRID,
    "3rd Party-Init": ("oidcc-3rd_party-init-login", "oidcc-3rd_party-init-login-nohttps"),
    "RP-Initiated Logout": _RP_LOGOUT,
    "Session Management": (
        "oidcc-session-management-discovery-endpoint-verification",
        "oidcc-session-management-rp-initiated-logout",
    ),
    "Front-Channel Logout": (
        "oidcc-frontchannel-logout-discovery-endpoint-verification",
        "oidcc-frontchannel-rp-initiated-logout",
    ),
    "Back-Channel Logout": (
        "oidcc-backchannel-logout-discovery-endpoint-verification",
        "oidcc-backchannel-rp-initiated-logout",
    ),
}
_FLOWS: dict[str, tuple[str, ...]] = {"Basic": (CODE,), "Implicit": (ID_TOKEN, ID_TOKEN_TOKEN), "Hybrid": HYBRID}
#: Which response types a module is for, where its plan has more of them.
_ONLY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_WITH_ACCESS_TOKEN, (CODE, ID_TOKEN_TOKEN, *HYBRID)),
    "oidcc-ensure-request-without-nonce-fails": (ID_TOKEN, ID_TOKEN_TOKEN, CODE_ID_TOKEN, CODE_ID_TOKEN_TOKEN),
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow": (CODE, CODE_TOKEN),
    "oidcc-ensure-request-with-valid-pkce-succeeds": (CODE, CODE_ID_TOKEN),
    "oidcc-ensure-other-scope-order-succeeds": (CODE, ID_TOKEN, ID_TOKEN_TOKEN, CODE_ID_TOKEN),
    "oidcc-response-type-missing": (CODE, ID_TOKEN_TOKEN, CODE_ID_TOKEN),
}


def modules() -> list[str]:
    """Every module, once."""
    return sorted({module for listed in PLANS.values() for module in listed})


def test_name(module: str) -> str:
    """What our test of a module is called."""
    return "test_" + module.lower().replace("-", "_")


def flows(module: str) -> list[Flow]:
    """The variants that the core plans run a module with; only the code flow where no core plan has it."""
    found = [
        Flow(response_type, form_post)
        for plan, listed in PLANS.items()
        for form_post, core in [(plan.startswith("Form Post "), plan.removeprefix("Form Post "))]
        if module in listed
        for response_type in _FLOWS.get(core, ())
        if response_type in _ONLY.get(module, (response_type,))
    ]
    return list(dict.fromkeys(found)) or [Flow(CODE)]
