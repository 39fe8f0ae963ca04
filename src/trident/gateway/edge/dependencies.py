"""What endpoints ask of a request: the gateway's parts, the request's id, and who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from trident.gateway.gateway import Gateway
from trident.gateway.identity import Endpoint, Identity

# For the OpenAPI document alone.
_BEARER = HTTPBearer(auto_error=False, description="a key of the gateway, or a token of the identity provider")


def gateway_of(request: Request) -> Gateway:
    """As a FastAPI dependency or by itself."""
    return cast(Gateway, request.app.state.gateway)


def request_id_of(request: Request) -> str:
    """The gateway's own UUID for this HTTP request, which `x-request-id` tells the client."""
    return cast(str, request.state.request_id)


def identity_of(endpoint: Endpoint | None) -> Callable[[Request], Awaitable[Identity]]:
    """A dependency: `Annotated[Identity, Depends(identity_of("chat"))]`; None: whatever its scope.

    Raises (the dependency):
        AuthenticationError: no key, or none that is good.
        RateLimitError: too many wrong keys from this address.
        PermissionDeniedError: the key may not use this endpoint.
    """

    async def authenticate(request: Request, _: Annotated[object, Security(_BEARER)] = None) -> Identity:
        # A line of a batch is asked inside this process, in the name of who made the batch.
        identity: Identity | None = request.scope.get("trident.identity")
        if identity is None:
            address = request.client.host if request.client is not None else ""
            identity = await gateway_of(request).authenticator.authenticate(request.headers, address)
        request.state.identity = identity  # for the log, also of what is refused next
        if endpoint is not None:
            identity.check_endpoint(endpoint)
        return identity

    return authenticate
