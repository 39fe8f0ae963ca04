"""Responses, files and batches over HTTP: what a tenant leaves is its own, whoever else knows its name."""

import asyncio
import json
import os
import re
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from tests.unit.gateway.openai_api.stored_app import run, stored_app, until
from tests.unit.gateway.scripted_upstream import words
from trident.errors import EngineError
from trident.gateway.database import Database, metadata
from trident_client.completion import Delta

HELLO = words("Hel", "lo")
MISSING = "0a" * 16


def batch_lines(number, **body):
    body = {"model": "chat", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}], **body}
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(number)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


async def upload(client, content="text", purpose="batch", name="in.jsonl", **fields):
    return await client.post("/v1/files", data={"purpose": purpose, **fields}, files={"file": (name, content)})


async def ask(client, **body):
    return await client.post("/v1/responses", json={"model": "chat", "input": "hi", "max_output_tokens": 8, **body})


async def make_batch(client, number=2):
    file_id = (await upload(client, batch_lines(number))).json()["id"]
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return (await client.post("/v1/batches", json=asked)).json()


def events_in(text):
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def test_nobody_sees_what_another_tenant_has_left(tmp_path):
    """A foreign id and one that nobody has get the same answer, but for the id, wherever an id can be given."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            owner, other = client_of("owner"), client_of("other")
            response = (await ask(owner)).json()
            batch = await make_batch(owner)
            ids = {"resp": response["id"], "file": batch["input_file_id"], "batch": batch["id"]}
            item_id = response["output"][0]["id"]
            missing = {"resp": f"resp_{MISSING}", "file": f"file-{MISSING}", "batch": f"batch_{MISSING}"}
            going_on = {"model": "chat", "input": "x", "previous_response_id": "ID"}
            calls = [
                ("resp", "GET", "/v1/responses/{}", None),
                ("resp", "DELETE", "/v1/responses/{}", None),
                ("resp", "POST", "/v1/responses/{}/cancel", {}),
                ("resp", "GET", "/v1/responses/{}/input_items", None),
                ("resp", "POST", "/v1/responses", going_on),
                ("resp", "POST", "/v1/responses/input_tokens", going_on),
                ("file", "GET", "/v1/files/{}", None),
                ("file", "GET", "/v1/files/{}/content", None),
                ("file", "DELETE", "/v1/files/{}", None),
                ("file", "GET", "/v1/files?after={}", None),
                (
                    "file", "POST", "/v1/batches",
                    {"input_file_id": "ID", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
                ),
                ("batch", "GET", "/v1/batches/{}", None),
                ("batch", "POST", "/v1/batches/{}/cancel", {}),
                ("batch", "GET", "/v1/batches?after={}", None),
            ]  # fmt: skip
            for kind, method, path, body in calls:
                answers = []
                for object_id in (ids[kind], missing[kind]):
                    filled = None if body is None else json.loads(json.dumps(body).replace("ID", object_id))
                    answer = await other.request(method, path.format(object_id), json=filled)
                    answers.append((answer.status_code, answer.text.replace(object_id, "ID")))
                assert answers[0] == answers[1], path
                assert answers[0][0] == (400 if "after" in path else 404), (path, answers[0])
            reference = [{"type": "item_reference", "id": item_id}]
            assert (await ask(other, input=reference)).json()["error"]["param"] == "input[0].id"
            for path in ("/v1/files", "/v1/batches"):
                assert (await other.get(path)).json()["data"] == []
            for path in (f"/v1/responses/{ids['resp']}", f"/v1/files/{ids['file']}", f"/v1/batches/{ids['batch']}"):
                assert (await owner.get(path)).status_code == 200, path

    run(check())


@pytest.mark.parametrize(
    "name", ["%00", "..%2f..%2fetc%2fpasswd", "x" * 5000, "file-" + MISSING + "%00", "%F0%9F%98%80"]
)
def test_an_id_that_cannot_be_ours_is_not_there(tmp_path, name):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            client = client_of("a")
            for path in (f"/v1/files/{name}", f"/v1/batches/{name}", f"/v1/responses/{name}"):
                assert (await client.get(path)).status_code == 404, path
            for path in (f"/v1/files/{name}", f"/v1/responses/{name}"):
                assert (await client.delete(path)).status_code == 404, path
            for path in (f"/v1/files?after={name}", f"/v1/batches?after={name}", f"/v1/files?purpose=%00{name}"):
                assert (await client.get(path)).status_code == 400, path
            assert (await ask(client, previous_response_id="resp_\x00")).status_code == 404

    run(check())


def test_a_response_goes_on_with_those_before_it(tmp_path):
    """Instructions are not carried over; one that was deleted in between takes nothing away."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            first = (await ask(client, instructions="be brief")).json()
            second = (await ask(client, input="more", previous_response_id=first["id"])).json()
            assert gateway.upstreams.asked[-1][1] == [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "more"},
            ]
            assert (await client.delete(f"/v1/responses/{first['id']}")).json()["deleted"] is True
            assert (await client.get(f"/v1/responses/{first['id']}")).status_code == 404
            await ask(client, input="again", previous_response_id=second["id"])
            assert [message["content"] for message in gateway.upstreams.asked[-1][1]] == [
                "hi", "Hello", "more", "Hello", "again",
            ]  # fmt: skip
            items = (await client.get(f"/v1/responses/{second['id']}/input_items", params={"limit": 2})).json()
            assert [item["content"][0]["text"] for item in items["data"]] == ["more", "Hello"]
            rest = {"after": items["last_id"]}
            items = (await client.get(f"/v1/responses/{second['id']}/input_items", params=rest)).json()
            assert ([item["content"][0]["text"] for item in items["data"]], items["has_more"]) == (["hi"], False)
            reference = [{"type": "item_reference", "id": second["output"][0]["id"]}, {"role": "user", "content": "?"}]
            await ask(client, input=reference)
            assert gateway.upstreams.asked[-1][1][0] == {"role": "assistant", "content": "Hello"}

    run(check())


