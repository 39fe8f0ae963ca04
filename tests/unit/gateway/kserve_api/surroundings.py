"""The application and the gRPC service over deployments that follow a script."""

from contextlib import asynccontextmanager

import grpc
import httpx
from tests.unit.gateway.scripted_upstream import ScriptedClient, ScriptedUpstreams
from tritonclient.grpc import service_pb2_grpc

from trident.gateway.app import create_app
from trident.gateway.config_file import parse_config
from trident.gateway.gateway import Gateway
from trident.gateway.kserve_api.service import Service

URL = "http://gateway"


class Upstreams(ScriptedUpstreams):
    """Remembers cancels; `ready`: the deployments that are."""

    def __init__(self, **scripts):
        super().__init__(**scripts)
        self.cancels = []  # (deployment, id)
        self.ready = set(scripts)

    def __getitem__(self, name):
        return Client(name, self)

    async def close(self):
        pass


class Client(ScriptedClient):
    async def cancel(self, request_id):
        self._upstreams.cancels.append((self._name, request_id))

    async def is_ready(self):
        return self._name in self._upstreams.ready

    async def interface(self, model=None):
        raise AssertionError("no route here needs it")


class Surroundings:
    """`models`: as in the gateway's file; by default one, "chat", whose deployment is "main"."""

    def __init__(self, folder, upstreams, models=None, **server):
        models = models or {"chat": {"deployments": {"main": 1}, "aliases": ["assistant"]}}
        config = parse_config(
            {
                "auth": {"required": False},
                "server": {"data": str(folder), **server},
                "deployments": {name: {"url": f"{name}:8001"} for name in upstreams.scripts},
                "models": models,
            },
            environ={},
        )
        self.upstreams = upstreams
        self.gateway = Gateway(config)
        self.gateway.upstreams = upstreams
        self.gateway.observers.remove(self.gateway.ledger)  # which is not started here
        self.app = create_app(self.gateway)

    def http(self):
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=URL)

    @asynccontextmanager
    async def grpc(self):
        """A stub of the service, on a real connection."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Service(self.app.state.kserve).handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
        finally:
            await server.stop(None)
