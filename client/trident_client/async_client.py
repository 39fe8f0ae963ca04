"""The client's core: everything it can do, in asyncio, over either transport. One class, hence one long file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from trident.contract import EMBEDDING, ENSEMBLE
from trident.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    RequestCancelledError,
    TridentError,
    UnavailableError,
)
from trident_client.attempts import Attempts
from trident_client.batch import BatchRequest, BatchResult, run_batch
from trident_client.completion import Completion, assemble
from trident_client.connection import Connection
from trident_client.embedding import Embeddings, build_embeddings, embed_all
from trident_client.interface import TRIDENT_ENGINE, ModelInterface
from trident_client.metrics import Metrics, metrics_url_of, read_metrics
from trident_client.model_reader import ModelReader, ServedModel, served_models
from trident_client.pool import Endpoint, Health, Pool
from trident_client.request import Messages, Prompt, Request, build_cancel, build_request
from trident_client.resume import Resume
from trident_client.retry import Retry
from trident_client.sampling import Sampling, sampling_of
from trident_client.stream import AsyncStream
from trident_client.tracing import Span
from trident_client.transport import SHORT_TIMEOUT_S, Outputs, ProtocolName, Transport, connect

_NO_CONNECTION = Connection()
_DEFAULT_RETRY = Retry()
_SETTLE_S = 1.0


class AsyncClient:
    """A client of one server, or of several that serve the same, for use inside one event loop.

    `url`: "host:port" of the server's gRPC or HTTP endpoint, or of a gateway; several are balanced.
    `model`: an ensemble, or a model that is asked like one. `engine_model`: where cancels go; by default the model's
    configuration says. `timeout_s`: of each request, retries included. `metrics_url`: by default port 8002 of the host.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        protocol: ProtocolName = "grpc",
        *,
        model: str = ENSEMBLE.name,
        engine_model: str | None = None,
        connection: Connection = _NO_CONNECTION,
        retry: Retry = _DEFAULT_RETRY,
        timeout_s: float | None = None,
        metrics_url: str | None = None,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        if not urls:
            raise InvalidRequestError("url is an empty list; give one address at least")
        self._pool = Pool([Endpoint(each, connect(each, protocol, connection)) for each in urls])
        self._model = model
        self._engine_model = engine_model
        self._connection = connection
        self._retry = retry
        self._timeout_s = timeout_s
        self._metrics_url = metrics_url
        self._models = ModelReader()
        self._background: set[asyncio.Task[None]] = set()  # cancels that nobody waits for

    async def generate(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Completion:
        """The whole completion of a raw prompt or of chat messages, in one response.

        `parameters` are fields of `Sampling` and override it. `request_id`: a UUID if not given.

        Raises:
            TridentError: the leaf says what happened; an unknown parameter is an InvalidRequestError.
        """
        sampling = sampling_of(sampling, parameters)
        async with self._open(prompt, sampling, request_id, timeout_s, is_streaming=False) as stream:
            return assemble(stream.request_id, [delta async for delta in stream])

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> AsyncStream:
        """The completion as a stream of deltas; arguments and errors as for `generate`."""
        return self._open(prompt, sampling_of(sampling, parameters), request_id, timeout_s, is_streaming=True)

    async def chat(
        self,
        messages: Messages | str,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Completion:
        """The answer to chat messages, or to one message of the user's; the rest as for `generate`."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return await self.generate(messages, sampling, request_id=request_id, timeout_s=timeout_s, **parameters)

    def batch(
        self,
        requests: Iterable[Prompt | BatchRequest],
        sampling: Sampling | None = None,
        *,
        max_in_flight: int = 32,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> AsyncIterator[BatchResult]:
        """Results as they come, failed requests among them; at most `max_in_flight` are open at a time.

        `requests` may be without end: it is read as places become free. Leaving early cancels what runs.
        """
        common = sampling_of(sampling, parameters)

        async def ask(request: BatchRequest) -> Completion:
            given = request.sampling or common
            return await self.generate(request.prompt, given, request_id=request.request_id, timeout_s=timeout_s)

        return run_batch(ask, requests, max_in_flight)

    async def infer(self, request: Request) -> Outputs:
        """The one answer of any model of the server's, by itself; never sent again.

        Raises:
            TridentError: the leaf says what happened.
        """
        return await self._pool.choose().transport.infer(request)

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str = EMBEDDING.name,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Embeddings:
        """The vectors of one text or of any number, by a model like `embedding`; it is served where it was asked for.

        They travel a few at a time, so that the server answers others between.

        Raises:
            TridentError: the leaf says what happened; NotFoundError where no such model is served.
        """
        requests = build_embeddings(request_id or str(uuid4()), model, texts)
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            return await asyncio.wait_for(embed_all(requests, self._pool, self._retry), timeout_s)
        except asyncio.TimeoutError as exc:
            raise DeadlineExceededError(f"deadline exceeded: the request's {timeout_s:g} s are over") from exc

    async def cancel(self, request_id: str) -> None:
        """End a running request of any client, by its id; its stream ends with what it has. Unknown ids are no error.

        Raises:
            UnavailableError: no server can be reached, or none answers within 5 seconds.
        """
        ends = await asyncio.gather(
            *[self._cancel_on(request_id, endpoint) for endpoint in self._pool.endpoints], return_exceptions=True
        )
        failures = [end for end in ends if isinstance(end, BaseException)]
        if len(failures) == len(ends) or any(not isinstance(failure, TridentError) for failure in failures):
            raise failures[0]

    async def health(self) -> tuple[Health, ...]:
        """How each endpoint is, asked now; what it says also counts for who gets the next request."""
        return tuple(await asyncio.gather(*[self._health_of(endpoint) for endpoint in self._pool.endpoints]))

    async def is_ready(self) -> bool:
        """Whether a server answers and the model can take requests; False when none can be reached."""
        transports = [endpoint.transport for endpoint in self._pool.endpoints]
        return any(await asyncio.gather(*[transport.is_ready(self._model) for transport in transports]))

    async def models(self) -> tuple[ServedModel, ...]:
        """The models that the server has loaded.

        Raises:
            TridentError: it cannot be reached, or (a gateway) does not tell.
        """
        return await served_models(self._pool.choose().transport)

    async def interface(self, model: str | None = None) -> ModelInterface:
        """What a model takes and gives, by default the client's own; Trident's where the server does not tell."""
        return await self._models.read(self._pool.choose().transport, model or self._model)

    async def metrics(self) -> Metrics:
        """One reading of the first server's metrics.

        Raises:
            UnavailableError: there are none at `metrics_url`.
        """
        if self._metrics_url is None:  # Triton's own page, which is never encrypted and asks for no key
            return await read_metrics(metrics_url_of(self._pool.endpoints[0].url), _NO_CONNECTION)
        return await read_metrics(self._metrics_url, self._connection)

    async def settle(self) -> None:
        """Wait, for a second at most, until the server knows of the requests whose deadline has passed."""
        if self._background:
            await asyncio.wait(self._background, timeout=_SETTLE_S)

    async def close(self) -> None:
        """Close the connections; streams that still run fail."""
        await self.settle()
        await asyncio.gather(*[endpoint.transport.close() for endpoint in self._pool.endpoints])

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(
        self, prompt: Prompt, sampling: Sampling, request_id: str | None, timeout_s: float | None, *, is_streaming: bool
    ) -> AsyncStream:
        request_id = request_id or str(uuid4())
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        # Wrong values are told before anything is sent, whatever the server's model takes.
        build_request(request_id, self._model, prompt, sampling, is_streaming=is_streaming)
        span = Span("text_completion" if isinstance(prompt, str) else "chat", self._model, request_id, sampling)

        async def prepare(transport: Transport) -> Request:
            interface = stream.interface = await self._models.read(transport, self._model)
            limited = _within(sampling, stream.remaining_s, interface)
            return build_request(
                request_id,
                self._model,
                prompt,
                limited,
                is_streaming=is_streaming,
                interface=interface,
                headers=span.headers(),
            )

        attempts = Attempts(request_id, self._pool, self._retry, prepare, self._cancel_on, self._background)
        stream = AsyncStream(
            attempts, span, timeout_s=timeout_s, resume=Resume() if self._retry.after_first_token else None
        )
        return stream

    async def _cancel_on(self, request_id: str, endpoint: Endpoint) -> None:
        try:
            await asyncio.wait_for(self._stop(request_id, endpoint.transport), SHORT_TIMEOUT_S)
        except asyncio.TimeoutError as exc:
            raise UnavailableError(f"the cancel of {request_id} was not answered in {SHORT_TIMEOUT_S:g} s") from exc

    async def _stop(self, request_id: str, transport: Transport) -> None:
        engine = self._engine_model or (await self._models.read(transport, self._model)).engine
        interface = await self._models.read(transport, engine, TRIDENT_ENGINE)
        call = transport.open(build_cancel(request_id, engine, interface))
        try:
            while await call.read() is not None:
                pass
        except RequestCancelledError:
            pass  # so NVIDIA's LLM API model answers
        finally:
            await call.close()

    async def _health_of(self, endpoint: Endpoint) -> Health:
        is_live, is_ready = await asyncio.gather(endpoint.transport.is_live(), endpoint.transport.is_ready(self._model))
        (self._pool.answered if is_ready else self._pool.failed)(endpoint)
        return Health(endpoint.url, is_live, is_ready)


def _within(sampling: Sampling, remaining_s: float | None, interface: ModelInterface) -> Sampling:
    """The server is told of the deadline too, where it takes one, so that nobody works for a reader who has gone."""
    if remaining_s is None or sampling.timeout_ms is not None or interface.input_of("timeout_ms") is None:
        return sampling
    return replace(sampling, timeout_ms=max(1, round(1000 * remaining_s)))
