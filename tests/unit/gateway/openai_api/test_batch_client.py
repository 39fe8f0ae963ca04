"""What asks for the lines of a batch: one that waits holds nobody up, and one that cannot pass is not asked again."""

import asyncio
from collections import Counter

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.unit.gateway.loop import run, until
from trident.gateway.identity import Identity
from trident.gateway.openai_api.batch_client import MAX_TRIES, BatchClient


class Answering:
    """An application that answers each tenant in its own way, or each time in another; `asked` counts by tenant."""

    def __init__(self, **answers):
        self.asked = Counter()
        self.app = FastAPI()
        self.app.post("/line")(self._answer)
        self._answers = answers

    async def _answer(self, request: Request):
        tenant = request.scope["trident.identity"].tenant
        self.asked[tenant] += 1
        answer = self._answers[tenant]
        status, headers, *code = answer.pop(0) if isinstance(answer, list) else answer
        return JSONResponse({"tenant": tenant, "error": {"code": code[0] if code else None}}, status, headers)


def client_of(answering, tenant, room):
    return BatchClient(answering.app, Identity(tenant, "key"), room)


def test_a_tenant_that_waits_for_its_limit_leaves_the_room_to_others():
    async def check():
        answering = Answering(busy=(429, {"retry-after-ms": "60000"}), free=(200, {}))
        room = asyncio.Semaphore(1)
        busy, free = client_of(answering, "busy", room), client_of(answering, "free", room)
        waiting = [asyncio.ensure_future(busy.ask("/line", {})) for _ in range(3)]
        await until(lambda: busy.rest_s)
        assert answering.asked["busy"] == 3
        reply = await free.ask("/line", {})
        assert (reply.status, reply.body["tenant"]) == (200, "free")
        assert not any(each.done() for each in waiting)
        assert free.rest_s == 0
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await busy.close()
        await free.close()

    run(check())


@pytest.mark.parametrize(
    ("answer", "num_asked"),
    [
        ((429, {"x-should-retry": "false", "retry-after-ms": "60000"}, "rate_limit_exceeded"), 1),
        ((429, {"x-should-retry": "false"}, "insufficient_quota"), 1),
        ((400, {}), 1),
        ((500, {"retry-after-ms": "1"}), MAX_TRIES),
    ],
)
def test_a_line_is_asked_again_only_while_that_can_help(answer, num_asked):
    """A limit or a budget that it never fits is told at once."""

    async def check():
        answering = Answering(one=answer)
        client = client_of(answering, "one", asyncio.Semaphore(1))
        assert (await client.ask("/line", {})).status == answer[0]
        assert answering.asked["one"] == num_asked
        await client.close()

    run(check())


def test_a_line_waits_for_a_new_budget():
    """Its batch has a day, and a budget is new at midnight; whoever asked it himself would be told to come back."""

    async def check():
        spent = (429, {"x-should-retry": "false", "retry-after-ms": "1"}, "insufficient_quota")
        answering = Answering(one=[spent, spent, (200, {})])
        client = client_of(answering, "one", asyncio.Semaphore(1))
        assert (await client.ask("/line", {})).status == 200
        assert answering.asked["one"] == 3
        await client.close()

    run(check())
