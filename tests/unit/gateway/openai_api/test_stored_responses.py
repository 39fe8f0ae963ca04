"""Stored responses over HTTP: read, gone on with, streamed, cancelled."""

import asyncio
import json

import pytest

from tests.unit.gateway.loop import run, until
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.openai_api.stored_calls import HELLO, ask, events_in
from trident.errors import EngineError, UnavailableError
from trident_client.completion import Delta


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
            assert gateway.upstreams.asked[0][::3] in await until(lambda: gateway.upstreams.cancelled)
            streaming.cancel()  # the stream's client leaves
            assert (await cancelling).json()["status"] == "cancelled"
            assert (await client.post(f"/v1/responses/{shown['id']}/cancel")).json()["status"] == "cancelled"

    run(check())


def test_a_response_that_another_deployment_took_over_is_cancelled_there(tmp_path):
    """An attempt has an id of its own, which only its deployment knows."""

    async def check():
        scripts = {"main": [EngineError("broke")], "spare": [Delta("par"), "hang"]}
        async with stored_app(tmp_path, **scripts) as (gateway, client_of):
            client = client_of("a")
            streaming = asyncio.ensure_future(ask(client, stream=True))

            async def runs():
                found = [asked[3] for asked in gateway.upstreams.asked]
                path = f"/v1/responses/resp_{found[0].replace('-', '')}" if found else "/v1/files"
                return path if len(found) == 2 and (await client.get(path)).status_code == 200 else None

            cancelling = asyncio.ensure_future(client.post(f"{await until(runs)}/cancel"))
            await until(lambda: gateway.upstreams.asked[1][::3] in gateway.upstreams.cancelled)
            streaming.cancel()
            assert (await cancelling).json()["status"] == "cancelled"

    run(check())


def test_a_response_that_fails_midway_leaves_nothing(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=[Delta("par"), EngineError("broke")]) as (gateway, client_of):
            client = client_of("a")
            assert (await ask(client)).status_code == 500
            request_id = gateway.upstreams.asked[0][3]
            assert (await client.get(f"/v1/responses/resp_{request_id.replace('-', '')}")).status_code == 404

    run(check())


async def _is_away(*_):
    raise UnavailableError("the database does not answer")


def test_a_database_that_is_away_refuses_a_response_before_it_is_generated(tmp_path):
    """It is ended where it would have gone on for ever."""

    async def check():
        async with stored_app(tmp_path, main=[Delta("par"), "hang"]) as (gateway, client_of):
            gateway.stored.responses.add = _is_away
            for stream in (False, True):
                assert (await ask(client_of("a"), stream=stream)).status_code == 503
            assert [stream.is_closed for stream in gateway.upstreams.streams] == [True, True]

    run(check())


def test_a_database_that_goes_away_meanwhile_loses_no_answer(tmp_path):
    """The answer says that it is not stored."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            gateway.stored.responses.end = _is_away
            shown = (await ask(client_of("a"))).json()
            assert (shown["status"], shown["store"]) == ("completed", False)
            assert shown["output"][0]["content"][0]["text"] == "Hello"

    run(check())


def test_items_of_several_responses_are_referred_to_in_one_input(tmp_path):
    """With their type or by their ids alone; not more than are read at once."""

    async def check():
        async with stored_app(tmp_path, main=HELLO) as (gateway, client_of):
            client = client_of("a")
            ids = [(await ask(client, input=str(number))).json()["output"][0]["id"] for number in range(3)]
            await ask(client, input=[{"id": each} for each in ids])
            assert gateway.upstreams.asked[-1][1] == [{"role": "assistant", "content": "Hello"}] * 3
            references = [{"type": "item_reference", "id": ids[0]}]
            assert (await ask(client, input=references * 128)).status_code == 200
            answer = await ask(client, input=references * 129)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")

    run(check())


def test_a_response_that_has_ended_cannot_be_cancelled(tmp_path):
    async def check():
        async with stored_app(tmp_path, main=HELLO) as (_, client_of):
            client = client_of("a")
            response = (await ask(client)).json()
            assert (await client.post(f"/v1/responses/{response['id']}/cancel")).status_code == 400

    run(check())


@pytest.mark.parametrize("bound", [{"max_tenant_responses": 2}, {"max_tenant_response_bytes": 2000}])
def test_a_tenant_keeps_so_many_responses_and_bytes_of_them(tmp_path, bound):
    """What is not to be stored needs no room, and one that was deleted makes some; another tenant has its own."""

    async def check():
        async with stored_app(tmp_path, storage=bound, main=HELLO) as (_, client_of):
            client = client_of("a")
            kept = [(await ask(client)).json()["id"] for _ in range(2)]
            for stream in (False, True):
                refusal = await ask(client, stream=stream)
                assert (refusal.status_code, refusal.json()["error"]["code"]) == (413, "storage_quota_exceeded")
            assert (await ask(client, store=False)).status_code == 200
            assert (await ask(client_of("b"))).status_code == 200
            await client.delete(f"/v1/responses/{kept[0]}")
            assert (await ask(client)).status_code == 200

    run(check())
