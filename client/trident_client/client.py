"""The sync face: the same methods, each handed to an `AsyncClient` on a background event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from trident.contract import EMBEDDING, ENSEMBLE
from trident_client.async_client import AsyncClient
from trident_client.batch import BatchRequest, BatchResult
from trident_client.completion import Completion
from trident_client.connection import Connection
from trident_client.embedding import Embeddings
from trident_client.interface import ModelInterface
from trident_client.loop_thread import LoopThread
from trident_client.metrics import Metrics
from trident_client.model_reader import ServedModel
from trident_client.pool import Health
from trident_client.request import Messages, Prompt
from trident_client.retry import Retry
from trident_client.sampling import Sampling
from trident_client.sync_stream import Stream
from trident_client.transport import ProtocolName

_NO_CONNECTION = Connection()
_DEFAULT_RETRY = Retry()


class Client:
    """A client of one server or several; see `AsyncClient` for arguments and errors. Close it when done."""

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
        self._client = AsyncClient(
            url,
            protocol,
            model=model,
            engine_model=engine_model,
            connection=connection,
            retry=retry,
            timeout_s=timeout_s,
            metrics_url=metrics_url,
        )
        self._thread = LoopThread()

    def generate(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Completion:
        """The whole completion; see `AsyncClient.generate`."""
        asked = self._client.generate(prompt, sampling, request_id=request_id, timeout_s=timeout_s, **parameters)
        return self._thread.run(asked)

    def stream(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Stream:
        """The completion as a stream of deltas; see `AsyncClient.stream`."""
        stream = self._client.stream(prompt, sampling, request_id=request_id, timeout_s=timeout_s, **parameters)
        return Stream(self._thread, stream)

    def chat(
        self,
        messages: Messages | str,
        sampling: Sampling | None = None,
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Completion:
        """The answer to chat messages; see `AsyncClient.chat`."""
        asked = self._client.chat(messages, sampling, request_id=request_id, timeout_s=timeout_s, **parameters)
        return self._thread.run(asked)

    def batch(
        self,
        requests: Iterable[Prompt | BatchRequest],
        sampling: Sampling | None = None,
        *,
        max_in_flight: int = 32,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Iterator[BatchResult]:
        """Results as they come; see `AsyncClient.batch`. `requests` is read on the client's thread: it must not block.

        Closing the iterator cancels what runs.
        """
        results = self._client.batch(requests, sampling, max_in_flight=max_in_flight, timeout_s=timeout_s, **parameters)
        return self._results(results)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str = EMBEDDING.name,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Embeddings:
        """The vectors of one text or of any number; see `AsyncClient.embed`."""
        return self._thread.run(self._client.embed(texts, model=model, request_id=request_id, timeout_s=timeout_s))

    def cancel(self, request_id: str) -> None:
        """End a running request by its id; see `AsyncClient.cancel`."""
        self._thread.run(self._client.cancel(request_id))

    def health(self) -> tuple[Health, ...]:
        """How each endpoint is."""
        return self._thread.run(self._client.health())

    def is_ready(self) -> bool:
        """Whether a server answers and the model can take requests."""
        return self._thread.run(self._client.is_ready())

    def models(self) -> tuple[ServedModel, ...]:
        """The models that the server has loaded; see `AsyncClient.models`."""
        return self._thread.run(self._client.models())

    def interface(self, model: str | None = None) -> ModelInterface:
        """What a model takes and gives; see `AsyncClient.interface`."""
        return self._thread.run(self._client.interface(model))

    def metrics(self) -> Metrics:
        """One reading of the server's metrics; see `AsyncClient.metrics`."""
        return self._thread.run(self._client.metrics())

    def close(self) -> None:
        """Close the connection and its thread; streams that other threads still read fail."""
        self._thread.run(self._client.settle())
        self._thread.cancel_all()
        self._thread.run(self._client.close())
        self._thread.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _results(self, results: AsyncIterator[BatchResult]) -> Iterator[BatchResult]:
        try:
            while (result := self._thread.run(_next(results))) is not None:
                yield result
        finally:
            if not self._thread.is_closing:
                self._thread.run(_close(results))


async def _next(results: AsyncIterator[BatchResult]) -> BatchResult | None:
    return await anext(results, None)


async def _close(results: Any) -> None:
    await results.aclose()
