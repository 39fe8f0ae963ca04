"""What KServe v2 asks of the gateway, the same over HTTP and gRPC: health, metadata, generations, stops.

Tensors come in and go out; how they are written on the wire is the endpoints' and the service's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.asked import Asked, CacheWish
from trident.gateway.gateway import Gateway
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.answer_tensors import tensors_of, with_echo
from trident.gateway.kserve_api.asked_tensors import AskedTensors
from trident.gateway.kserve_api.live_requests import LiveRequests
from trident.gateway.kserve_api.metadata import model_metadata
from trident.gateway.kserve_api.tensors import Tensor
from trident.gateway.kserve_api.version import check_version
from trident_client.completion import as_deltas
from trident_client.request import TemplatePrompt


class Kserve:
    """Of one worker process."""

    def __init__(self, gateway: Gateway, reason_against: Callable[[], Awaitable[str]]) -> None:
        """`reason_against`: why the gateway is not ready; empty when it is."""
        self.gateway = gateway
        self._reason_against = reason_against
        self.live = LiveRequests()

    def check_model(self, identity: Identity, model: str, version: str = "") -> None:
        """Whether it can be asked here.

        Raises:
            PermissionDeniedError: the key may not ask it.
            NotFoundError: there is no such model or version.
            InvalidRequestError: it makes no text.
        """
        _, route = self.gateway.router.route_of(model, identity)
        check_version(model, version)
        if route.operation == "embeddings":
            raise InvalidRequestError(f"the model '{model}' makes embeddings only, at /v1/embeddings", param="model")

    def metadata(self, identity: Identity, model: str, version: str = "") -> dict[str, Any]:
        """Of a model; errors as of `check_model`."""
        self.check_model(identity, model, version)
        return model_metadata(model)

    async def is_model_ready(self, identity: Identity, model: str, version: str = "") -> bool:
        """Whether a deployment behind it can answer; errors as of `check_model`."""
        self.check_model(identity, model, version)
        _, route = self.gateway.router.route_of(model, identity)
        clients = [self.gateway.upstreams[name] for name in {*route.deployments, *route.fallbacks}]
        return any(await asyncio.gather(*[client.is_ready() for client in clients]))

    async def is_ready(self) -> bool:
        """Whether requests are to be sent here."""
        return not await self._reason_against()


class KserveExchange:
    """One generation, as a context manager as `Exchange`, whose answer is tensors."""

    def __init__(
        self, kserve: Kserve, identity: Identity, request_id: str, model: str, asked: AskedTensors, *,
        api: str, client_id: str = "", cache: CacheWish = "default", cache_tags: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        is_plain = isinstance(asked.prompt, (str, TemplatePrompt))
        self.asked = asked
        self._kserve = kserve
        self._client_id = client_id
        self._exchange = kserve.gateway.exchange(
            Asked(
                request_id,
                identity,
                "text_completion" if is_plain else "chat",
                api,
                model,
                asked.prompt,
                asked.sampling,
                asked.is_streaming,
                cache=cache,
                cache_tags=cache_tags,
            )
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> KserveExchange:
        """Begun to answer; errors as of `Exchange.start`."""
        tenant = self._exchange.outcome.asked.identity.tenant
        async with AsyncExitStack() as stack:
            stack.enter_context(self._kserve.live.running(tenant, self._client_id, self._exchange))
            await stack.enter_async_context(self._exchange)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what still runs."""
        await self._stack.aclose()

    def headers(self) -> Mapping[str, str]:
        """Of the response, or trailing metadata."""
        return self._exchange.headers()

    async def responses(self) -> AsyncIterator[tuple[list[Tensor], bool]]:
        """The outputs of each response, and whether it is the last; a last one without any where that was not known.

        Raises:
            TridentError: the generation failed in its midst.
        """
        num_open = self.asked.num_sequences
        if self.asked.is_streaming:
            async for delta in self._exchange:
                num_open -= bool(delta.finish_reason)
                yield tensors_of(delta, self.asked), num_open <= 0
        else:
            for delta in as_deltas(await self._exchange.completion()):
                num_open -= 1
                yield tensors_of(with_echo(delta, self.asked), self.asked), num_open <= 0
        if num_open > 0:
            yield [], True

    async def lone_response(self) -> list[Tensor]:
        """The outputs of the only response; of no other request is this to be asked (`check_lone`)."""
        found: list[Tensor] = []
        async for tensors, _ in self.responses():
            found = tensors or found
        return found


def check_lone(asked: AskedTensors, instead: str) -> None:
    """Raises UnsupportedParameterError: several responses would come; `instead`: what carries them."""
    name = "stream" if asked.is_streaming else "num_return_sequences" if asked.num_sequences > 1 else ""
    if name:
        raise UnsupportedParameterError(
            f"{name} asks for several responses, as a decoupled model gives them, and this call has one; use {instead}",
            param=name,
        )
