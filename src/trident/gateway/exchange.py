"""One generation from its admission to its end: limits, route, failover, deltas, and the outcome for who watches.

Every API of the gateway generates through an `Exchange`; none speaks to Triton by itself. It always streams upstream,
so that a client that leaves frees its slot whatever it asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trident.errors import EngineError, QueueFullError, TridentError, UnavailableError
from trident.gateway.asked import Asked, Decision, Observer, Outcome
from trident.gateway.limiter import Limiter, Reservation
from trident.gateway.prices import cost_of
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion, Delta, assemble
from trident_client.stream import AsyncStream

_BYTES_PER_TOKEN = 3  # of the estimate that is reserved; the engine's own count is settled


class Exchange:
    """A context manager. Leaving it early cancels the request on Triton; the second iteration gives nothing.

    `start` waits for the first delta, so that what fails before it can still be an HTTP error.
    """

    def __init__(
        self, asked: Asked, router: Router, limiter: Limiter, upstreams: Upstreams, observers: Sequence[Observer]
    ) -> None:
        self.outcome = Outcome(asked)
        self._asked = asked
        self._router = router
        self._limiter = limiter
        self._upstreams = upstreams
        self._observers = observers
        self._reservation: Reservation | None = None
        self._stream: AsyncStream | None = None
        self._first: Delta | None = None
        self._deltas: list[Delta] = []
        self._has_ended = False
        self._began = 0.0

    async def start(self) -> None:
        """Admit the request, choose a deployment that answers, and wait for the first of the answer.

        Raises:
            TridentError: not allowed, not now, no such model, or no deployment could begin.
        """
        self._began, self.outcome.started_at = time.monotonic(), time.time()
        decision = self.outcome.decision = self._router.decide(self._asked)
        _, route = self._router.route_of(decision.model)
        expected = _expected_tokens(self._asked)
        self._reservation = await self._limiter.reserve(
            self._asked.identity, sum(expected), cost_of(route.price, *expected)
        )
        for observer in self._observers:
            observer.began(self._asked)
        await self._open(decision)

    def headers(self) -> Mapping[str, str]:
        """Of the response: limits, deployment and the reason of the route."""
        limits = {} if self._reservation is None else dict(self._reservation.headers())
        decision = self.outcome.decision
        why = {} if decision is None else {"x-trident-route": "; ".join(decision.reasons)}
        return {**limits, "x-trident-deployment": self.outcome.deployment, **why}

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> Delta:
        """The next delta.

        Raises:
            TridentError: the generation failed in its midst; there is nothing after it.
        """
        if self._first is not None:
            delta, self._first = self._first, None
        else:
            if self._stream is None:
                raise StopAsyncIteration
            try:
                delta = await self._stream.__anext__()
            except TridentError as exc:
                self.outcome.error = exc
                raise
            except StopAsyncIteration:
                self._has_ended = True
                raise
        self._deltas.append(delta)
        return delta

    async def completion(self) -> Completion:
        """The whole answer, for who does not stream."""
        async for _ in self:
            pass
        return assemble(self._asked.request_id, self._deltas)

    async def __aenter__(self) -> Exchange:
        """Started already; errors as of `start`."""
        try:
            await self.start()
        except BaseException as exc:
            self.outcome.error = exc if isinstance(exc, TridentError) else None
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _open(self, decision: Decision) -> None:
        refusal: TridentError = UnavailableError(f"no deployment of '{decision.model}' can answer now; ask again later")
        for number, name in enumerate(decision.candidates):
            self.outcome.deployment, self.outcome.num_retries = name, number
            stream = self._upstreams[name].stream(
                self._asked.prompt, self._asked.sampling, request_id=self._asked.request_id
            )
            try:
                self._first = await stream.__anext__()
            except StopAsyncIteration:
                self._has_ended = True
            except (UnavailableError, QueueFullError, EngineError) as exc:
                refusal = exc
                self._router.failed(name)
                continue
            except BaseException:
                await stream.aclose()
                raise
            self._router.answered(name)
            self._stream = stream
            self.outcome.ttft_s = time.monotonic() - self._began
            return
        raise refusal

    async def _close(self) -> None:
        outcome = self.outcome
        if self._stream is not None:
            await self._stream.aclose()
        if self._deltas:
            outcome.completion = assemble(self._asked.request_id, self._deltas)
        outcome.is_cancelled = outcome.error is None and not self._has_ended
        outcome.duration_s = time.monotonic() - self._began
        self._count()
        if self._reservation is not None:
            await self._reservation.settle(outcome.num_input_tokens + outcome.num_output_tokens, outcome.cost)
        for observer in self._observers:
            observer.ended(outcome)

    def _count(self) -> None:
        """Tokens and money; of an answer that was cut off, the estimate of what it had cost."""
        outcome = self.outcome
        completion = outcome.completion
        if completion is None or outcome.decision is None:
            return
        sequences = (completion, *completion.others)
        counted = completion.num_input_tokens
        outcome.num_input_tokens = _expected_tokens(self._asked)[0] if counted is None else counted
        outcome.num_output_tokens = sum(
            _tokens_in(each.text) if each.num_output_tokens is None else each.num_output_tokens for each in sequences
        )
        outcome.num_cached_tokens = completion.num_cached_tokens or 0
        _, route = self._router.route_of(outcome.decision.model)
        outcome.cost = cost_of(
            route.price, outcome.num_input_tokens, outcome.num_output_tokens, outcome.num_cached_tokens
        )


def _expected_tokens(asked: Asked) -> tuple[int, int]:
    """Of the prompt, about, and of the completion, at most."""
    prompt = asked.prompt
    text = prompt if isinstance(prompt, str) else "".join(str(message.get("content", "")) for message in prompt)
    return _tokens_in(text), asked.sampling.max_tokens * (asked.sampling.num_return_sequences or 1)


def _tokens_in(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def asked_again(asked: Asked, request_id: str) -> Asked:
    """The same for another deployment: the copy that a shadow gets."""
    return replace(asked, request_id=request_id)
