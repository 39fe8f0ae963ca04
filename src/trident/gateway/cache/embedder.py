"""The gateway's own texts as vectors, by the model that one of its routes names; nobody is charged for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from trident.errors import EngineError, QueueFullError, TridentError, UnavailableError
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams
from trident_client import Embeddings

# Texts -> float32[texts, dimensions], each of length 1; raises TridentError.
Embed = Callable[[Sequence[str]], Awaitable[npt.NDArray[np.float32]]]
_TIMEOUT_S = 10.0  # of what nobody waits for; who waits has a deadline of its own


class RouteEmbedder:
    """An `Embed`: the route's deployments are asked in its order until one answers."""

    def __init__(self, model: str, router: Router, upstreams: Upstreams) -> None:
        self._model = model
        self._router = router
        self._upstreams = upstreams

    async def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The vectors; errors as of `read`."""
        return (await self.read(texts)).vectors

    async def read(self, texts: Sequence[str]) -> Embeddings:
        """The vectors, and how many tokens of each text the model read.

        Raises:
            TridentError: no deployment could give them.
        """
        failure: TridentError | None = None
        _, route = self._router.route_of(self._model)
        for name in route.deployment_names():
            try:
                found = await self._ask(name, texts)
                return Embeddings(unit_vectors(found.vectors), found.num_tokens)
            except (UnavailableError, QueueFullError, EngineError) as exc:
                failure = exc
        raise failure or UnavailableError(f"the model {self._model} has no deployment")

    async def _ask(self, name: str, texts: Sequence[str]) -> Embeddings:
        place = self._router.enter(name)
        try:
            found = await self._upstreams[name].embed(texts, request_id=str(uuid4()), timeout_s=_TIMEOUT_S)
        except UnavailableError:
            place.failed()
            raise
        else:
            place.answered()
            return found
        finally:
            place.leave()


def unit_vectors(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each of length 1; raises EngineError where one has no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths):
        raise EngineError("the embedding model gave a vector without a direction")
    return np.asarray(vectors / lengths, np.float32)
