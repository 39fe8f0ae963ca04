"""What a model's deployments say beside generating: token ids of a prompt, texts of ids, how long a completion may be.

Asked of the text models of whichever deployment answers, as all of one model have the same tokenizer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trident.errors import NotFoundError, TridentError, UnavailableError, UnsupportedParameterError
from trident.gateway.router import Router
from trident.gateway.upstream_errors import DEPLOYMENT_FAILURES, as_told
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion, Delta
from trident_client.request import Messages, Request
from trident_client.sampling import DEFAULT_MAX_TOKENS
from trident_client.tokenization import (
    TokenTexts,
    build_detokenize,
    build_length_probe,
    build_special_probe,
    build_tokenize,
    read_max_output_tokens,
    read_pieces,
    read_special_tokens,
    read_texts,
    read_token_ids,
)
from trident_client.transport import Outputs

_REMEMBERED_S = 60.0  # another version of the engine may take longer completions
_MAX_NAMES = 1 << 16
_PATIENCE_S = 10.0  # for one deployment, whose text models answer in milliseconds or hang


class TextModels:
    """Of every model of the gateway. `clock`: seconds, of any beginning; `patience_s`: for one deployment's answer."""

    def __init__(
        self,
        router: Router,
        upstreams: Upstreams,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._router = router
        self._upstreams = upstreams
        self._clock = clock
        self._patience_s = patience_s
        self._lengths: dict[str, tuple[float, int]] = {}  # by model: until when it is believed, tokens
        self._names: dict[str, tuple[float, dict[int, bytes]]] = {}  # likewise, by token id

    async def token_ids(
        self,
        model: str,
        request_id: str,
        prompt: str | Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        has_special_tokens: bool = True,
        max_tokens: int = 1,
    ) -> tuple[int, ...]:
        """As a generation of the model would read the prompt, before a completion of at most `max_tokens`.

        Raises:
            TridentError: the model's refusal of the prompt, or no deployment can answer.
        """
        request = build_tokenize(
            request_id, prompt, tools=tools, chat_template_kwargs=chat_template_kwargs, max_tokens=max_tokens
        )
        ids = read_token_ids(await self._ask(model, request))
        if has_special_tokens:
            return ids
        before, behind = read_special_tokens(await self._ask(model, build_special_probe(request_id)))
        return ids[before : len(ids) - behind]

    async def texts(self, model: str, request_id: str, token_ids: Sequence[int]) -> TokenTexts:
        """The text of ids, and of each of them; errors as of `token_ids`."""
        return read_texts(token_ids, await self._ask(model, build_detokenize(request_id, token_ids)))

    async def names(self, model: str, request_id: str, token_ids: Sequence[int]) -> Mapping[int, bytes]:
        """The bytes that each id adds in the midst of a text; errors as of `token_ids`."""
        until, known = self._names.get(model, (0.0, {}))
        if self._clock() >= until or len(known) > _MAX_NAMES:
            known = {}
            self._names[model] = (self._clock() + _REMEMBERED_S, known)
        if missing := [token_id for token_id in token_ids if token_id not in known]:
            # The first stands twice, because a text begins otherwise than it goes on.
            pieces = read_pieces(await self._ask(model, build_detokenize(request_id, [missing[0], *missing])))
            known.update(zip(missing, pieces[1:], strict=True))
        return known

    async def names_in(self, model: str, request_id: str, *answers: Delta | Completion) -> Mapping[int, bytes]:
        """Likewise, of the likeliest tokens that the answers tell by their ids; asks nobody where there are none."""
        ids = {token_id for answer in answers for row in answer.top_ids for token_id in row if token_id >= 0}
        return await self.names(model, request_id, sorted(ids)) if ids else {}

    async def longest_completion(self, model: str, request_id: str) -> int:
        """Tokens: what the model's route and its engine allow; `DEFAULT_MAX_TOKENS` where neither says.

        Raises:
            NotFoundError: there is no such model.
        """
        _, route = self._router.route_of(model)
        until, longest = self._lengths.get(model, (0.0, DEFAULT_MAX_TOKENS))
        if self._clock() >= until:
            try:
                await self._ask(model, build_length_probe(request_id))
            except DEPLOYMENT_FAILURES:
                pass  # the generation itself will say so
            except TridentError as exc:
                longest = read_max_output_tokens(exc) or DEFAULT_MAX_TOKENS
                self._lengths[model] = (self._clock() + _REMEMBERED_S, longest)
        return min(longest, route.max_tokens or longest)

    async def _ask(self, model: str, request: Request) -> Outputs:
        _, route = self._router.route_of(model)
        refusal: TridentError = UnavailableError(f"no deployment of '{model}' can answer now; ask again later")
        for name in (*route.deployments, *route.fallbacks):
            try:
                return await asyncio.wait_for(self._upstreams[name].infer(request), self._patience_s)
            except asyncio.TimeoutError:
                refusal = UnavailableError(f"the text models of {name} gave no answer in {self._patience_s:g} s")
            except NotFoundError as exc:
                message = f"the deployments of '{model}' do not tokenize by themselves"
                raise UnsupportedParameterError(message) from exc
            except TridentError as exc:
                refusal = as_told(exc, name)
                if not isinstance(refusal, DEPLOYMENT_FAILURES):
                    raise refusal  # noqa: B904 - the same one, or it has this as its cause
        raise refusal
