"""Deployments that follow a script, in place of `Upstreams`, and a limiter and an observer that remember."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from trident.errors import TridentError
from trident.gateway.asked import Asked
from trident.gateway.config_file import parse_config
from trident.gateway.exchange import Exchange
from trident.gateway.identity import ANONYMOUS
from trident.gateway.router import Router
from trident_client.completion import Delta
from trident_client.sampling import Sampling

# Two deployments, the second for when the first fails.
TWO = {"chat": {"deployments": {"main": 1}, "fallbacks": ["spare"], "price": {"output_per_million": 1e6}}}


def config_of(models, rules=(), **deployments):
    """A gateway's file; deployments that are not described are at an address of their own."""
    names = {name for model in models.values() for key in ("deployments", "fallbacks") for name in model.get(key, ())}
    names |= {model["shadow"] for model in models.values() if "shadow" in model}
    described = {name: {"url": f"{name}:8001", **deployments.get(name, {})} for name in {*names, *deployments}}
    return parse_config({"deployments": described, "models": models, "rules": list(rules)}, environ={})


def asked_for(model="chat", prompt="hello", identity=ANONYMOUS, **changes):
    asked = Asked(str(uuid4()), identity, "chat", "chat", model, prompt, Sampling(max_tokens=16))
    sampling = changes.pop("sampling", None)
    return replace(asked, **changes, **({} if sampling is None else {"sampling": sampling}))


def words(*texts, finish_reason="stop"):
    """A whole answer."""
    *first, last = texts
    return [*(Delta(text) for text in first), Delta(last, finish_reason, 4, len(texts))]


class ScriptedStream:
    """Deltas are given, errors raised, numbers waited for (turns of the event loop), "hang" is for ever."""

    def __init__(self, script, upstream, request_id):
        self._script = iter(script)
        self._upstream = upstream
        self.request_id = request_id
        self.is_closed = False

    def __aiter__(self):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()

    async def __anext__(self):
        for step in self._script:
            if self.is_closed:
                break
            if step == "hang":
                await asyncio.Event().wait()
            elif isinstance(step, int):
                for _ in range(step):
                    await asyncio.sleep(0)
            elif isinstance(step, TridentError):
                raise step
            else:
                return step
        raise StopAsyncIteration

    async def aclose(self):
        self.is_closed = True
        for _ in range(3):  # until the engine has answered the cancel
            await asyncio.sleep(0)


class ScriptedUpstreams:
    """`scripts`: by deployment, what it says to every request, or a list of scripts for one request after the other."""

    def __init__(self, **scripts):
        self.scripts = scripts
        self.asked = []  # (deployment, prompt, sampling, request id, seconds), as they came
        self.streams = []
        self.cancelled = []  # (deployment, request id)

    def cancel_soon(self, name, request_id):
        self.cancelled.append((name, request_id))

    def sampling_at(self, name, asked):
        return asked.sampling

    def __getitem__(self, name):
        return ScriptedClient(name, self)


class ScriptedClient:
    def __init__(self, name, upstreams):
        self._name = name
        self._upstreams = upstreams

    def stream(self, prompt, sampling=None, *, request_id=None, timeout_s=None):
        self._upstreams.asked.append((self._name, prompt, sampling, request_id, timeout_s))
        script = self._upstreams.scripts[self._name]
        if script and isinstance(script[0], list):
            script = script.pop(0) if len(script) > 1 else script[0]
        stream = ScriptedStream(script, self._upstreams, request_id)
        self._upstreams.streams.append(stream)
        return stream

    async def cancel(self, request_id):
        self._upstreams.cancelled.append((self._name, request_id))


class CountingLimiter:
    """Lets everything in, in its own time; remembers what was settled."""

    def __init__(self, refusal=None, turns=0):
        self.refusal = refusal
        self.turns = turns
        self.num_reserved = 0
        self.settled = []
        self.expected = []

    async def reserve(self, identity, num_tokens, cost):
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        self.num_reserved += 1
        self.expected.append((num_tokens, cost))
        return CountingReservation(self)


class CountingReservation:
    def __init__(self, limiter):
        self._limiter = limiter

    def headers(self):
        return {"x-ratelimit-limit-requests": "5"}

    async def settle(self, num_tokens, cost):
        await asyncio.sleep(0)
        self._limiter.settled.append((num_tokens, cost))


class RememberingObserver:
    def __init__(self):
        self.began_with = []
        self.outcomes = []

    def began(self, asked):
        self.began_with.append(asked)

    def ended(self, outcome):
        self.outcomes.append(outcome)


class Bench:
    """An exchange's surroundings. `exchange` makes one."""

    def __init__(self, upstreams, config, limiter=None, chance=lambda: 0.5, timeout_s=60.0):
        self.upstreams = upstreams
        self.router = Router(config, chance=chance)
        self.limiter = limiter or CountingLimiter()
        self.observer = RememberingObserver()
        self.background = set()
        self.timeout_s = timeout_s

    def exchange(self, asked=None):
        return Exchange(
            asked or asked_for(), self.router, self.limiter, self.upstreams, [self.observer],
            timeout_s=self.timeout_s, background=self.background,
        )  # fmt: skip

    async def read(self, asked=None):
        """Every text of one exchange, and the exchange after its end."""
        async with self.exchange(asked) as exchange:
            texts = [delta.text async for delta in exchange]
        return texts, exchange

    async def settle(self):
        while self.background:
            await asyncio.wait(self.background)

    @property
    def outcome(self):
        (outcome,) = self.observer.outcomes
        return outcome
