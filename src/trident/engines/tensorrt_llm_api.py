"""The only module that imports `tensorrt_llm` (and the `torch` that comes with it), and only when an engine is loaded.

Plain arguments in, its objects out. Names and types were read in the sources of TensorRT-LLM 1.0 to 1.2.1; the tests
hold them against the facts of its API, and a named double of it in the tests says when they are wrong.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from trident.engines.base import EngineRequest
from trident.engines.tensorrt_llm_arguments import llm_arguments
from trident.engines.tensorrt_llm_limits import (
    EngineFile,
    check_beams,
    check_since,
    check_version,
    read_engine_file,
)
from trident.engines.tensorrt_llm_sampling import sampling_arguments
from trident.errors import HostError, ManifestError
from trident.manifest import EngineKind, Manifest

_SECTION_CLASSES = {
    "kv_cache_config": "KvCacheConfig",
    "scheduler_config": "SchedulerConfig",
    "cuda_graph_config": "CudaGraphConfig",
    "peft_cache_config": "PeftCacheConfig",
}
_SPECULATION_CLASSES = {"NGram": "NGramDecodingConfig", "DraftTarget": "DraftTargetDecodingConfig"}


class LlmApi:
    """A loaded `LLM`. `generate` and `iterations` need a running event loop in their thread, always the same one."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Load the engine; returns when its workers are ready (seconds to minutes).

        Raises:
            HostError: TensorRT-LLM is not installed, or of a version that cannot run this kind.
            ManifestError: it refuses the files or an option.
        """
        self._package = _imported(manifest)
        self._manifest = manifest
        self._version = check_version(manifest.kind, self._package.__version__)
        self._engine_file = _engine_file(directory, manifest, self._package.__version__)
        self._llmapi, self._executor = self._package.llmapi, self._package.executor
        self._lora_paths = {name: str(directory / path) for name, path in manifest.loras.items()}
        self._lora_ids = {name: number for number, name in enumerate(manifest.loras, 1)}
        arguments = llm_arguments(directory, manifest, self._engine_file.max_beam_width if self._engine_file else 1)
        try:
            self._llm = self._llm_class()(**self._with_objects(arguments))
        except Exception as exc:
            log(exc)
            problem = " ".join(str(exc).split())[:400]
            raise ManifestError(f"TensorRT-LLM cannot load engine {manifest.name}: {problem}") from exc
        # Of one request: what it could not do, what is wrong with the arguments, an output that is not as it should be.
        self.refusals: tuple[type[Exception], ...] = (
            self._executor.RequestError,
            ValueError,
            TypeError,
            AssertionError,
            LookupError,
            AttributeError,
        )

    @property
    def kv_block_tokens(self) -> int | None:
        """Tokens in a KV block of a TensorRT engine; None for the PyTorch backend, which counts tokens."""
        return None if self._engine_file is None else self._engine_file.kv_block_tokens

    def check(self, request: EngineRequest) -> None:
        """Refuse what only the loaded engine knows that it cannot do.

        Raises:
            UnsupportedParameterError: names the parameter.
        """
        check_since(request, self._manifest.kind, self._version)
        if self._engine_file is not None:
            check_beams(request, self._engine_file.max_beam_width)

    def generate(self, request: EngineRequest) -> Any:
        """Start a request: a tensorrt_llm RequestOutput, to be iterated over in this thread's event loop.

        Raises:
            TridentError: the guide is refused.
            RuntimeError: the engine is gone.
        """
        more: dict[str, Any] = {}
        if request.cache_salt is not None:
            more["cache_salt"] = request.cache_salt
        if request.lora_name is not None:
            name = request.lora_name
            more["lora_request"] = self._executor.LoRARequest(name, self._lora_ids[name], self._lora_paths[name])
        return self._llm.generate_async(
            {"prompt_token_ids": request.input_ids.tolist()},
            sampling_params=self._sampling_params(request),
            streaming=request.beam_width == 1,
            **more,
        )

    def iterations(self, timeout_s: float) -> AsyncIterator[dict[str, Any]]:
        """Statistics of iterations, until none has come for `timeout_s`; nothing before the first request."""
        found: AsyncIterator[dict[str, Any]] = self._llm.get_stats_async(timeout=timeout_s)
        return found

    def shutdown(self) -> None:
        """Stop the workers and free their memory."""
        self._llm.shutdown()

    def _llm_class(self) -> Any:
        if self._manifest.kind is EngineKind.TENSORRT_LLM_PYTORCH:
            return self._package.LLM
        from tensorrt_llm._tensorrt_engine import LLM  # noqa: PLC0415 - not there without engines, from 1.3 on

        return LLM

    def _with_objects(self, arguments: dict[str, Any]) -> dict[str, Any]:
        made = dict(arguments)
        for name, class_name in _SECTION_CLASSES.items():
            if name in made:
                made[name] = getattr(self._llmapi, class_name)(**made[name])
        if "speculative_config" in made:
            config = dict(made["speculative_config"])
            made["speculative_config"] = getattr(self._llmapi, _SPECULATION_CLASSES[config.pop("decoding_type")])(
                **config
            )
        if "lora_config" in made:
            made["lora_config"] = _lora_config_class()(**made["lora_config"])
        return made

    def _sampling_params(self, request: EngineRequest) -> Any:
        arguments = sampling_arguments(request, self._manifest)
        bad_word_ids = arguments.pop("_bad_word_ids", None)
        if "guided_decoding" in arguments:
            arguments["guided_decoding"] = self._llmapi.GuidedDecodingParams(**arguments["guided_decoding"])
        if "embedding_bias" in arguments:
            import torch  # noqa: PLC0415 - TensorRT-LLM brings it

            arguments["embedding_bias"] = torch.from_numpy(arguments["embedding_bias"].copy())  # Triton owns the other
        params = self._llmapi.SamplingParams(**arguments)
        if bad_word_ids is not None:
            params._bad_word_ids = bad_word_ids
        return params


def log(exc: BaseException) -> None:
    """TensorRT-LLM's words, which name files, into the server's log and not to a client."""
    print(f"tensorrt_llm engine: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)  # noqa: T201 - that log


def _engine_file(directory: Path, manifest: Manifest, version: str) -> EngineFile | None:
    if manifest.kind is not EngineKind.TENSORRT_LLM:
        return None
    found = read_engine_file(directory, manifest)
    if found.version != version:
        raise ManifestError(
            f"engine {manifest.name} was built by TensorRT-LLM {found.version}, and {version} is installed; no other "
            "version loads it: build it again, or use that image"
        )
    return found


def _imported(manifest: Manifest) -> Any:
    try:
        import tensorrt_llm  # noqa: PLC0415 - takes half a minute, and is on few machines
        import tensorrt_llm.executor  # noqa: PLC0415
        import tensorrt_llm.llmapi  # noqa: PLC0415
    except ImportError as exc:
        raise HostError(
            f"engine {manifest.name} is of kind {manifest.kind.value}, and TensorRT-LLM cannot be imported here "
            f"({exc}); serve it from NVIDIA's image"
        ) from exc
    return tensorrt_llm


def _lora_config_class() -> Any:
    try:
        from tensorrt_llm.lora_helper import LoraConfig  # noqa: PLC0415 - since 1.1
    except ImportError:
        from tensorrt_llm.lora_manager import LoraConfig  # noqa: PLC0415
    return LoraConfig
