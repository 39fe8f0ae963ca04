"""What TensorRT-LLM's LLM API cannot do, alone or together, and what an engine's own `config.json` allows.

Read in the sources of TensorRT-LLM 1.0 to 1.2.1, whose names are given beside each fact. What the table of
capabilities says is refused before. It imports nothing of TensorRT-LLM.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.engines.base import EngineRequest
from trident.errors import HostError, ManifestError, UnsupportedParameterError
from trident.manifest import EngineKind, Manifest
from trident.text.guides import GuideKind

_FIRST = (1, 0)  # LLM API stable, and both kinds
_FIRST_WITH_SALT = (1, 1)
# Of the PyTorch backend; before, it takes no notice of a bias, and gives the chosen id's log-probability alone.
_FIRST_WITH_BIAS = (1, 1)  # pull request 6464 of NVIDIA/TensorRT-LLM
_FIRST_WITH_TOP = (1, 2)
_WITHOUT_ENGINES = (1, 3)  # docs/source/legacy/tensorrt-backend-removal.md; gone from 1.3.0rc22 on
_MAX_TOP_K = 1024  # of the engines' own decoder, TOP_K_MAX, which takes a larger one for that
_Version = tuple[int, int]


@dataclass(frozen=True)
class EngineFile:
    """What matters here of an engine's `config.json`."""

    version: str  # of TensorRT-LLM; no other one loads it
    max_beam_width: int
    kv_block_tokens: int


def check_version(kind: EngineKind, version: str) -> _Version:
    """Major and minor of the TensorRT-LLM that is installed.

    Raises:
        HostError: it cannot run engines of this kind; says which one can.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None:
        raise HostError(f"TensorRT-LLM says that its version is '{version}'; install 1.2.1")
    found = int(match[1]), int(match[2])
    if found < _FIRST:
        raise HostError(f"TensorRT-LLM {version} is too old for engines of kind {kind.value}: it takes 1.0 to 1.2.1")
    if kind is EngineKind.TENSORRT_LLM and found >= _WITHOUT_ENGINES:
        raise HostError(
            f"TensorRT-LLM {version} runs no TensorRT engines any more: use 1.0 to 1.2.1, "
            f"or build the model as kind {EngineKind.TENSORRT_LLM_PYTORCH.value}"
        )
    return found


def check_request(request: EngineRequest, manifest: Manifest) -> None:
    """Refuse what this engine would ignore, or fail at.

    Raises:
        UnsupportedParameterError: names the parameter and why.
    """
    if request.guide is not None and not has_guides(manifest):
        raise UnsupportedParameterError(
            "guided_decoding_guide is not supported by this engine: it is loaded without its tokenizer"
        )
    if manifest.kind is EngineKind.TENSORRT_LLM:
        _check_engine_request(request, manifest)
    if manifest.speculation is not None:
        if request.wants_log_probs:
            raise UnsupportedParameterError("return_log_probs is not supported by this engine: it speculates")
        if request.min_tokens:  # an EOS id among proposed tokens may be accepted too early
            raise UnsupportedParameterError("min_tokens is not supported by this engine: it speculates")


def _check_engine_request(request: EngineRequest, manifest: Manifest) -> None:
    if request.guide is not None and request.guide.kind is GuideKind.STRUCTURAL_TAG:  # GuidedDecodingParams
        raise UnsupportedParameterError(
            "guided_decoding_guide_type 'structural_tag' is not supported by this engine: TensorRT engines take json, "
            "json_schema, regex and ebnf_grammar"
        )
    if request.top_logprobs and not manifest.options.get("gather_generation_logits"):
        raise UnsupportedParameterError(
            f"top_logprobs={request.top_logprobs} is not supported by this engine: it is loaded without the option "
            "gather_generation_logits"
        )
    if request.sampling.top_k > _MAX_TOP_K:
        raise UnsupportedParameterError(
            f"top_k={request.sampling.top_k} is not supported by this engine: it takes {_MAX_TOP_K} at most, or 0 (all)"
        )


def check_beams(request: EngineRequest, max_beam_width: int) -> None:
    """Refuse more beams than the engine was built for.

    Raises:
        UnsupportedParameterError: names both numbers.
    """
    if request.beam_width > max_beam_width:
        raise UnsupportedParameterError(
            f"beam_width={request.beam_width} is not supported by this engine: it was built for {max_beam_width}"
        )


def check_since(request: EngineRequest, kind: EngineKind, version: _Version) -> None:
    """Refuse what came with a later TensorRT-LLM than the one that is installed.

    Raises:
        UnsupportedParameterError: names the parameter and the version.
    """
    asked = [("cache_salt", request.cache_salt is not None, _FIRST_WITH_SALT)]
    if kind is EngineKind.TENSORRT_LLM_PYTORCH:
        asked.append(("embedding_bias_words", request.logit_bias is not None, _FIRST_WITH_BIAS))
        asked.append((f"top_logprobs={request.top_logprobs}", request.top_logprobs > 1, _FIRST_WITH_TOP))
    for name, is_asked, first in asked:
        if is_asked and version < first:
            raise UnsupportedParameterError(
                f"{name} is not supported by this engine: it needs TensorRT-LLM {first[0]}.{first[1]}"
            )


def has_guides(manifest: Manifest) -> bool:
    """Whether answers can be guided: xgrammar needs the tokenizer, which nothing else does."""
    return not manifest.options.get("skip_tokenizer_init")


def read_engine_file(directory: Path, manifest: Manifest) -> EngineFile:
    """An engine's `config.json`, compared with the manifest.

    Raises:
        ManifestError: it is missing or no engine's, a rank file is missing, or a limit of the manifest is beyond it.
    """
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        built = config["build_config"]
        _check_limits(built, manifest)
        _check_mapping(config["pretrained_config"].get("mapping", {}), manifest)
        plugins = built.get("plugin_config", {})
        if manifest.loras and not plugins.get("lora_plugin"):
            raise ManifestError(f"engine {manifest.name}: it was built without LoRA; leave its adapters out")
        found = EngineFile(
            str(config["version"]), int(built["max_beam_width"]), int(plugins.get("tokens_per_block", 32))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ManifestError(
            f"engine {manifest.name}: config.json is not that of a TensorRT engine ({type(exc).__name__}: {exc}); "
            "build it again"
        ) from exc
    for rank in range(manifest.parallelism.world_size):
        if not (directory / f"rank{rank}.engine").is_file():
            raise ManifestError(f"engine {manifest.name}: rank{rank}.engine is missing; build it again")
    return found


def _check_limits(built: dict[str, Any], manifest: Manifest) -> None:
    limits = manifest.limits
    wanted = {
        "max_batch_size": ("max_num_seqs", limits.max_num_seqs),
        "max_input_len": ("max_input_tokens", limits.max_input_tokens),
        "max_seq_len": ("max_seq_tokens", limits.max_seq_tokens),
        "max_num_tokens": ("max_num_batched_tokens", limits.max_num_batched_tokens),
    }
    for key, (name, value) in wanted.items():
        most = built[key]
        if most is not None and value > most:
            raise ManifestError(
                f"engine {manifest.name}: {name} must be at most {most}, which it was built for ({key}), got {value}"
            )


def _check_mapping(mapping: dict[str, Any], manifest: Manifest) -> None:
    for key, value in (("tp_size", manifest.parallelism.tp), ("pp_size", manifest.parallelism.pp), ("cp_size", 1)):
        if mapping.get(key, 1) != value:
            raise ManifestError(
                f"engine {manifest.name}: it was built for {key} {mapping.get(key, 1)}, its manifest says {value}; "
                "build it again"
            )
