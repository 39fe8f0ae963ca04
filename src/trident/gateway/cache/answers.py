"""An answer that was given before is given again, and what is being answered is waited for.

An identical request is looked for first, then one that asks the same in other words, where that is on. Of identical
requests at the same time one is sent on, the lead; the others get its answer when it has ended. When it ends badly, the
next of them becomes the lead, so that nobody gets another's failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trident.gateway.asked import Asked, Decision, Observer
from trident.gateway.cache.key import cache_key, is_deterministic
from trident.gateway.cache.semantic import Probe, SemanticCache
from trident.gateway.cache.store import Entry, Store
from trident.gateway.cache.verification import Verification
from trident.gateway.config import CacheSettings
from trident.gateway.prompt_text import whole_text
from trident_client.completion import Delta

_PREFIX_CHARS = 256


@dataclass(eq=False)
class Lead:
    """Who is sent on; `finish` is called once, however it ended."""

    key: str
    cache: AnswerCache
    asked: Asked
    model: str
    deployment: str
    waiting: asyncio.Future[tuple[Delta, ...] | None] = field(repr=False)
    probe: Probe | None = None  # its question, where others in other words may share the answer

    @property
    def reason(self) -> str:
        """Why no other answer served; empty: none was looked for."""
        return "" if self.probe is None else self.probe.reason

    def finish(self, deltas: Sequence[Delta] | None, deployment: str) -> None:
        """`deltas`: the whole answer, None where it is not whole; `deployment`: that gave it."""
        self.cache.end(self, None if deltas is None or deployment != self.deployment else tuple(deltas))


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from the cache."""

    key: str
    deltas: tuple[Delta, ...]
    how: str  # "exact", "shared" with a request that ran at the same time, or "semantic"
    reason: str = ""  # why it serves, where that is not plain


class AnswerCache:
    """Of one worker process. `engine_at` names what runs at a deployment; empty: not known, nothing is cached."""

    def __init__(
        self,
        settings: CacheSettings,
        engine_at: Callable[[str], str],
        store: Store | None = None,
        semantic: SemanticCache | None = None,
        verification: Verification | None = None,
    ) -> None:
        """`semantic` reads the answers of `store`; `verification` of its hits."""
        self.store = Store(settings.max_bytes) if store is None else store
        self.semantic = semantic
        self.verification = verification
        self.num_hits = {"exact": 0, "shared": 0, "semantic": 0}
        self.num_misses = 0
        self._settings = settings
        self._engine_at = engine_at
        self._leads: dict[str, Lead] = {}

    async def find(self, asked: Asked, decision: Decision) -> Hit | Lead | None:
        """The answer, or the lead for a request that has to be sent on; None: it has nothing to do with the cache."""
        if not self._may(asked) or not decision.candidates:
            return None
        deployment = decision.candidates[0]
        engine = self._engine_at(deployment)
        if not engine:
            return None
        key = cache_key(asked, decision.model, deployment, engine)
        while asked.cache != "no-cache":
            if (entry := self.store.get(key)) is not None:
                return self._hit(key, entry.deltas, "exact")
            if key not in self._leads:
                break
            deltas = await asyncio.shield(self._leads[key].waiting)
            if deltas is not None:
                return self._hit(key, deltas, "shared")
        waiting = asyncio.get_running_loop().create_future()
        lead = Lead(key, self, asked, decision.model, deployment, waiting)
        self._leads.setdefault(key, lead)
        hit = None if self.semantic is None else await self._find_alike(self.semantic, lead, engine)
        self.num_misses += hit is None
        return lead if hit is None else hit

    async def start(self) -> None:
        """Open what has to be open before the first request."""
        if self.semantic is not None:
            await self.semantic.start()

    async def close(self) -> None:
        """End what runs in the background."""
        if self.verification is not None:
            await self.verification.close()
        if self.semantic is not None:
            await self.semantic.close()

    @property
    def observers(self) -> Sequence[Observer]:
        """Who of it has to be told of every request."""
        return () if self.verification is None else (self.verification,)

    async def drop(self, **what: str) -> int:
        """Forget every answer, and every question, for which all that is given holds (`Store.drop`); how many."""
        keys = {entry.key for entry in self.store.drop(**what)}
        return len(keys if self.semantic is None else keys.union(await self.semantic.drop(**what)))

    def end(self, lead: Lead, deltas: tuple[Delta, ...] | None) -> None:
        """As `Lead.finish`."""
        if self._leads.get(lead.key) is lead:
            del self._leads[lead.key]
        worth = deltas if deltas is not None and is_worth_keeping(deltas) else None
        if worth is not None:
            self._keep(lead, worth)
        _tell(lead, worth)

    def _keep(self, lead: Lead, deltas: tuple[Delta, ...]) -> None:
        asked = lead.asked
        prompt = whole_text(asked.prompt)[:_PREFIX_CHARS]
        entry = Entry(
            lead.key, asked.identity.tenant, lead.model, prompt, asked.cache_tags, deltas, self._settings.ttl_s
        )
        if entry.size_bytes > self._settings.max_entry_bytes:
            return
        self.store.put(entry)
        if self.semantic is not None and lead.probe is not None:
            self.semantic.remember(entry, lead.probe)

    async def _find_alike(self, semantic: SemanticCache, lead: Lead, engine: str) -> Hit | None:
        """Those who ask the same as the lead wait meanwhile, and get what is found."""
        probe = lead.probe = semantic.probe(lead.asked, lead.model, lead.deployment, engine)
        if probe is None or lead.asked.cache == "no-cache":
            return None
        try:
            found = await semantic.find(probe)
        except BaseException:
            self.end(lead, None)
            raise
        if found is None:
            return None
        self._leads.pop(lead.key)
        _tell(lead, found.deltas)
        return self._hit(found.key, found.deltas, "semantic", probe.reason)

    def _may(self, asked: Asked) -> bool:
        if not self._settings.enabled or asked.cache == "no-store":
            return False
        return is_deterministic(asked) or asked.cache == "sampled" or self._settings.sampled

    def _hit(self, key: str, deltas: tuple[Delta, ...], how: str, reason: str = "") -> Hit:
        self.num_hits[how] += 1
        return Hit(key, deltas, how, reason)


def _tell(lead: Lead, deltas: tuple[Delta, ...] | None) -> None:
    if not lead.waiting.done():
        lead.waiting.set_result(deltas)


def is_worth_keeping(deltas: Sequence[Delta]) -> bool:
    """Whole, ended by itself, and untouched: no answer that was cut off, blocked or redacted, and no tool call.

    Nor one with logits: megabytes a token, which nobody asks for twice.
    """
    ends = [delta for delta in deltas if delta.finish_reason]
    sequences = {delta.sequence_index for delta in deltas}
    return (
        {delta.sequence_index for delta in ends} == sequences
        and all(delta.finish_reason == "stop" for delta in ends)
        and not any(delta.tool_calls for delta in deltas)
        and all(delta.context_logits is None and delta.generation_logits is None for delta in deltas)
        and not any(delta.report.get("checks") for delta in deltas)  # it holds those alone that changed something
    )
