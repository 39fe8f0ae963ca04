"""A scripted server per test, and every client over it: {gRPC, HTTP} x {sync, async}."""

import asyncio

import pytest

from trident_client import AsyncClient, Client, Retry

from .scripted_server import ScriptedServer


@pytest.fixture
def server():
    server = ScriptedServer()
    server.start()
    yield server
    server.stop()


class AsyncFace:
    """An `AsyncClient` with the sync signatures, so that one test runs both."""

    def __init__(self, *args, **options):
        self._make = lambda: AsyncClient(*args, **options)

    def run(self, use):
        """Run `await use(client)` with a client of its own."""

        async def main():
            async with self._make() as client:
                return await use(client)

        return asyncio.run(main())

    def __getattr__(self, name):
        return lambda *args, **options: self.run(lambda client: getattr(client, name)(*args, **options))

    def take(self, limit, *args, **options):
        """At most `limit` deltas of a stream that is then left, and its request id."""

        async def use(client):
            deltas = []
            async with client.stream(*args, **options) as stream:
                async for delta in stream:
                    deltas.append(delta)
                    if len(deltas) == limit:
                        break
            return deltas, stream.request_id

        return self.run(use)


class SyncFace:
    """A `Client` with the same `take`."""

    def __init__(self, *args, **options):
        self._make = lambda: Client(*args, **options)

    def __getattr__(self, name):
        def call(*args, **options):
            with self._make() as client:
                return getattr(client, name)(*args, **options)

        return call

    def take(self, limit, *args, **options):
        deltas = []
        with self._make() as client, client.stream(*args, **options) as stream:
            for delta in stream:
                deltas.append(delta)
                if len(deltas) == limit:
                    break
        return deltas, stream.request_id


@pytest.fixture(params=["grpc", "http"])
def protocol(request):
    return request.param


@pytest.fixture
def url(server, protocol):
    return server.grpc_url if protocol == "grpc" else server.http_url


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def client(request, url, protocol):
    return request.param(url, protocol, retry=Retry(first_wait_s=0.01))
