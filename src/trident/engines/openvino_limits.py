"""What OpenVINO GenAI cannot do together, and how much KV cache a request can need. No OpenVINO is imported here.

What no engine does together (beams and sampling, a guide and min_tokens) is refused before, by conflicts.py.
Everything that is refused was tried with openvino-genai 2026.4.1: it fails in the middle of a step, is ignored in
silence, or gives other tokens than the model.
"""

from __future__ import annotations

from trident.engines.base import EngineRequest
from trident.errors import ManifestError, PromptTooLongError, UnsupportedParameterError
from trident.manifest import DraftModel, Limits, Manifest

KV_BLOCK_TOKENS = 32  # of the CPU plugin's paged attention


def num_kv_blocks(num_tokens: int) -> int:
    """KV blocks that hold `num_tokens` of one sequence."""
    return -(-num_tokens // KV_BLOCK_TOKENS)


def max_blocks_of(request: EngineRequest, num_draft_tokens: int = 0) -> int:
    """KV blocks that a request can need at most; the beams of a search share the prompt's."""
    num_prompt = len(request.input_ids)
    if request.beam_width == 1:
        return num_kv_blocks(num_prompt + request.max_tokens + num_draft_tokens)
    # a beam's tokens begin in a copy of the last, half full block of the prompt
    return num_kv_blocks(num_prompt) + request.beam_width * (num_kv_blocks(request.max_tokens) + 1)


def check_speculation(name: str, limits: Limits, num_draft_tokens: int) -> None:
    """Refuse limits under which openvino-genai 2026.4.1 gives wrong tokens while the engine `name` speculates.

    Raises:
        ManifestError: a step or the KV cache is too small; names the limit and the least value.
    """
    least = limits.max_num_seqs * (num_draft_tokens + 1)  # a step holds all of a batch with its proposals
    if limits.max_num_batched_tokens < least:
        raise ManifestError(
            f"engine {name}: max_num_batched_tokens must be at least {least} to propose {num_draft_tokens} tokens "
            f"to {limits.max_num_seqs} sequences, got {limits.max_num_batched_tokens}"
        )
    least = num_kv_blocks(limits.max_seq_tokens + num_draft_tokens) * KV_BLOCK_TOKENS
    if limits.kv_cache_tokens < least:
        raise ManifestError(
            f"engine {name}: kv_cache_tokens must be at least {least} to hold the longest sequence and "
            f"{num_draft_tokens} proposed tokens, got {limits.kv_cache_tokens}"
        )


def check_request(request: EngineRequest, manifest: Manifest) -> None:
    """Refuse what this engine would ignore, or fail at.

    Raises:
        UnsupportedParameterError: two parameters, or one and the engine's speculation, do not go together.
        PromptTooLongError: the beams cannot all be in the KV cache.
    """
    if request.beam_width > 1:
        _check_beams(request, manifest.limits.kv_cache_tokens)
    if manifest.speculation is None:
        return
    if request.beam_width > 1:
        raise UnsupportedParameterError("beam_width above 1 is not supported by this engine: it speculates")
    if request.min_tokens > 0:  # an EOS id among proposed tokens is accepted too early
        raise UnsupportedParameterError("min_tokens is not supported by this engine: it speculates")
    if isinstance(manifest.speculation, DraftModel) and not request.sampling.is_greedy:
        # tokens are drawn from another distribution than the model's
        raise UnsupportedParameterError(
            "temperature above 0 is not supported by this engine: it speculates with a draft model, for greedy "
            "requests only; send temperature 0 or top_k 1"
        )


def _check_beams(request: EngineRequest, kv_cache_tokens: int) -> None:
    sampling = request.sampling
    unsupported = {
        "repetition_penalty": sampling.repetition_penalty != 1,
        "presence_penalty": sampling.presence_penalty != 0,
        "frequency_penalty": sampling.frequency_penalty != 0,
        "min_tokens": request.min_tokens > 0,
    }
    for name, is_asked in unsupported.items():
        if is_asked:
            raise UnsupportedParameterError(f"beam_width above 1 does not go with {name} on this engine")
    num_tokens = max_blocks_of(request) * KV_BLOCK_TOKENS
    if num_tokens > kv_cache_tokens:
        raise PromptTooLongError(
            f"beam_width={request.beam_width} with {len(request.input_ids)} prompt tokens and "
            f"max_tokens={request.max_tokens} needs {num_tokens} tokens of KV cache, this engine has {kv_cache_tokens}"
        )
