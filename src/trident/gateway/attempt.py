"""One request at one deployment: its place there and its stream, ended together. It knows no other deployment."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

from trident.errors import (
    ConfigurationError,
    EngineError,
    InvalidRequestError,
    QueueFullError,
    TridentError,
    UnavailableError,
)
from trident.gateway.asked import Asked
from trident.gateway.deployment_state import Place
from trident.gateway.upstream_errors import as_told
from trident.gateway.upstreams import Upstreams
from trident_client.async_client import AsyncClient
from trident_client.completion import Delta
from trident_client.sampling import Sampling
from trident_client.stream import AsyncStream

# How engines and the client begin to say it; what stands later in a message may be the words of who asks.
_NO_SALT = re.compile(r"cache_salt\b|model '[^']*' takes no cache_salt\b")


class Attempt:
    """`open`, then `read` until None, then `end`, which is allowed at any time and cancels what still runs."""

    def __init__(self, deployment: str, place: Place) -> None:
        self.deployment = deployment
        self._place = place
        self._upstreams: Upstreams | None = None
        self._stream: AsyncStream | None = None
        self._has_begun = False
        self._is_over = False
        self._is_salted = False  # by the gateway, not by the client

    async def open(self, upstreams: Upstreams, asked: Asked, timeout_s: float) -> None:
        """Make the request; the first `read` sends it.

        Raises:
            TridentError: it cannot be made, or the deployment is no longer there.
        """
        self._upstreams = upstreams
        try:
            client = upstreams[self.deployment]
            sampling = upstreams.sampling_at(self.deployment, asked)
            self._is_salted = sampling is not asked.sampling
            sampling = await _with_priority(asked, sampling, client)
            self._stream = client.stream(asked.prompt, sampling, request_id=asked.request_id, timeout_s=timeout_s)
        except TridentError as exc:
            raise self._judged(exc)  # noqa: B904 - the same one, or it has this as its cause

    async def read(self) -> Delta | None:
        """The next delta; None after the last.

        Raises:
            TridentError: the generation was refused or failed; there is nothing after it.
        """
        if self._stream is None:
            return None
        try:
            delta = await self._stream.__anext__()
        except StopAsyncIteration:
            delta = None
        except TridentError as exc:
            raise self._judged(exc)  # noqa: B904 - as above
        if not self._has_begun and not self._is_over:  # which itself ends the stream
            self._has_begun = True
            self._place.answered()
        return delta

    async def stop(self) -> None:
        """End it there with what it has, which `read` still gives.

        Raises:
            UnavailableError: the deployment cannot be reached.
        """
        if self._upstreams is not None and self._stream is not None:
            await self._upstreams[self.deployment].cancel(self._stream.request_id)

    @property
    def engine_s(self) -> float:
        """Of the deployment's time, this attempt's share; 0 before its end."""
        return self._place.engine_s

    async def end(self) -> None:
        """Cancel what still runs there, and give the place back."""
        self._is_over = True
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            self._place.leave()

    def _judged(self, error: TridentError) -> TridentError:
        """What the error is for the client; the breaker hears of it too."""
        if self._is_salted and isinstance(error, InvalidRequestError) and _NO_SALT.match(error.message):
            error = ConfigurationError(f"it cannot isolate tenants, as the file says it does: {error.message}")
        told = as_told(error, self.deployment)
        if isinstance(told, (UnavailableError, EngineError)):
            self._place.failed()
            if self._upstreams is not None and self._stream is not None:  # the engine may not know
                self._upstreams.cancel_soon(self.deployment, self._stream.request_id)
        elif isinstance(told, (InvalidRequestError, QueueFullError)):  # as a server answers that is well
            self._place.answered()
        return told


async def _with_priority(asked: Asked, sampling: Sampling, client: AsyncClient) -> Sampling:
    """With the priority of who asks, where the model takes one."""
    priority = asked.identity.priority
    if priority is not None:
        with contextlib.suppress(TridentError):  # which the request itself will meet
            if (await client.interface()).input_of("priority") is not None:
                return replace(sampling, priority=priority)
    return sampling
