"""A request in the words of TensorRT-LLM: the arguments of `SamplingParams(...)`, as plain values.

It imports nothing of TensorRT-LLM. `guided_decoding` is a dictionary and `embedding_bias` an array here;
`tensorrt_llm_api.py` makes the objects.
"""

from __future__ import annotations

import json
from typing import Any

from trident.engines.base import EngineRequest
from trident.manifest import EngineKind, Manifest
from trident.text.grammars.structural_tags import engine_tag
from trident.text.guides import Guide, GuideKind, grammar_of_guide

NO_ID = -1  # what TensorRT-LLM itself puts in the place of the end id for `ignore_eos`
_MIN_TEMPERATURE = 1e-6  # as good as greedy; the runtime takes none that is 0


def sampling_arguments(request: EngineRequest, manifest: Manifest) -> dict[str, Any]:
    """The arguments for a request that `tensorrt_llm_limits.check_request` has passed.

    The first EOS id is the end id, and the others are stop ids. Those are left out for a request with `min_tokens`,
    because they would end it before: `tensorrt_llm_answer.py` sees to them.
    """
    arguments: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "end_id": request.eos_ids[0] if request.eos_ids else NO_ID,
        "pad_id": manifest.tokens.pad_id,
        "include_stop_str_in_output": True,  # or the id that ended it would be cut off
        "detokenize": False,
    }
    if request.min_tokens:
        arguments["min_tokens"] = request.min_tokens
    elif request.eos_ids[1:]:
        arguments["stop_token_ids"] = list(request.eos_ids[1:])
    if manifest.kind is EngineKind.TENSORRT_LLM:
        arguments["return_perf_metrics"] = True  # which blocks were found in the prefix cache
    if request.beam_width > 1:
        arguments |= _beams(request)
    else:
        arguments |= _sampling(request)
    arguments |= _log_probs(request, manifest.kind) | _words(request)
    if request.guide is not None:
        arguments["guided_decoding"] = _guide(request.guide)
    if request.logit_bias is not None:
        arguments["embedding_bias"] = request.logit_bias
    return arguments


def _sampling(request: EngineRequest) -> dict[str, Any]:
    sampling = request.sampling
    arguments: dict[str, Any] = {
        name: value
        for name, value, neutral in (
            ("repetition_penalty", sampling.repetition_penalty, 1.0),
            ("presence_penalty", sampling.presence_penalty, 0.0),
            ("frequency_penalty", sampling.frequency_penalty, 0.0),
        )
        if value != neutral
    }
    if sampling.is_greedy:
        return arguments | {"top_k": 1}
    return arguments | {
        "temperature": max(sampling.temperature, _MIN_TEMPERATURE),
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,  # with top_k 0 the runtime is greedy, unless it is told
        "seed": sampling.seed,
    }


def _beams(request: EngineRequest) -> dict[str, Any]:
    width = request.beam_width
    return {"use_beam_search": True, "n": width, "best_of": width, "length_penalty": request.length_penalty}


def _log_probs(request: EngineRequest, kind: EngineKind) -> dict[str, Any]:
    if request.top_logprobs or (request.wants_log_probs and kind is EngineKind.TENSORRT_LLM_PYTORCH):
        return {"logprobs": max(1, request.top_logprobs)}
    if request.wants_log_probs or request.beam_width > 1:
        # The runtime's own, of the chosen ids; `logprobs` would need every logit on its way to this process.
        return {"_return_log_probs": True}
    return {}


def _words(request: EngineRequest) -> dict[str, Any]:
    if not request.bad_words:
        return {}
    arguments: dict[str, Any] = {"bad_token_ids": [word[0] for word in request.bad_words if len(word) == 1]}
    if longer := [list(word) for word in request.bad_words if len(word) > 1]:
        # `bad` takes texts, and the tokenizer's ids of them; ours are ids already, and go where those would.
        arguments |= {"bad": [], "_bad_word_ids": longer}
    return arguments


def _guide(guide: Guide) -> dict[str, Any]:
    """Everything but structural tags goes in as a grammar, as for every engine (see text/guides.py)."""
    if guide.kind is GuideKind.STRUCTURAL_TAG:
        return {"structural_tag": json.dumps(engine_tag(json.loads(guide.text)), ensure_ascii=False)}
    return {"grammar": grammar_of_guide(guide)}
