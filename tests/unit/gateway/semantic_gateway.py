"""A gateway of scripted deployments with both caches, and embeddings whose angles are known."""

import numpy as np

from tests.unit.gateway.scripted_upstream import CountingLimiter, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import UnavailableError
from trident.gateway.cache.answers import AnswerCache
from trident.gateway.cache.memory_vectors import MemoryVectors
from trident.gateway.cache.semantic import SemanticCache
from trident.gateway.cache.store import Store
from trident.gateway.cache.verification import Verification
from trident.gateway.config import CacheSettings, SemanticSettings
from trident.gateway.exchange import Exchange
from trident.gateway.router import Router

ROUTE = {"chat": {"deployments": {"main": 1, "spare": 0}}}
ASKED = "How do I reset my password?"
ALIKE = "What is the way to reset my password?"
# The angle of each text; texts that are not here point away from everything.
ANGLES = {
    ASKED: 0.0, ALIKE: 0.2, "How do I never reset my password?": 0.1, "How do I reset my password on 2 phones?": 0.1,
    "How can I reset my password?": 0.9, "yes": 0.0, "yes, it is": 0.3, "no": 1.5,
}  # fmt: skip


async def embed(texts):
    angles = [ANGLES.get(text, 3.0) for text in texts]
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)


async def fail(texts):
    raise UnavailableError("away")


class Semantic:
    """A gateway of scripted deployments with both caches. The clock stands still."""

    def __init__(self, embed=embed, vectors=None, threshold=None, chance=1.0, timeout_s=5, **scripts):
        self.upstreams = ScriptedUpstreams(**(scripts or {"main": words("a", "b")}))
        self.router = Router(config_of(ROUTE, main={"breaker": {"consecutive_failures": 1}}))
        self.engine = "e1"
        self.outcomes = []
        self.now = 0.0
        self.key = ""  # of the last answer
        store = Store(1 << 20)
        self.vectors = vectors or MemoryVectors(100)
        self.semantic = SemanticCache(
            SemanticSettings(enabled=True, model="e", timeout_s=timeout_s),
            self.vectors, embed, store, lambda _: threshold, lambda: self.now,
        )  # fmt: skip
        self.verification = Verification(
            0.5, embed, self.router, self.upstreams, timeout_s=5, chance=lambda: chance
        )  # fmt: skip
        settings = CacheSettings(enabled=True)
        self.cache = AnswerCache(settings, lambda _: self.engine, store, self.semantic, self.verification)

    def began(self, asked):
        pass

    def ended(self, outcome):
        self.outcomes.append(outcome)

    async def ask(self, question=ASKED, **changes):
        """The text, how the cache answered, and why. What has to be kept is kept afterwards."""
        prompt = changes.pop("prompt", [{"role": "user", "content": question}])
        observers = [self, *self.cache.observers]
        exchange = Exchange(
            asked_for(prompt=prompt, **changes), self.router, CountingLimiter(), self.upstreams, observers,
            timeout_s=5, background=set(), cache=self.cache,
        )  # fmt: skip
        async with exchange:
            text = "".join([delta.text async for delta in exchange])
            headers = exchange.headers()
        self.key = headers.get("x-trident-cache-key")
        await self.semantic.settle()
        return text, headers["x-trident-cache"], headers.get("x-trident-cache-reason", "")

    async def then(self, *questions, **changes):
        """How the cache answers each, after ASKED was answered."""
        await self.ask()
        return [(await self.ask(question, **changes))[1] for question in questions]

    @property
    def num_asked(self):
        return len(self.upstreams.asked)
