"""Batches over HTTP, and what runs them: several gateways, stops and sweeps."""

import json
import os
import time

import pytest

from tests.unit.gateway.loop import run, until
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.openai_api.stored_calls import HELLO, batch_lines, batch_of, make_batch, until_batch, upload
from trident_client.completion import Delta


def test_a_batch_is_answered_and_its_files_are_its_tenants(tmp_path):
    """Each line as over HTTP: refused lines have the API's own error."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            lines = batch_lines(3) + batch_lines(1, model="unknown").replace("c0", "bad")
            file_id = (await upload(client, lines)).json()["id"]
            made = await client.post("/v1/batches", json=batch_of(file_id, metadata={"job": "night"}))
            batch = made.json()
            assert (batch["status"], batch["metadata"]) == ("validating", {"job": "night"})
            await client.delete(f"/v1/files/{file_id}")
            shown = await until_batch(client, batch["id"])
            assert shown["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
            content = await client.get(f"/v1/files/{shown['output_file_id']}/content")
            answers = [json.loads(line) for line in content.text.splitlines()]
            texts = [each["response"]["body"]["choices"][0]["message"]["content"] for each in answers]
            assert texts == ["Hello"] * 3
            failure = json.loads((await client.get(f"/v1/files/{shown['error_file_id']}/content")).text)
            assert failure["response"]["body"]["error"]["code"] == "model_not_found"
            assert {asked[2].priority for asked in gateway.upstreams.asked} == {5}
            assert (await client_of("b").get(f"/v1/files/{shown['output_file_id']}")).status_code == 404
            assert (await client.post(f"/v1/batches/{batch['id']}/cancel")).status_code == 400
            await until(lambda: not list((tmp_path / "batches").iterdir()))

    run(check())


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"completion_window": "1h"}, "completion_window"),
        ({"completion_window": None}, "completion_window"),
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"endpoint": 5}, "endpoint"),
        ({"metadata": {"a": "x" * 600}}, "metadata"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {"a": {}}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"priority": 1}, "priority"),
    ],
)
def test_a_batch_that_is_wrong_is_refused_by_its_field(tmp_path, changes, param):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            file_id = (await upload(client, batch_lines(1))).json()["id"]
            answer = await client.post("/v1/batches", json=batch_of(file_id, **changes))
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    run(check())


def test_only_a_file_for_batches_makes_a_batch(tmp_path):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            file_id = (await upload(client, batch_lines(1), "user_data")).json()["id"]
            answer = await client.post("/v1/batches", json=batch_of(file_id))
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input_file_id")

    run(check())


def test_lines_of_completions_are_asked_as_such(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            body = {"model": "chat", "prompt": "x"}
            line = {"custom_id": "c0", "method": "POST", "url": "/v1/completions", "body": body}
            file_id = (await upload(client, json.dumps(line))).json()["id"]
            batch = (await client.post("/v1/batches", json=batch_of(file_id, endpoint="/v1/completions"))).json()
            output_id = (await until_batch(client, batch["id"]))["output_file_id"]
            content = await client.get(f"/v1/files/{output_id}/content")
            body = content.json()["response"]["body"]
            assert (body["object"], body["choices"][0]["text"]) == ("text_completion", "Hello")
            assert gateway.upstreams.asked[0][1] == "x"

    run(check())


def test_a_gateway_that_stops_gives_its_batches_to_the_next_one(tmp_path):
    """The next one does not wait for a lease to run out, and asks for what had no answer only."""

    async def check():
        storage = {"batch_lease_s": 60, "batch_concurrency": 2}
        script = [HELLO, HELLO, HELLO, [Delta("par"), "hang"]]
        async with stored_app(tmp_path, storage=storage, main=script) as (gateway, client_of):
            batch = await make_batch(client_of("a"), 8)
            await until(lambda: len(gateway.upstreams.asked) >= 5)
        async with stored_app(tmp_path, storage=storage, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            shown = await until_batch(client, batch["id"])
            assert shown["request_counts"] == {"total": 8, "completed": 8, "failed": 0}
            assert len(gateway.upstreams.asked) == 5
            content = await client.get(f"/v1/files/{shown['output_file_id']}/content")
            assert [json.loads(line)["custom_id"] for line in content.text.splitlines()] == [f"c{n}" for n in range(8)]

    run(check())


def test_a_sweep_leaves_running_batches_alone_and_clears_what_crashes_left(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=[[Delta("par"), "hang"], HELLO]) as (gateway, client_of):
            client = client_of("a")
            batch = await make_batch(client)
            folders = {name: tmp_path / "batches" / f"batch_{name * 32}" for name in ("a", "b")}
            for folder in folders.values():
                folder.mkdir()
            (tmp_path / "files" / "file-old.part").write_text("half")
            old = time.time() - 2 * 86_400
            os.utime(folders["a"], (old, old))
            os.utime(tmp_path / "files" / "file-old.part", (old, old))
            await gateway.stored.sweep()
            assert {path.name for path in (tmp_path / "batches").iterdir()} == {batch["id"], folders["b"].name}
            assert [path.name for path in (tmp_path / "files").iterdir()] == [batch["input_file_id"]]
            await client.post(f"/v1/batches/{batch['id']}/cancel")
            await until_batch(client, batch["id"], "cancelled")

    run(check())


def test_two_gateways_on_one_database_ask_each_line_once(tmp_path):
    """While both live: one that is silent for its lease loses its batches, and what it was asking is asked again."""

    async def check():
        storage = {"batch_lease_s": 60}
        async with (
            stored_app(tmp_path, storage=storage, main=HELLO) as (one, client_of),
            stored_app(tmp_path, storage=storage, main=HELLO) as (two, client_of_two),
        ):
            batches = [await make_batch(client_of("a"), 10) for _ in range(3)]

            async def are_done():
                shown = [(await client_of_two("a").get(f"/v1/batches/{batch['id']}")).json() for batch in batches]
                return shown if {each["status"] for each in shown} == {"completed"} else None

            assert {each["request_counts"]["completed"] for each in await until(are_done)} == {10}
            assert len(one.upstreams.asked) + len(two.upstreams.asked) == 30

    run(check())
