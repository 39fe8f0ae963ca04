"""The model's own batch and one for each LoRA adapter in use, and who waits for which.

OpenVINO GenAI applies an adapter to a pipeline, not to a request, and its prefix cache does not tell adapters apart.
So an adapter gets a pipeline of its own, with its own KV cache: answers with different adapters are computed side by
side and never touch each other. It is loaded on first use, beside the running batches, and leaves when another needs
its place.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trident.engines.base import EngineStats
from trident.engines.openvino_batch import Batch, log
from trident.engines.openvino_config import load_pipeline
from trident.engines.openvino_guide_trial import GuideTrials
from trident.engines.openvino_limits import KV_BLOCK_TOKENS
from trident.engines.openvino_loras import read_loras
from trident.engines.openvino_messages import News, Submit
from trident.errors import EngineError, InvalidRequestError, ManifestError
from trident.manifest import Manifest


@dataclass(frozen=True)
class _Loading:
    name: str
    batch: Future[Batch]


class Batches:
    """Everything that one engine process runs. Not thread-safe."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Load the model, without adapters.

        Raises:
            ManifestError: OpenVINO refuses the files or an option, or an adapter does not fit.
        """
        self._directory = directory
        self._manifest = manifest
        self._guide_trials = GuideTrials(directory)
        self._lora_files = read_loras(directory, manifest)
        self._base = Batch(load_pipeline(directory, manifest), manifest)
        self._loras: dict[str, Batch] = {}  # by adapter, the least recently used first
        self._loading: _Loading | None = None
        self._leaving: str | None = None  # busy, and gets nothing new: another adapter waits for its place
        self._waiting: list[Submit] = []  # in order of arrival
        self._loader = ThreadPoolExecutor(1, "lora")
        self.num_preparing = 0  # sequences that wait for an adapter or a guide, and not for a place
        self._num_accepted_of_gone = 0  # draft tokens, of adapters that have left

    @property
    def is_waiting(self) -> bool:
        """Whether there is a sequence that has not joined a batch."""
        return bool(self._waiting)

    def busy(self) -> list[Batch]:
        """Batches that have something to step."""
        return [batch for batch in [self._base, *self._loras.values()] if batch.is_busy]

    def submit(self, item: Submit) -> None:
        """Line up; `admit` lets it join."""
        self._waiting.append(item)

    def cancel(self, key: int) -> News | None:
        """End a sequence early, wherever it is; None when it has ended."""
        is_found = any(batch.cancel(key) for batch in [self._base, *self._loras.values()])
        for item in self._waiting:
            if item.key == key:
                self._waiting.remove(item)
                is_found = True
                break
        return News(key, [], "cancelled") if is_found else None

    def admit(self) -> list[News]:
        """Let join who can, by adapter in order of arrival; news of those that are refused."""
        self.num_preparing = 0
        if not self._waiting:
            return []
        news: list[News] = []
        held: list[Submit] = []
        leaving: set[str | None] = {self._leaving} - {None}
        closed = set(leaving)  # adapters that nobody else joins in this round
        failed = self._take_loaded()
        for item in self._waiting:
            name = item.request.lora_name
            batch = self._base if name is None else self._loras.get(name)
            guide = item.request.guide
            trial = None if guide is None else self._guide_trials.verdict(guide)
            if name is not None and name == failed:
                news.append(News(item.key, [], EngineError(f"LoRA adapter '{name}' failed; see the server's log")))
            elif trial is not None and not trial.done():
                held.append(item)  # who stands behind it may go first
                self.num_preparing += 1
            elif trial is not None and trial.result() is not None:
                news.append(News(item.key, [], InvalidRequestError(f"guided_decoding_guide {trial.result()}")))
            elif batch is None or name in closed or not batch.has_room(item.request):
                closed.add(name)
                held.append(item)
                self.num_preparing += batch is None or name in leaving
            else:
                news += batch.add(item)
                if name is not None:
                    self._loras[name] = self._loras.pop(name)  # the most recently used is the last
        self._waiting = held
        self._see_to_places()
        return news

    def stats(self, num_steps: int) -> EngineStats:
        """All batches together, as of their last steps."""
        batches = [self._base, *self._loras.values()]
        all_stats = [batch.stats() for batch in batches]
        max_blocks = sum(batch.max_kv_blocks for batch in batches)
        num_accepted = self._num_accepted_of_gone + sum(batch.num_accepted_draft_tokens for batch in batches)
        return EngineStats(
            num_queued=len(self._waiting) + sum(stats.num_queued for stats in all_stats),
            num_running=sum(stats.num_running for stats in all_stats),
            kv_cache_fraction=sum(stats.num_used_blocks for stats in all_stats) / max_blocks,
            num_steps=num_steps,
            num_prefilling=sum(stats.num_prefilling for stats in all_stats),
            num_paused=sum(stats.num_paused for stats in all_stats),
            num_preparing=self.num_preparing,
            max_kv_blocks=max_blocks,
            kv_block_tokens=KV_BLOCK_TOKENS,
            num_accepted_draft_tokens=num_accepted if self._manifest.speculation else None,
        )

    def _see_to_places(self) -> None:
        """Load what is waited for, the longest first.

        Who waits when an adapter has been loaded joins it before it has to leave again: else two adapters that share
        a place would change after every request.
        """
        self._leaving = None
        for item in self._waiting:
            name = item.request.lora_name
            if name is not None and name not in self._loras and self._loading is None and self._make_place():
                self._loading = _Loading(name, self._loader.submit(self._load, name))

    def _make_place(self) -> bool:
        if len(self._loras) < self._manifest.max_loras:
            return True
        idle = next((name for name, batch in self._loras.items() if not batch.is_busy), None)
        if idle is None:
            self._leaving = self._leaving or next(iter(self._loras))
            return False
        self._num_accepted_of_gone += self._loras.pop(idle).num_accepted_draft_tokens
        return True

    def _load(self, name: str) -> Batch:
        pipeline = load_pipeline(self._directory, self._manifest, self._lora_files[name])
        return Batch(pipeline, self._manifest)

    def _take_loaded(self) -> str | None:
        """Put the adapter that has been loaded into its place; the name of one that failed."""
        if self._loading is None or not self._loading.batch.done():
            return None
        name, loaded = self._loading.name, self._loading.batch
        self._loading = None
        try:
            self._loras[name] = loaded.result()
        except ManifestError as exc:
            log(exc)
            return name
        return None
