"""Response types and response modes (OAuth 2.0 Multiple Response Type Encoding Practices 1.0, OIDC Core §3)."""

CODE, ID_TOKEN, TOKEN = "code", "id_token", "token"
#: Everything that can be asked for; which of it is switched on is a setting.
RESPONSE_TYPES = ("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token")
RESPONSE_MODES = ("query", "fragment", "form_post")


def canonical(response_type: str) -> str:
    """The one spelling of a response type: the order of its values does not matter (§3)."""
    return " ".join(sorted(response_type.split()))


def gives(response_type: str, value: str) -> bool:
    """Whether `value` is among the values of a response type."""
    return value in response_type.split()


def is_front_channel(response_type: str) -> bool:
    """Whether tokens come from the authorization endpoint itself: the implicit and the hybrid flows."""
    return gives(response_type, ID_TOKEN) or gives(response_type, TOKEN)


def default_mode(response_type: str) -> str:
    """How an answer is sent when the request does not say: tokens never in a query, which servers log (§5)."""
    return "fragment" if is_front_channel(response_type) else "query"
