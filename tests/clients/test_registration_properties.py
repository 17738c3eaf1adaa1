"""Whatever JSON is sent to `/register`: a registration that can be read again as it was answered, or the spec's refusal."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idp.clients.metadata_fields import MEMBERS
from tests.clients.registering import METADATA, Own, World
from tests.clients.test_metadata import JSON, PLAUSIBLE

NAMES = st.sampled_from(
    [*MEMBERS, "client_name#de", "logo_uri#x-y", "client_id", "client_secret", "software_statement"]
) | st.text(max_size=8)
VALUES = JSON | PLAUSIBLE | st.lists(PLAUSIBLE, max_size=3)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.dictionaries(NAMES, VALUES, max_size=4))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_metadata_is_registered_or_refused_in_the_specs_words(
    world: World, members: dict[str, object], changes: dict[str, object]
) -> None:
    answer = world.send("POST", "/register", None, json.dumps(METADATA | members))
    if answer.status_code != 201:
        assert answer.status_code == 400
        assert answer.json["error"] in {"invalid_client_metadata", "invalid_redirect_uri", "unapproved_software_statement"}
        assert answer.json["error_description"].isascii()
        return
    own = Own(world, answer.json)
    assert own.get().json == {name: value for name, value in own.answer.items() if not name.startswith("client_secret")}
    changed = own.put(**changes)
    assert changed.status_code in {200, 400}
    if changed.status_code == 200:
        own.answer |= changed.json
    assert own.get().status_code == 200
    assert own.delete().status_code == 204
