"""Both LLM classes: arguments are checked as the real ones check them, and a thread iterates as their workers do."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tensorrt_llm.args import KvCacheConfig, SchedulerConfig, TorchLlmArgs, TrtLlmArgs
from tensorrt_llm.batch import Batch, DeadlyError, Live, Step
from tensorrt_llm.executor import CppExecutorError, LoRARequest
from tensorrt_llm.output import RequestOutput
from tensorrt_llm.sampling import SamplingParams

ITERATION_S = 0.001
loaded: list[_LLM] = []  # for tests that look into them


class _LLM:
    is_pytorch: bool
    args_class: type

    def __init__(self, model: str, **kwargs: Any) -> None:
        kwargs.setdefault("kv_cache_config", KvCacheConfig())
        kwargs.setdefault("scheduler_config", SchedulerConfig())
        self.args = self.args_class(model=model, **kwargs)
        self._check_arguments()
        self._tokenizer = None if self.args.skip_tokenizer_init else self._load_tokenizer()
        self.batch = Batch(self.args, self.is_pytorch)
        self._ids = itertools.count(1)
        self._woken = threading.Condition()
        self._live: dict[int, RequestOutput] = {}
        self._is_shutdown = False
        self._stats: _Stats | None = None
        self.lora_requests: list[LoRARequest] = []
        self.sampling_params: list[SamplingParams] = []
        self._thread = threading.Thread(target=self._run, name="double", daemon=True)
        self._thread.start()
        loaded.append(self)

    def _check_arguments(self) -> None:
        if not Path(self.args.model).is_dir():
            raise ValueError(f"model {self.args.model} does not exist")
        if self.args.kv_cache_config.dtype != "auto" and not self.is_pytorch:
            raise ValueError("kv_cache_config.dtype must be 'auto'")

    def _load_tokenizer(self) -> Path:
        folder = Path(self.args.tokenizer or self.args.model)
        if not (folder / "tokenizer.json").is_file():
            raise OSError(f"Can't load tokenizer for '{folder}'")
        return folder

    def generate_async(
        self,
        inputs: Any,
        sampling_params: SamplingParams | None = None,
        lora_request: LoRARequest | None = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
        _postproc_params: Any = None,
        scheduling_params: Any = None,
        cache_salt: str | None = None,
    ) -> RequestOutput:
        """Submit one prompt of ids."""
        if self._is_shutdown:
            raise RuntimeError("LLM is shutting down")
        params = sampling_params or SamplingParams()
        prompt = inputs["prompt_token_ids"] if isinstance(inputs, dict) else inputs
        self._check_request(prompt, params)
        if lora_request is not None:
            if not self.args.enable_lora and self.args.lora_config is None:
                raise ValueError("LoRA is not enabled")
            self.lora_requests.append(lora_request)
        self.sampling_params.append(params)
        result = RequestOutput(self, next(self._ids), params, streaming)
        salt = f"{cache_salt}|{lora_request.lora_int_id if lora_request else 0}"
        with self._woken:
            self._stats = self._stats or _Stats()
            self._stats.is_done = False
            self._live[result.request_id] = result
            self.batch.add(Live(result.request_id, list(prompt), params, salt, result))
            self._woken.notify()
        return result

    def _check_request(self, prompt: list[int], params: SamplingParams) -> None:
        if params.end_id is None and self._tokenizer is None:
            raise ValueError("tokenizer is required to reset end_id if it is None")
        if not all(isinstance(token_id, int) for token_id in prompt):
            raise TypeError("prompt_token_ids must be a list of int")
        if params.use_beam_search and params.best_of > self.args.max_beam_width:
            raise ValueError(f"sampling_params.n ({params.n}) cannot exceed max_beam_width")
        if params.logprobs and not self.is_pytorch and not self.args.gather_generation_logits:
            raise ValueError("`sampling_params.logprobs` requires `gather_generation_logits=True`")
        if params.guided_decoding is not None and self.args.guided_decoding_backend is None:
            raise ValueError("guided decoding is not enabled")

    def get_stats_async(self, timeout: float | None = 2) -> AsyncIterator[dict[str, Any]]:
        """Iteration statistics, from the first request on."""
        if self._stats is None or (self.is_pytorch and not self.args.enable_iter_perf_stats):
            return _nothing()
        self._stats.timeout = timeout
        return self._stats

    def abort_request(self, request_id: int) -> None:
        """The executor's."""
        with self._woken:
            self.batch.abort(request_id)
            self._woken.notify()

    def shutdown(self) -> None:
        """End the thread."""
        with self._woken:
            self._is_shutdown = True
            self._woken.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with self._woken:
            while not self._is_shutdown:
                if not self.batch.is_busy:
                    self._woken.wait()
                    continue
                try:
                    steps, stats = self.batch.iterate()
                except DeadlyError as exc:
                    self._is_shutdown = True
                    self._fail(CppExecutorError(str(exc)))
                    return
                self._deliver(steps, stats)
                self._woken.wait(ITERATION_S)

    def _deliver(self, steps: list[Step], stats: dict[str, Any]) -> None:
        results = [(self._live[step.live.request_id], step) for step in steps]
        for step in steps:
            if step.finish_reason is not None:
                del self._live[step.live.request_id]
        loop = steps[0].live.loop_result._loop if steps else None
        if loop is None and self._live:
            loop = next(iter(self._live.values()))._loop
        text = json.dumps(stats)

        def deliver() -> None:
            for result, step in results:
                result.put(step)
            self._stats.put(text)

        if loop is not None:
            loop.call_soon_threadsafe(deliver)

    def _fail(self, error: Exception) -> None:
        for result in self._live.values():
            result._loop.call_soon_threadsafe(result.put, error)


class _Stats:
    """The one IterationResult of an LLM."""

    def __init__(self) -> None:
        self.is_done = False
        self.timeout: float | None = 2
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def put(self, text: str) -> None:
        """One iteration's, as JSON."""
        self._queue.put_nowait(text)

    def __aiter__(self) -> _Stats:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if self.is_done:
            raise StopAsyncIteration
        try:
            stats: dict[str, Any] = json.loads(await asyncio.wait_for(self._queue.get(), self.timeout))
        except asyncio.TimeoutError:
            self.is_done = True
            raise StopAsyncIteration from None
        return stats


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    for nothing in ():
        yield nothing


class TorchLLM(_LLM):
    """The PyTorch backend."""

    is_pytorch = True
    args_class = TorchLlmArgs


class EngineLLM(_LLM):
    """TensorRT engines."""

    is_pytorch = False
    args_class = TrtLlmArgs

    def _check_arguments(self) -> None:
        super()._check_arguments()
        json.loads((Path(self.args.model) / "config.json").read_text())["build_config"]
