"""Which batches run when there are more than may run at once: no tenant stands in another's way."""

from tests.unit.gateway.loop import run, until
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.openai_api.stored_calls import HELLO, make_batch, until_batch
from trident.gateway.identity import Limits
from trident_client.completion import Delta

HANGS = [Delta("par"), "hang"]


def test_a_batch_that_waits_for_its_tenants_limits_makes_room_for_another(tmp_path):
    """It keeps what it has, and is taken up again when its tenant may ask again."""

    async def check():
        limits = {"slow": Limits(requests_per_minute=1)}
        async with stored_app(tmp_path, storage={"max_batches": 1}, limits=limits, main=HELLO) as (_, client_of):
            slow, quick = client_of("slow"), client_of("quick")
            waiting = await make_batch(slow, 3)
            for _ in range(2):
                shown = await until_batch(quick, (await make_batch(quick, 2))["id"])
                assert shown["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
            shown = (await slow.get(f"/v1/batches/{waiting['id']}")).json()
            assert (shown["status"], shown["request_counts"]["failed"]) == ("in_progress", 0)

    run(check())


def test_a_tenant_with_every_place_gives_one_to_the_next_tenant(tmp_path):
    """The batch that it stops for that is finished later, and each line is answered once."""

    async def check():
        scripts = {"main": [HANGS, HANGS, HELLO]}
        async with stored_app(tmp_path, storage={"max_batches": 2}, **scripts) as (gateway, client_of):
            greedy, modest = client_of("greedy"), client_of("modest")
            first, second = await make_batch(greedy, 1), await make_batch(greedy, 1)
            await until(lambda: len(gateway.upstreams.asked) == 2)
            await until_batch(modest, (await make_batch(modest, 1))["id"])
            shown = await until_batch(greedy, second["id"])
            assert shown["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
            assert sorted(stream.is_closed for stream in gateway.upstreams.streams[:2]) == [False, True]
            assert (await greedy.get(f"/v1/batches/{first['id']}")).json()["status"] == "in_progress"

    run(check())


def test_a_tenant_has_so_many_batches_that_have_not_ended(tmp_path):
    """Each keeps its input, also of files that were deleted; one that is refused keeps nothing."""

    async def check():
        async with stored_app(tmp_path, storage={"max_tenant_batches": 1}, main=HANGS) as (_, client_of):
            client = client_of("a")
            batch = await make_batch(client, 1)
            refusal = await make_batch(client, 1)
            assert refusal["error"]["code"] == "rate_limit_exceeded"
            assert [folder.name for folder in (tmp_path / "batches").iterdir()] == [batch["id"]]
            assert (await make_batch(client_of("b"), 1))["status"] == "validating"
            await client.post(f"/v1/batches/{batch['id']}/cancel")
            await until_batch(client, batch["id"], "cancelled")
            assert (await make_batch(client, 1))["status"] == "validating"

    run(check())
