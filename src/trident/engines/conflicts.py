"""What a request cannot ask for at once: on no engine, and on one of this kind. Each value by itself is right."""

from __future__ import annotations

from trident.engines import openvino_limits, tensorrt_llm_limits
from trident.engines.base import EngineRequest
from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.manifest import EngineKind, Manifest
from trident.text.text_options import TextOptions


def check_together(
    request: EngineRequest, num_sequences: int, text: TextOptions, has_stop_words: bool, manifest: Manifest
) -> None:
    """Refuse two parameters that do not go together, by name.

    Raises:
        InvalidRequestError: on no engine.
        UnsupportedParameterError: on this engine or deployment.
        PromptTooLongError: together they need more KV cache than the engine has.
    """
    if request.beam_width > 1:
        _check_beams(request, num_sequences, text, has_stop_words)
    if request.top_logprobs and not request.wants_log_probs:
        raise InvalidRequestError("top_logprobs needs return_log_probs=true")
    if request.wants_log_probs and text.has_checks:
        raise InvalidRequestError("return_log_probs does not go with the deployment's output checks: it shows all")
    if request.guide is not None:
        _check_guide(request, text)
    if manifest.kind is EngineKind.OPENVINO:
        openvino_limits.check_request(request, manifest)
    elif manifest.kind in {EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH}:
        tensorrt_llm_limits.check_request(request, manifest)


def _check_guide(request: EngineRequest, text: TextOptions) -> None:
    if request.min_tokens:
        raise InvalidRequestError("min_tokens does not go with a guide, which says where the answer ends")
    if not request.eos_ids:
        raise InvalidRequestError("end_id=-1 does not go with a guide, which says where the answer ends")
    if text.tool_parser or text.reasoning_parser:
        raise InvalidRequestError("a guide does not go with tool_parser or reasoning_parser")


def _check_beams(request: EngineRequest, num_sequences: int, text: TextOptions, has_stop_words: bool) -> None:
    if num_sequences > 1:
        raise InvalidRequestError("send beam_width or num_return_sequences above 1, not both")
    if not request.sampling.is_greedy:
        raise InvalidRequestError("beam_width above 1 needs a greedy request: no temperature, top_k or top_p")
    if text.tool_parser or text.reasoning_parser or request.guide:
        raise InvalidRequestError("beam_width above 1 does not go with tool_parser, reasoning_parser or a guide")
    if has_stop_words:
        raise InvalidRequestError("beam_width above 1 does not go with stop_words")
    if request.wants_log_probs:
        raise InvalidRequestError("beam_width above 1 does not go with return_log_probs")
    if text.has_checks:
        raise UnsupportedParameterError(
            f"beam_width={request.beam_width} does not go with the deployment's output checks: they read one text"
        )
