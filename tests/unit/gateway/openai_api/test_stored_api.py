"""Responses, files and batches over HTTP: what a tenant leaves is its own, whoever else knows its name."""

import json

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.openai_api.stored_calls import HELLO, ask, make_batch, upload

MISSING = "0a" * 16


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
