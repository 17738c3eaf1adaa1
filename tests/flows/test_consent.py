"""The consent page says what would really be given: the values, and where there are none, that there are none."""

import json
import re
import secrets

from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"


def asked(provider: RunningProvider, person: Person, scope: str, **extra: str) -> Page:
    name = f"jane-{secrets.token_hex(4)}"
    accounts = provider.services.accounts
    with provider.services.database.writing() as tx:
        accounts.add(tx, accounts.prepare(name, PASSWORD, email=f"{name}@example.org", claims={"nickname": "<b>Janie</b>"}))
    app = RelyingParty.register(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(scope=scope, **extra)), name, PASSWORD)
    assert page.main == "consent-page"
    return page


def given(page: Page) -> dict[str, str]:
    """What each scope would give, in the page's words."""
    lines = re.findall(r'<li data-scope="([^"]+)">(.*?)</li>', page.response.text, re.DOTALL)
    texts = {scope: re.search(r'<span class="given">(.*?)</span>', inner, re.DOTALL) for scope, inner in lines}
    return {scope: "" if text is None else re.sub(r"</?bdi[^>]*>", "", text[1]) for scope, text in texts.items()}


def test_each_scope_shows_what_the_app_would_learn(provider: RunningProvider, person: Person) -> None:
    page = asked(provider, person, "openid profile email phone offline_access")
    told = given(page)
    assert re.fullmatch(r"jane-[0-9a-f]+@example\.org \(not verified\)", told["email"])
    assert re.fullmatch(r"jane-[0-9a-f]+, &lt;b&gt;Janie&lt;/b&gt;", told["profile"])
    assert told["phone"] == "Nothing of it is known here."
    assert told["openid"] == told["offline_access"] == ""


def test_a_claim_that_is_asked_for_by_name_shows_itself_alone(provider: RunningProvider, person: Person) -> None:
    wanted = json.dumps({"userinfo": {"nickname": None}})
    told = given(asked(provider, person, "openid", claims=wanted))
    assert told["profile"] == "&lt;b&gt;Janie&lt;/b&gt;"
