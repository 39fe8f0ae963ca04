"""One generation from its admission to its end: limits, route, cache, deltas, and the outcome for who watches.

Every API of the gateway generates through an `Exchange`; none speaks to Triton by itself. It always streams upstream,
so that a client that leaves frees its slot whatever it asked for. Another deployment is asked only while nothing of
the answer has been given away, and never for what the client did wrong. One state machine, hence one long file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

from trident.errors import DeadlineExceededError, EngineError, TridentError
from trident.gateway.asked import Asked, Decision, Observer, Outcome
from trident.gateway.attempt import Attempt
from trident.gateway.cache.answers import AnswerCache, Hit, Lead
from trident.gateway.failover import AttemptAt, Failover
from trident.gateway.limiter import Limiter, Reservation
from trident.gateway.patience import within
from trident.gateway.prices import cost_of, count, expected_tokens
from trident.gateway.response_headers import cache_headers, route_headers
from trident.gateway.router import Router
from trident.gateway.routing_rules import Price
from trident.gateway.upstream_errors import DEPLOYMENT_FAILURES
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion, Delta, assemble


class Exchange:
    """A context manager. Leaving it early cancels the request on Triton; the second iteration gives nothing.

    `start` waits for the first delta, so that what fails before it can still be an HTTP error. Who gives up while
    `start` runs cancels its task. `background` holds the ends of exchanges, which go on when their callers are
    cancelled; whoever made it waits for them before it closes anything.
    """

    def __init__(
        self,
        asked: Asked,
        router: Router,
        limiter: Limiter,
        upstreams: Upstreams,
        observers: Sequence[Observer],
        *,
        timeout_s: float,
        background: set[asyncio.Task[None]],
        cache: AnswerCache | None = None,
        attempt_at: AttemptAt = Attempt,
    ) -> None:
        """`timeout_s`: of the whole request, from its start; `cache`: asked before any deployment is."""
        self.outcome = Outcome(asked)
        self._asked = asked
        self._router = router
        self._limiter = limiter
        self._failover = Failover(self.outcome, router, upstreams, attempt_at)
        self._observers = observers
        self._timeout_s = timeout_s
        self._background = background
        self._cache = cache
        self._found: Hit | Lead | None = None  # in the cache; the lead: others wait for this answer
        self._replay: Iterator[Delta] | None = None  # of the hit
        self._prices: dict[str, Price] = {}  # by model, as they were when it was decided
        self._reservation: Reservation | None = None
        self._first: Delta | None = None
        self._deltas: list[Delta] = []
        self._num_ended = 0  # sequences
        self._has_ended = False
        self._was_read = False  # a delta was given away
        self._began = 0.0
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Admit the request, choose a deployment that answers, and wait for the first of the answer.

        Raises:
            TridentError: not allowed, not now, no such model, or no deployment could begin. It is closed then.
        """
        self._began, self.outcome.started_at = time.monotonic(), time.time()
        try:
            await self._admit()
            if not await self._is_cached():
                await self._open()
        except BaseException as exc:
            await self.aclose(exc)
            raise

    def headers(self) -> Mapping[str, str]:
        """Of the response: limits, deployment and the reasons of the route, and what the cache did."""
        limits = {} if self._reservation is None else self._reservation.headers()
        cached = {} if self._cache is None else cache_headers(self._found)
        return {**limits, **route_headers(self.outcome), **cached}

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> Delta:
        """The next delta.

        Raises:
            TridentError: the generation failed in its midst; there is nothing after it.
        """
        try:
            delta = await self._next()
        except TridentError as exc:
            self.outcome.error = exc
            raise
        if delta is None:
            raise StopAsyncIteration
        self._was_read = True
        return delta

    async def completion(self) -> Completion:
        """The whole answer, for who does not stream: when it breaks off, another deployment is asked for it anew.

        Raises:
            TridentError: no deployment could give it.
        """
        try:
            while True:
                try:
                    while await self._next() is not None:
                        pass
                except DEPLOYMENT_FAILURES as exc:
                    await self._open_again(exc)
                else:
                    return assemble(self._asked.request_id, self._deltas)
        except TridentError as exc:
            self.outcome.error = exc
            raise

    async def stop(self) -> None:
        """Somebody asks for its end: whoever reads it gets what there is, with the finish reason "cancelled".

        Raises:
            UnavailableError: its deployment cannot be reached.
        """
        if self._closing is None:
            await self._failover.stop()

    async def aclose(self, error: BaseException | None = None) -> None:
        """End it, however far it came; `error`: why, where it is neither the end nor a failure of the deployment.

        Goes on when its caller is cancelled. The second call does nothing but wait.
        """
        if self._closing is None:
            self._note(error)
            self._closing = asyncio.get_running_loop().create_task(self._finish())
            self._background.add(self._closing)
            self._closing.add_done_callback(self._background.discard)
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Exchange:
        """Started; errors as of `start`."""
        await self.start()
        return self

    async def __aexit__(self, _: object, exc: BaseException | None, __: object) -> None:
        await self.aclose(exc)

    async def _admit(self) -> None:
        asked = self._asked
        _, route = self._router.route_of(asked.model, asked.identity)
        route.check(asked)
        decision = self.outcome.decision = self._router.decide(asked, await self._router.labels_of(asked))
        chain = [decision, *([] if decision.escalation is None else [decision.escalation])]
        self._failover.follow(chain)
        self._prices = {each.model: self._router.route_of(each.model)[1].price for each in chain}
        expected = expected_tokens(asked)
        cost = max(cost_of(price, *expected) for price in self._prices.values())
        self._reservation = await self._limiter.reserve(asked.identity, sum(expected), cost)
        for observer in self._observers:
            observer.began(asked)

    async def _is_cached(self) -> bool:
        """Whether the answer is there already; else others may wait for this one."""
        decision = self.outcome.decision
        if self._cache is None or decision is None:
            return False
        try:
            await within(self._look_up(self._cache, decision), self._remaining_s())
        except asyncio.TimeoutError as exc:
            raise self._too_late() from exc
        found = self._found
        if not isinstance(found, Hit):
            return False
        self._replay, self.outcome.cache = iter(found.deltas), found.how
        self.outcome.ttft_s = time.monotonic() - self._began
        return True

    async def _look_up(self, cache: AnswerCache, decision: Decision) -> None:
        """Kept here at once: whoever is cancelled in the very moment in which it becomes the lead still ends it."""
        self._found = await cache.find(self._asked, decision)

    async def _open(self, failure: TridentError | None = None) -> None:
        self._first = await self._failover.open(self._remaining_s, failure)
        self._has_ended = self._first is None
        self.outcome.ttft_s = time.monotonic() - self._began

    async def _open_again(self, failure: TridentError) -> None:
        if self._was_read or self._closing is not None:
            raise failure
        await self._failover.give_up(failure)
        self._deltas.clear()
        self._num_ended = 0
        await self._open(failure)

    async def _next(self) -> Delta | None:
        """None after the last, and once it is closed."""
        delta = None if self._has_ended else await self._read()
        if delta is None:
            self._has_ended = self._has_ended or self._closing is None
            return None
        self._deltas.append(delta)
        self._num_ended += bool(delta.finish_reason)
        return delta

    async def _read(self) -> Delta | None:
        if self._first is not None:
            delta, self._first = self._first, None
            return delta
        if self._closing is not None:
            return None
        return await self._failover.read() if self._replay is None else next(self._replay, None)

    def _remaining_s(self) -> float:
        remaining_s = self._timeout_s - (time.monotonic() - self._began)
        if remaining_s <= 0:
            raise self._too_late()
        return remaining_s

    def _too_late(self) -> DeadlineExceededError:
        return DeadlineExceededError(f"deadline exceeded: the request's {self._timeout_s:g} s are over")

    def _note(self, error: BaseException | None) -> None:
        """How it ended, before what still runs is ended."""
        outcome = self.outcome
        if isinstance(error, TridentError):
            outcome.error = error
        elif isinstance(error, Exception) and not isinstance(error, OSError):  # which a client's connection raises
            outcome.error = EngineError(f"the gateway failed: {type(error).__name__}")
            outcome.error.__cause__ = error
        is_whole = self._has_ended or self._num_ended >= (self._asked.sampling.num_return_sequences or 1)
        outcome.is_cancelled = outcome.error is None and not is_whole
        outcome.duration_s = time.monotonic() - self._began

    async def _finish(self) -> None:
        try:
            await self._failover.end()
        finally:
            await self._settle()

    async def _settle(self) -> None:
        """Whatever else fails: who waits for this answer hears of it, and the reservation is given back."""
        outcome = self.outcome
        try:
            outcome.engine_s = self._failover.engine_s
            if outcome.decision is not None:
                count(outcome, self._deltas, self._prices[outcome.decision.model])
        finally:
            if isinstance(self._found, Lead):
                is_whole = self._has_ended and outcome.error is None
                self._found.finish(self._deltas if is_whole else None, outcome.deployment)
            if self._reservation is not None:
                num_tokens = 0 if outcome.cache else outcome.num_input_tokens + outcome.num_output_tokens
                await self._reservation.settle(num_tokens, outcome.cost)
                for observer in self._observers:
                    observer.ended(outcome)
