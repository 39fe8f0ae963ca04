"""What the models of a server take, asked once and remembered for as long as the client lives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from trident.errors import EngineError, NotFoundError, TridentError, UnavailableError
from trident_client.interface import TRIDENT, ModelInterface, read_config, read_metadata
from trident_client.transport import Transport

UNTOLD = replace(TRIDENT, is_told=False)


class ServedModel(NamedTuple):
    """A model that a server has loaded."""

    name: str
    version: str
    num_inferences: int
    num_executions: int  # fewer, where requests were batched


class ModelReader:
    """By model; all endpoints serve the same ones, so whichever is asked first answers for all."""

    def __init__(self) -> None:
        self._known: dict[str, ModelInterface] = {}
        self._lock = asyncio.Lock()  # many requests may begin at once, and one question is enough

    async def read(self, transport: Transport, model: str, untold: ModelInterface = UNTOLD) -> ModelInterface:
        """The model's interface; `untold` where the server tells nothing, in which case it will be asked again.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        if model in self._known:
            return self._known[model]
        async with self._lock:
            if model not in self._known:
                found = await _ask(transport, model)
                if found is None:
                    return untold
                self._known[model] = found
        return self._known[model]


async def _ask(transport: Transport, model: str) -> ModelInterface | None:
    for ask, read in ((transport.config, read_config), (transport.metadata, read_metadata)):
        try:
            answer = await ask(model)
        except UnavailableError:
            raise
        except TridentError:
            continue  # no such model, which the request itself will hear; or a gateway that does not tell
        found = read(answer)
        if found.inputs:
            return found
    return None


async def served_models(transport: Transport) -> tuple[ServedModel, ...]:
    """Every model that the server has loaded, by name.

    Raises:
        NotFoundError: it does not tell; a gateway does not.
        TridentError: it cannot be reached.
    """
    try:
        answer = await transport.statistics()
    except (EngineError, NotFoundError) as exc:  # as gRPC and HTTP say that there is no such method
        raise NotFoundError(
            f"it does not tell its models ({exc.message}); a gateway has them at GET /v1/models"
        ) from exc
    return tuple(
        sorted(
            ServedModel(
                str(each.get("name", "")),
                str(each.get("version", "")),
                int(each.get("inference_count", 0)),
                int(each.get("execution_count", 0)),
            )
            for each in answer.get("model_stats", ())
        )
    )
