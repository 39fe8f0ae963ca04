"""The gateway's parts, put together once and closed together: what every endpoint gets at `request.app.state.gateway`."""

from __future__ import annotations

from uuid import uuid4

from trident.gateway.asked import Asked, Observer
from trident.gateway.authentication import Authenticator
from trident.gateway.config import GatewayConfig
from trident.gateway.exchange import Exchange
from trident.gateway.limiter import Limiter
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams


class Gateway:
    """Of one worker process, for use inside one event loop."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.authenticator = Authenticator(config)
        self.limiter = Limiter()
        self.router = Router(config)
        self.upstreams = Upstreams(config.deployments)
        self.observers: list[Observer] = [self.router]

    async def start(self) -> None:
        """Open what has to be open before the first request."""

    def exchange(self, asked: Asked) -> Exchange:
        """One generation, to be used as a context manager."""
        return Exchange(asked, self.router, self.limiter, self.upstreams, self.observers)

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten: tenants, deployments, models and rules follow, for requests from now on."""
        self.config = config
        self.authenticator.update(config)
        self.router.update(config)
        self.upstreams.update(config.deployments, config.server.request_timeout_s)

    async def close(self) -> None:
        """Close every connection; what still runs fails."""
        await self.upstreams.close()


def new_request_id() -> str:
    """A UUID, which nobody can guess: whoever knows it can cancel the request."""
    return str(uuid4())
