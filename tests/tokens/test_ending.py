"""Many families end at once, and what else ends them at the same moment."""

from concurrent.futures import ThreadPoolExecutor

from idp.clients.rules import Client
from idp.tokens import ending
from tests.delivery.receivers import eventually
from tests.support.databases import waits_for_a_lock
from tests.tokens.conftest import World


def test_the_end_of_a_client_and_of_an_account_never_wait_for_each_other(world: World, client: Client) -> None:
    first, second = sorted(world.sign_in() for _ in range(2))
    lasting, _ = world.allow(client, first, offline=True)  # in the table they lie in another order than they end
    families = [lasting, *(world.allow(client, sid)[0] for sid in (second, first))]

    def end_client() -> int:
        with world.database.writing() as tx:
            of_client = ending.closing("client_removed", client_id=client.client_id)
            return len(ending.mark_some(tx, of_client, len(families) + 1))

    with ThreadPoolExecutor(1) as other:
        with world.database.writing() as tx:
            assert ending.end_of_sessions(tx, [first], "signed_out_everywhere") == 1
            removed = other.submit(end_client)
            eventually(lambda: waits_for_a_lock(world.database))
            assert ending.end_of_sessions(tx, [second], "signed_out_everywhere") == 1
            assert ending.mark_some(tx, ending.closing("account_disabled", subject="alice"), 10) == [lasting.family_id]
        assert removed.result(20) == 0
    reasons = [world.stored(family).end_reason for family in families]
    assert reasons == ["account_disabled", "signed_out_everywhere", "signed_out_everywhere"]
