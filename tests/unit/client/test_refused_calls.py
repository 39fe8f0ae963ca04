"""A server that refuses a call before it has read a word of it: why is told every time."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from trident.errors import PermissionDeniedError
from trident_client import AsyncClient, Retry

from .scripted_server import ScriptedServer

NUM_CALLS = 300  # of as many, a score lost the reason while the message was written by itself


class Door(ScriptedServer):
    """Lets nobody in."""

    async def ModelStreamInfer(self, request_iterator, context):  # noqa: N802 - the name in the protocol
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this key may not")
        yield


def test_a_refusal_that_comes_before_the_request_is_read_says_why():
    server = Door()
    server.start()

    async def all_at_once():
        async with AsyncClient(server.grpc_url, retry=Retry(0)) as client:

            async def ask():
                with pytest.raises(PermissionDeniedError, match="this key may not"):
                    await client.generate("x" * 20_000)

            await asyncio.gather(*[ask() for _ in range(NUM_CALLS)])

    try:
        asyncio.run(all_at_once())
    finally:
        server.stop()
