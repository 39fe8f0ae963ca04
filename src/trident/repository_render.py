"""The profile of the C++ backend for one engine: the committed `configs/cpp.pbtxt`, with what its `config.json` says.

Edits parsed protobuf, never text, so no placeholder can be left. An empty value is how the C++ backend is told that a
parameter is unset: it then warns and takes its own default.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from trident.contract import ENGINE, ENSEMBLE
from trident.errors import ManifestError, RepositoryError
from trident.manifest import EngineKind, Manifest, read_manifest
from trident.repository import check_repository, format_config, read_config
from trident.repository_cpp import CONFIG, OPTIONS

TOKENIZER_INFO = "xgrammar_tokenizer_info.json"  # beside the engine model's config
_PAGED = (OPTIONS["enable_kv_cache_reuse"], OPTIONS["enable_chunked_context"])
_HEADER = """\
# Written by `trident repository render` for the engine {engine}; write it again rather than edit it.
# Triton takes it with --model-config-name=cpp. An empty value: the C++ backend's own default.

"""


@dataclass(frozen=True)
class BuiltEngine:
    """What a TensorRT engine's `config.json` says about how it can be served."""

    directory: Path
    manifest: Manifest
    max_batch_size: int
    max_beam_width: int
    has_paged_context_fmha: bool  # without it neither prefix reuse nor chunked prefill is possible
    world_size: int  # GPUs, and ranks


