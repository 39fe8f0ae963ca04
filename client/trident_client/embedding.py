"""Texts to vectors: the requests to a model like `embedding`, where they are sent, and what comes back.

It knows nothing of the wire.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trident.contract import EMBEDDING, MAX_EMBEDDING_TEXTS
from trident.errors import InvalidRequestError, TridentError, UnavailableError
from trident_client.request import Request
from trident_client.retry import Retry
from trident_client.tensor import Input

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from trident_client.pool import Endpoint, Pool

_MAX_IN_FLIGHT = 2  # requests of one call: the model works on one while the other travels


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Of texts, in their order."""

    vectors: npt.NDArray[np.float32]  # float32[texts, dimensions], each of length 1
    num_tokens: tuple[int, ...]  # that were read of each text; what a model does not read is cut off


def build_embeddings(request_id: str, model: str, texts: str | Sequence[str]) -> list[Request]:
    """Requests for the vectors of one text or of several, as many as one request may carry in each.

    Raises:
        InvalidRequestError: there is no text, or one is none.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed:
        raise InvalidRequestError("there is no text to embed")
    return [
        Request(request_id, model, (_input(piece),), is_streaming=False)
        for piece in (listed[at : at + MAX_EMBEDDING_TEXTS] for at in range(0, len(listed), MAX_EMBEDDING_TEXTS))
    ]


def _input(texts: Sequence[str]) -> Input:
    return Input(EMBEDDING.inputs[0].name, "STRING", tuple(texts), (len(texts), 1), is_batched=False)


async def embed_all(requests: Sequence[Request], pool: Pool, retry: Retry) -> Embeddings:
    """The answers to all, as one; the first that fails ends the others."""
    import numpy as np  # noqa: PLC0415 - only who asks for vectors waits for it

    places = asyncio.Semaphore(_MAX_IN_FLIGHT)

    async def ask(request: Request) -> Embeddings:
        async with places:
            return await _embed(request, pool, retry)

    tasks = [asyncio.create_task(ask(request)) for request in requests]
    try:
        parts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
    return Embeddings(vectors, tuple(number for part in parts for number in part.num_tokens))


async def _embed(request: Request, pool: Pool, retry: Retry) -> Embeddings:
    tried: list[Endpoint] = []
    for num_retries in itertools.count():
        endpoint = pool.choose(tried)
        endpoint.num_running += 1
        try:
            found = await endpoint.transport.embed(request)
        except TridentError as exc:
            if isinstance(exc, UnavailableError):
                pool.failed(endpoint)
            if not retry.allows(exc, num_retries, has_begun=False):
                raise
        else:
            pool.answered(endpoint)
            return found
        finally:
            endpoint.num_running -= 1
        tried.append(endpoint)
        if not pool.has_another(tried):
            await asyncio.sleep(retry.wait_s(num_retries, random.random))
            tried.clear()
    raise AssertionError("counting never ends")
