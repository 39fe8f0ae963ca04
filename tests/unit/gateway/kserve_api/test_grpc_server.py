"""The gRPC port: as bounded as the HTTP one."""

import socket
from contextlib import asynccontextmanager

import grpc
import pytest
from tests.unit.gateway.kserve_api.surroundings import Surroundings, Upstreams
from tests.unit.gateway.scripted_upstream import words
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trident.errors import HostError
from trident.gateway.kserve_api.grpc_server import start_grpc_server

pytestmark = pytest.mark.anyio


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@asynccontextmanager
async def served(folder, **server):
    """A stub of the port that the gateway opens."""
    surroundings = Surroundings(folder, Upstreams(main=words("one")), **server)
    port = free_port()
    running = await start_grpc_server(surroundings.app.state.kserve, port)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
    finally:
        await running.stop(None)


async def status_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name


async def test_a_message_beyond_the_bound_of_a_body_is_refused_and_the_next_is_answered(tmp_path):
    """Of a megabyte by default; the connection goes on."""
    async with served(tmp_path) as stub:
        message = service_pb2.ModelInferRequest(model_name="chat", raw_input_contents=[bytes((1 << 20) + 1)])
        assert await status_of(stub.ModelInfer(message)) == "RESOURCE_EXHAUSTED"
        message.raw_input_contents[0] = bytes(1 << 19)
        assert await status_of(stub.ModelInfer(message)) == "INVALID_ARGUMENT"


async def test_a_flood_of_metadata_is_refused_and_the_next_call_is_answered(tmp_path):
    async with served(tmp_path) as stub:
        flood = [(f"x-{number}", "y" * 1000) for number in range(40)]
        live = service_pb2.ServerLiveRequest()
        assert await status_of(stub.ServerLive(live, metadata=flood)) == "RESOURCE_EXHAUSTED"
        assert (await stub.ServerLive(live)).live


async def test_a_port_that_is_taken_is_told(tmp_path):
    surroundings = Surroundings(tmp_path, Upstreams(main=words("one")))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HostError, match="give another grpc_port"):
        await start_grpc_server(surroundings.app.state.kserve, taken.getsockname()[1])
