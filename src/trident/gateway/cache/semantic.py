"""The semantic cache: an answer to the same question in other words, where a second gate finds nothing against it.

Two requests are only compared when all but the text of their last user message is the same: that is their namespace.
Vectors must be nearer than the threshold and `semantic_gate.disagreement` must be empty. Whatever is slow or fails is
a miss. It keeps no answers where the exact cache beside it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from trident.errors import TridentError
from trident.gateway.asked import Asked
from trident.gateway.cache.embedder import Embed
from trident.gateway.cache.key import cache_key
from trident.gateway.cache.payload import read_payload, to_payload
from trident.gateway.cache.store import Entry, Store
from trident.gateway.cache.vectors import Item, Near, Vector, Vectors
from trident.gateway.config import SemanticSettings
from trident.gateway.patience import within
from trident.gateway.semantic_gate import disagreement
from trident_client.completion import Delta
from trident_client.request import Prompt, TemplatePrompt

_MAX_CHARS = 1000  # of a question: small embedding models read some 256 tokens, and what they do not read they share
_NUM_CANDIDATES = 8
_REST_S = 1.0  # after a failure, so that not every request waits for what is away
_MAX_BACKGROUND = 64  # vectors on their way to be kept; more are left out
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Probe:
    """A question, where others that have the same meaning would lie."""

    namespace: str
    tenant: str
    model: str
    question: str
    vector: Vector | None = None  # None: not embedded yet
    reason: str = ""  # why nothing, or what, was found; says nothing of what anybody else wrote


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to the same question in other words."""

    key: str
    deltas: tuple[Delta, ...]


class SemanticCache:
    """Of one worker process, beside the exact one whose answers are in `answers`."""

    def __init__(
        self,
        settings: SemanticSettings,
        vectors: Vectors,
        embed: Embed,
        answers: Store,
        threshold_of: Callable[[str], float | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`threshold_of`: a route's own, by its name."""
        self.num: Counter[str] = Counter()  # "hits", "refused" by the gate, "failures"
        self._settings = settings
        self._vectors = vectors
        self._embed = embed
        self._answers = answers
        self._threshold_of = threshold_of
        self._clock = clock
        self._patience_s = 10 * settings.timeout_s  # where nobody waits
        self._rests_until = -1.0
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the vectors; raises SettingsError when they cannot be."""
        await self._vectors.start()

    async def close(self) -> None:
        """What is on its way to be kept is let go."""
        for task in self._background:
            task.cancel()
        await self.settle()
        await self._vectors.close()

    async def settle(self) -> None:
        """Wait for what is on its way to be kept."""
        if self._background:
            await asyncio.wait(self._background)

    def probe(self, asked: Asked, model: str, deployment: str, engine: str) -> Probe | None:
        """None: it has passages, or no question of one text and a reasonable length. As of `cache_key`."""
        opened = _without_question(asked.prompt)
        if opened is None or asked.retrieval:  # passages bring the words of any question, so the gate would agree
            return None
        question, prompt = opened
        around = cache_key(replace(asked, prompt=prompt), model, deployment, engine)
        return Probe(f"{self._settings.model}:{around}", asked.identity.tenant, model, question)

    async def find(self, probe: Probe) -> Found | None:
        """The answer to the same question in other words; `probe.reason` says how near it was."""
        if self._clock() < self._rests_until:
            probe.reason = "resting after a failure"
            return None
        try:
            found = await within(self._look(probe), self._settings.timeout_s)
        except (TridentError, asyncio.TimeoutError) as exc:
            self._failed(exc)
            probe.reason = "could not look"
            return None
        if found is not None:
            self.num["hits"] += 1
        return found

    def remember(self, entry: Entry, probe: Probe) -> None:
        """Keep the question of an answer that was kept, in the background."""
        if len(self._background) >= _MAX_BACKGROUND or self._clock() < self._rests_until:
            return
        self._start(self._keep(entry, probe))

    async def drop(self, **what: str) -> Sequence[str]:
        """As `Vectors.drop`."""
        return await self._vectors.drop(**what)

    async def figures(self) -> Mapping[str, int | None]:
        """For an operator; `vectors` None: not known now."""
        count: int | None = None
        with contextlib.suppress(TridentError):
            count = await self._vectors.count()
        return {"vectors": count, **{name: self.num[name] for name in ("hits", "refused", "failures")}}

    async def _look(self, probe: Probe) -> Found | None:
        probe.vector = await self._vector(probe.question)
        own = self._threshold_of(probe.model)
        threshold = self._settings.threshold if own is None else own
        near = await self._vectors.nearest(_space(probe), probe.vector, _NUM_CANDIDATES)
        probe.reason = "nothing near"
        for number, each in enumerate(near):
            if each.tenant != probe.tenant or not each.cosine >= threshold:  # nor what is no number
                continue
            found, verdict = await self._judged(probe, each)
            if found is not None:
                probe.reason = f"cosine {each.cosine:.2f}, gate: agrees"
                return found
            if number == 0 and verdict:
                self.num["refused"] += 1
                probe.reason = f"cosine {each.cosine:.2f}, gate: {verdict}"
        return None

    async def _vector(self, question: str) -> Vector:
        whole = question.encode("utf-8", "replace").decode()  # half a surrogate pair has no UTF-8
        vector: Vector = (await self._embed([whole]))[0]
        return vector

    async def _judged(self, probe: Probe, near: Near) -> tuple[Found | None, str]:
        """The answer, or what kind of thing speaks against it."""
        try:
            question, deltas = read_payload(near.payload)
        except ValueError:
            await self._vectors.drop(key=near.key)
            return None, ""
        if verdict := disagreement(probe.question, question):
            return None, verdict.partition(":")[0]  # the rest quotes what was asked then
        entry = self._answers.get(near.key)
        if entry is not None and (entry.tenant, entry.model) == (probe.tenant, probe.model):
            return Found(near.key, entry.deltas), ""
        if deltas and self._vectors.is_shared:
            return Found(near.key, deltas), ""
        await self._vectors.drop(key=near.key)  # its answer has left
        return None, ""

    async def _keep(self, entry: Entry, probe: Probe) -> None:
        try:
            payload = to_payload(probe.question, entry.deltas if self._vectors.is_shared else ())
        except ValueError:
            return
        try:
            if probe.vector is None:
                probe.vector = await asyncio.wait_for(self._vector(probe.question), self._patience_s)
            item = Item(
                _space(probe), entry.key, probe.vector, payload, entry.ttl_s,
                tenant=entry.tenant, model=entry.model, prompt=entry.prompt, tags=entry.tags,
            )  # fmt: skip
            await self._vectors.add(item)
        except (TridentError, asyncio.TimeoutError) as exc:
            self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        self.num["failures"] += 1
        self._rests_until = self._clock() + _REST_S
        _log.info("the semantic cache rests: %s", str(exc) or "too slow")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _space(probe: Probe) -> str:
    """Vectors of another size are of another model."""
    return f"{probe.namespace}:{0 if probe.vector is None else len(probe.vector)}"


def _without_question(prompt: Prompt) -> tuple[str, Prompt] | None:
    """The last message's text where it is the user's and all there is of it, and the prompt without it."""
    if isinstance(prompt, (str, TemplatePrompt)) or not prompt:
        return None
    *before, last = prompt
    question = last.get("content")
    if last.get("role") != "user" or not isinstance(question, str) or not 0 < len(question.strip()) <= _MAX_CHARS:
        return None
    return question, [*before, {**last, "content": ["(the question)"]}]