def test_what_is_not_to_be_stored_is_not(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            client = client_of("a")
            for stream in (False, True):
                answer = await ask(client, store=False, stream=stream)
                shown = events_in(answer.text)[-1]["response"] if stream else answer.json()
                assert (shown["status"], shown["store"]) == ("completed", False)
                assert (await client.get(f"/v1/responses/{shown['id']}")).status_code == 404

    run(check())


def test_a_streamed_response_is_stored_as_its_last_event_says(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            client = client_of("a")
            told = events_in((await ask(client, stream=True)).text)
            shown = told[-1]["response"]
            assert told[-1]["type"] == "response.completed"
            assert (await client.get(f"/v1/responses/{shown['id']}")).json() == shown

    run(check())


def test_a_stream_that_fails_is_stored_as_failed_and_says_nothing_of_the_server(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=[Delta("par"), EngineError("/srv/secret broke")]) as (_, client_of):
            client = client_of("a")
            told = events_in((await ask(client, stream=True)).text)
            assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
            assert "secret" not in json.dumps(told)
            stored = (await client.get(f"/v1/responses/{told[0]['response']['id']}")).json()
            assert (stored["status"], stored["error"]["code"]) == ("failed", "server_error")
            assert stored["output"][0]["content"][0]["text"] == "par"

    run(check())


def test_what_fails_before_it_begins_is_an_http_error_and_leaves_nothing(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=[EngineError("broke")]) as (_, client_of):
            for stream in (False, True):
                answer = await ask(client_of("a"), stream=stream)
                assert answer.status_code == 500
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    run(check())


def test_a_running_response_can_be_read_and_cancelled_by_its_tenant(tmp_path):
    """Its server is told; the end is written even when nobody streams it any more."""

    async def check():
        async with stored_app(tmp_path, main=[Delta("par"), "hang"]) as (gateway, client_of):
            client = client_of("a")
            streaming = asyncio.ensure_future(ask(client, stream=True))

            async def is_there():
                found = [asked[3] for asked in gateway.upstreams.asked]
                if not found:
                    return None
                shown = await client.get(f"/v1/responses/resp_{found[0].replace('-', '')}")
                return shown.json() if shown.status_code == 200 else None

            shown = await until(is_there)
            assert shown["status"] == "in_progress"
            going_on = await ask(client, previous_response_id=shown["id"])
            assert going_on.json()["error"]["param"] == "previous_response_id"
            cancelling = asyncio.ensure_future(client.post(f"/v1/responses/{shown['id']}/cancel"))

            async def was_told():
                return gateway.upstreams.cancelled

            assert [each.replace("-", "") for each in await until(was_told)] == [shown["id"].removeprefix("resp_")]
            streaming.cancel()  # the stream's client leaves
            assert (await cancelling).json()["status"] == "cancelled"
            assert (await client.post(f"/v1/responses/{shown['id']}/cancel")).json()["status"] == "cancelled"

    run(check())


def test_a_response_that_has_ended_cannot_be_cancelled(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            client = client_of("a")
            response = (await ask(client)).json()
            assert (await client.post(f"/v1/responses/{response['id']}/cancel")).status_code == 400

    run(check())


def test_files_are_listed_by_pages_and_by_purpose(tmp_path):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            made = [(await upload(client, str(n), "user_data" if n % 2 else "batch")).json()["id"] for n in range(5)]
            found, after = [], None
            while True:
                page = (
                    await client.get("/v1/files", params={"limit": 2, **({"after": after} if after else {})})
                ).json()
                found += [each["id"] for each in page["data"]]
                after = page["last_id"]
                if not page["has_more"]:
                    break
            assert found == made[::-1]
            ordered = (await client.get("/v1/files", params={"order": "asc", "purpose": "user_data"})).json()
            assert [each["id"] for each in ordered["data"]] == [made[1], made[3]]

    run(check())


def test_a_file_is_read_as_it_was_sent_and_gone_when_it_is_deleted(tmp_path):
    """Its name on disk is its id; what the client called it is a header's only."""

    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            content = bytes(range(256)) * 4000
            shown = (await upload(client, content, "user_data", "../../evil ü.bin")).json()
            assert (shown["bytes"], shown["filename"]) == (len(content), "evil ü.bin")
            answer = await client.get(f"/v1/files/{shown['id']}/content")
            assert answer.content == content
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert [path.name for path in (tmp_path / "files").iterdir()] == [shown["id"]]
            assert (await client.delete(f"/v1/files/{shown['id']}")).json()["deleted"] is True
            assert (await client.get(f"/v1/files/{shown['id']}")).status_code == 404
            assert not list((tmp_path / "files").iterdir())

    run(check())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_upload_that_is_refused_leaves_nothing(tmp_path, fields, param):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            answer = await upload(client_of("a"), **fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
            assert not list((tmp_path / "files").iterdir())

    run(check())


def test_files_are_bounded_each_and_all_of_a_tenant(tmp_path):
    """Another tenant's room is its own."""

    async def check():
        bounds = {"server": {"max_file_bytes": 2000}, "storage": {"max_tenant_bytes": 2500}}
        async with stored_app(tmp_path, **bounds) as (_, client_of):
            client = client_of("a")
            assert (await upload(client, "x" * 2001)).status_code == 413
            assert (await upload(client, "x" * 1500)).status_code == 200
            assert (await upload(client, "x" * 1500)).status_code == 413
            assert (await upload(client_of("b"), "x" * 1500)).status_code == 200
            assert len(list((tmp_path / "files").iterdir())) == 2

    run(check())


def test_a_batch_is_answered_and_its_files_are_its_tenants(tmp_path):
    """Each line as over HTTP: refused lines have the API's own error."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            lines = batch_lines(3) + batch_lines(1, model="unknown").replace("c0", "bad")
            file_id = (await upload(client, lines)).json()["id"]
            asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            batch = (await client.post("/v1/batches", json={**asked, "metadata": {"job": "night"}})).json()
            assert (batch["status"], batch["metadata"]) == ("validating", {"job": "night"})
            await client.delete(f"/v1/files/{file_id}")

            async def is_done():
                shown = (await client.get(f"/v1/batches/{batch['id']}")).json()
                return shown if shown["status"] == "completed" else None

            shown = await until(is_done)
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

            async def is_cleared():
                return not list((tmp_path / "batches").iterdir())

            await until(is_cleared)

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
            asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            answer = await client.post("/v1/batches", json={**asked, **changes})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    run(check())


def test_only_a_file_for_batches_makes_a_batch(tmp_path):
    async def check():
        async with stored_app(tmp_path) as (_, client_of):
            client = client_of("a")
            file_id = (await upload(client, batch_lines(1), "user_data")).json()["id"]
            asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            answer = await client.post("/v1/batches", json=asked)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input_file_id")

    run(check())


def test_lines_of_completions_are_asked_as_such(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            body = {"model": "chat", "prompt": "x"}
            line = {"custom_id": "c0", "method": "POST", "url": "/v1/completions", "body": body}
            file_id = (await upload(client, json.dumps(line))).json()["id"]
            asked = {"input_file_id": file_id, "endpoint": "/v1/completions", "completion_window": "24h"}
            batch = (await client.post("/v1/batches", json=asked)).json()

            async def is_done():
                shown = (await client.get(f"/v1/batches/{batch['id']}")).json()
                return shown if shown["status"] == "completed" else None

            content = await client.get(f"/v1/files/{(await until(is_done))['output_file_id']}/content")
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

            async def hangs():
                return len(gateway.upstreams.asked) >= 5

            await until(hangs)
        async with stored_app(tmp_path, storage=storage, main=HELLO) as (gateway, client_of):
            client = client_of("a")

            async def is_done():
                shown = (await client.get(f"/v1/batches/{batch['id']}")).json()
                return shown if shown["status"] == "completed" else None

            shown = await until(is_done)
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

            async def has_ended():
                return (await client.get(f"/v1/batches/{batch['id']}")).json()["status"] == "cancelled"

            await until(has_ended)

    run(check())


def test_responses_and_files_expire(tmp_path):
    async def check():
        storage = {"response_days": 1e-9, "file_days": 1e-9}
        async with stored_app(tmp_path, storage=storage, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            response, file = (await ask(client)).json(), (await upload(client)).json()
            assert (await client.get(f"/v1/responses/{response['id']}")).status_code == 404
            assert (await client.get(f"/v1/files/{file['id']}/content")).status_code == 404
            assert (await client.get("/v1/files")).json()["data"] == []
            await gateway.stored.sweep()
            assert not list((tmp_path / "files").iterdir())

    run(check())


def test_two_gateways_on_one_database_ask_each_line_once(tmp_path):
    async def check():
        async with (
            stored_app(tmp_path, main=HELLO) as (one, client_of),
            stored_app(tmp_path, main=HELLO) as (two, client_of_two),
        ):
            batches = [await make_batch(client_of("a"), 10) for _ in range(3)]

            async def are_done():
                shown = [(await client_of_two("a").get(f"/v1/batches/{batch['id']}")).json() for batch in batches]
                return shown if {each["status"] for each in shown} == {"completed"} else None

            assert {each["request_counts"]["completed"] for each in await until(are_done)} == {10}
            assert len(one.upstreams.asked) + len(two.upstreams.asked) == 30

    run(check())


def test_migrations_make_the_tables_that_the_code_declares(tmp_path):
    """A column or an index that only one of the two knows would be found here."""
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    run(database.start())
    engine = create_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    run(database.close())
    ours = {"responses", "files", "batches"}
    assert ours <= set(metadata.tables)
    assert [each for each in found if re.search(rf"['<]({'|'.join(ours)})['>]", repr(each))] == []
