"""A whole gateway inside the test: real parts, a database, scripted deployments, keys that are tenants' names."""

from contextlib import asynccontextmanager

import httpx

from tests.unit.gateway.scripted_upstream import ScriptedClient, ScriptedUpstreams
from trident.errors import AuthenticationError
from trident.gateway.app import create_app
from trident.gateway.config_file import parse_config
from trident.gateway.gateway import Gateway
from trident.gateway.identity import Identity, Limits
from trident_client.interface import TRIDENT


class TalkingUpstreams(ScriptedUpstreams):
    """Scripted deployments that also tell what they take, and end a request by its id."""

    def __getitem__(self, name):
        return TalkingClient(name, self)

    def update(self, *_):
        """As `Upstreams`."""

    async def close(self):
        """As `Upstreams`."""


class TalkingClient(ScriptedClient):
    async def interface(self):
        return TRIDENT


class KeyIsTenant:
    """`Bearer NAME` is the tenant NAME, with its limits by that name."""

    def __init__(self, limits):
        self._limits = limits

    async def start(self):
        """As `Authenticator`."""

    async def authenticate(self, headers, address):
        name = headers.get("authorization", "").removeprefix("Bearer ")
        if not name:
            raise AuthenticationError("no key")
        return Identity(name, f"key-of-{name}", tenant_limits=self._limits.get(name, Limits()))


@asynccontextmanager
async def stored_app(folder, *, storage=None, server=None, limits=None, **scripts):
    """The gateway and a function that makes a tenant's HTTP client. Deployments besides `main` are its fallbacks."""
    others = [name for name in scripts if name != "main"]
    values = {
        "server": {"data": str(folder), **(server or {})},
        "deployments": {name: {"url": f"{name}:8001"} for name in ("main", *others)},
        "models": {"chat": {"deployments": {"main": 1}, "fallbacks": others, "max_tokens": 64}},
        "storage": {"batch_lease_s": 0.4, **(storage or {})},
    }
    gateway = Gateway(parse_config(values, environ={}))
    gateway.upstreams = TalkingUpstreams(**scripts)
    gateway.authenticator = KeyIsTenant(limits or {})
    async with served(gateway) as client_of:
        yield gateway, client_of


@asynccontextmanager
async def served(gateway):
    """The gateway's application runs; a function that makes a tenant's HTTP client."""
    app = create_app(gateway)
    clients = []

    def client_of(tenant="team"):
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway",
            headers={"authorization": f"Bearer {tenant}"},
            timeout=20,
        )
        clients.append(client)
        return client

    async with app.router.lifespan_context(app):
        try:
            yield client_of
        finally:
            for client in clients:
                await client.aclose()
