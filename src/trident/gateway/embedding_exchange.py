"""Texts to vectors through the gateway: an exchange like any other, whose answer comes whole.

Limits, routes, failover, breakers, deadlines and observers are `Exchange`'s. What it sees of the answer is one delta
without text that counts the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from trident.errors import EngineError, TridentError
from trident.gateway.asked import Asked
from trident.gateway.attempt import Attempt
from trident.gateway.deployment_state import Place
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident.gateway.upstreams import Upstreams
from trident_client import AsyncClient, Embeddings
from trident_client.completion import Delta
from trident_client.sampling import Sampling

_NOTHING_IS_GENERATED = Sampling(max_tokens=0)


def embeddings_asked(request_id: str, identity: Identity, model: str, texts: Sequence[str], user: str = "") -> Asked:
    """The request as routes, limits and observers see it; its prompt is all texts, a line each."""
    return Asked(
        request_id, identity, "embeddings", "embeddings", model, "\n".join(texts), _NOTHING_IS_GENERATED, user=user
    )


class EmbeddingExchange(Exchange):
    """`async with`, then `embeddings` once."""

    def __init__(self, asked: Asked, texts: Sequence[str], *parts: Any, **options: Any) -> None:
        """`parts` and `options`: as `Exchange` takes them after `asked`."""
        super().__init__(asked, *parts, **options, attempt_at=partial(_EmbeddingAttempt, texts=texts))

    async def embeddings(self) -> Embeddings:
        """The vectors of all texts.

        Raises:
            TridentError: no deployment could give them.
        """
        await self.completion()
        attempt = self._failover.attempt
        if not isinstance(attempt, _EmbeddingAttempt) or attempt.found is None:
            raise EngineError("the deployment gave no embeddings")
        return attempt.found


class _EmbeddingAttempt(Attempt):
    def __init__(self, deployment: str, place: Place, texts: Sequence[str]) -> None:
        super().__init__(deployment, place)
        self.found: Embeddings | None = None
        self._texts = texts
        self._client: AsyncClient | None = None
        self._request_id = ""
        self._timeout_s = 0.0

    async def open(self, upstreams: Upstreams, asked: Asked, timeout_s: float) -> None:
        """See `Attempt.open`."""
        try:
            self._client = upstreams[self.deployment]
        except TridentError as exc:
            raise self._judged(exc)  # noqa: B904 - the same one, or it has this as its cause
        self._request_id, self._timeout_s = asked.request_id, timeout_s

    async def read(self) -> Delta | None:
        """See `Attempt.read`: the first call brings everything."""
        if self._client is None or self.found is not None:
            return None
        try:
            found = await self._client.embed(self._texts, request_id=self._request_id, timeout_s=self._timeout_s)
        except TridentError as exc:
            raise self._judged(exc)  # noqa: B904 - as above
        self.found = found
        self._place.answered()
        return Delta("", "stop", num_input_tokens=sum(found.num_tokens), num_output_tokens=0)