def read_engine(directory: Path) -> BuiltEngine:
    """The TensorRT engine in `directory`.

    Raises:
        ManifestError: it is of another kind; its config.json is broken, lacks a value, or differs from the manifest.
    """
    manifest = read_manifest(directory)
    if manifest.kind is not EngineKind.TENSORRT_LLM:
        raise ManifestError(
            f"engine {manifest.name} is of kind {manifest.kind.value}; the C++ backend runs tensorrt_llm engines only"
        )
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        build, mapping = config["build_config"], config["pretrained_config"]["mapping"]
        found = BuiltEngine(
            directory.resolve(),
            manifest,
            int(build["max_batch_size"]),
            int(build.get("max_beam_width", 1)),
            bool(build.get("plugin_config", {}).get("use_paged_context_fmha", False)),
            world_size_of(mapping),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ManifestError(
            f"{path} is not an engine's config ({type(exc).__name__}: {exc}); build the engine again"
        ) from exc
    if found.world_size != manifest.parallelism.world_size:
        raise ManifestError(
            f"{path} has {found.world_size} ranks, the manifest {manifest.parallelism.world_size}; build it again"
        )
    return found


def world_size_of(mapping: dict[str, Any]) -> int:
    """GPUs of a `mapping` of TensorRT-LLM: tensor times pipeline times context parallel parts.

    Raises:
        ValueError: `world_size` is there and says something else.
    """
    product = 1
    for name in ("tp_size", "pp_size", "cp_size"):
        product *= int(mapping.get(name, 1))
    if int(mapping.get("world_size", product)) != product:
        raise ValueError(f"mapping.world_size is {mapping['world_size']}, the product of its parts {product}")
    return product


def parameters_of(engine: BuiltEngine, tokenizer_info: Path | None) -> dict[str, str]:
    """The parameters that depend on the engine; the others stay as committed.

    Raises:
        ManifestError: an option that the C++ backend has no parameter for, or that the engine was not built for.
    """
    manifest, limits = engine.manifest, engine.manifest.limits
    fraction = manifest.kv_cache_fraction
    return {
        "gpt_model_path": str(engine.directory),
        "tokenizer_dir": str(engine.directory / "tokenizer"),
        "max_beam_width": str(engine.max_beam_width),
        "decoding_mode": "beam_search" if engine.max_beam_width > 1 else "top_k_top_p",
        "max_tokens_in_paged_kv_cache": "" if fraction is not None else str(limits.kv_cache_tokens),
        "kv_cache_free_gpu_mem_fraction": "" if fraction is None else f"{fraction:g}",
        "enable_kv_cache_reuse": _bool(engine.has_paged_context_fmha),
        "enable_chunked_context": _bool(engine.has_paged_context_fmha),
        "guided_decoding_backend": "xgrammar" if tokenizer_info else "",
        "xgrammar_tokenizer_info_path": str(tokenizer_info or ""),
        **_options(engine),
    }


def _options(engine: BuiltEngine) -> dict[str, str]:
    parameters = {option: parameter for parameter, option in OPTIONS.items()}
    found = {}
    for option, value in engine.manifest.options.items():
        if option not in parameters:
            raise ManifestError(
                f"engine {engine.manifest.name}: the C++ backend has no parameter for option '{option}'; "
                "build the engine without it, or serve it with --backend python"
            )
        if option in _PAGED and value and not engine.has_paged_context_fmha:
            raise ManifestError(
                f"engine {engine.manifest.name}: option '{option}' needs one that was built with use_paged_context_fmha"
            )
        found[parameters[option]] = _bool(value) if isinstance(value, bool) else str(value).lower()
    return found


def _bool(value: bool) -> str:
    return "true" if value else "false"


def render_engine_model(engine: BuiltEngine, template: Path, tokenizer_info: Path | None = None) -> str:
    """The text of the engine model's profile.

    Args:
        engine: what is served.
        template: a repository that has the profile, Trident's own as a rule.
        tokenizer_info: of `write_tokenizer_info`; without it guided decoding is off.

    Raises:
        RepositoryError: the template has no profile, or a broken one.
    """
    config = read_config(template / ENGINE.name / CONFIG)
    config.max_batch_size = engine.max_batch_size
    batching = config.dynamic_batching
    batching.preferred_batch_size[:] = [engine.max_batch_size]
    batching.default_queue_policy.max_queue_size = engine.manifest.limits.max_queued_requests
    for key, value in parameters_of(engine, tokenizer_info).items():
        config.parameters[key].string_value = value
    return _HEADER.format(engine=engine.manifest.name) + format_config(config)


def render_ensemble(engine: BuiltEngine, template: Path) -> str:
    """The text of the ensemble's profile: Triton lets no ensemble have larger batches than one of its models."""
    config = read_config(template / ENSEMBLE.name / CONFIG)
    config.max_batch_size = min(config.max_batch_size, engine.max_batch_size)
    return _HEADER.format(engine=engine.manifest.name) + format_config(config)


def render_repository(engine: BuiltEngine, template: Path, output: Path) -> list[Path]:
    """Write a whole repository to `output`: a copy of `template` with both profiles for this engine.

    Returns the files that are not copies.

    Raises:
        RepositoryError: there is something at `output`, it cannot be written, or what was written breaks the contract.
    """
    info = output.resolve() / ENGINE.name / TOKENIZER_INFO
    written = {
        output / ENGINE.name / CONFIG: render_engine_model(engine, template, info),
        output / ENSEMBLE.name / CONFIG: render_ensemble(engine, template),
    }
    copy_repository(template, output)
    write_tokenizer_info(engine, info)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    if lines := check_repository(output):
        raise RepositoryError(f"{output} leaves the contract: " + "; ".join(lines))
    return [*written, info]


def copy_repository(template: Path, output: Path) -> None:
    """A copy of the repository `template`.

    Raises:
        RepositoryError: there is something at `output`, or it cannot be written.
    """
    try:
        shutil.copytree(template, output, ignore=shutil.ignore_patterns("__pycache__"))
    except FileExistsError as exc:
        raise RepositoryError(f"{output} is there already; remove it, or name another folder") from exc
    except (OSError, shutil.Error) as exc:
        raise RepositoryError(f"{output} cannot be written: {exc}") from exc


def write_tokenizer_info(engine: BuiltEngine, path: Path) -> None:
    """What the C++ backend's guided decoding needs of the tokenizer, as one JSON file.

    `encoded_vocab`: the token of every id; `tokenizer_str`: tokenizer.json; `stop_token_ids`: what ends a completion.

    Raises:
        ManifestError: the engine's tokenizer cannot be read.
    """
    tokens = engine.manifest.tokens
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(engine.directory / "tokenizer" / "tokenizer.json"))
    except Exception as exc:  # the library raises nothing narrower
        raise ManifestError(f"the engine's tokenizer.json cannot be used: {exc}") from exc
    vocabulary = {token_id: token for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items()}
    num_ids = max(tokens.vocab_size, max(vocabulary) + 1)
    info = {
        "encoded_vocab": [vocabulary.get(token_id, "") for token_id in range(num_ids)],
        "tokenizer_str": tokenizer.to_str(),
        "stop_token_ids": list(tokens.eos_ids),
    }
    path.write_text(json.dumps(info, ensure_ascii=False), encoding="utf-8")
