"""Every name, type and default that the adapter relies on is in the facts of TensorRT-LLM's LLM API.

The facts were transcribed from its sources; where the real package is, tests/gpu compares them with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.engines.listener import ask
from tests.unit.engines.tensorrt_llm_engines import DOUBLES, KINDS, VOCAB_SIZE, manifest_of
from trident.engines.base import Sampling
from trident.engines.tensorrt_llm_arguments import SECTIONS, llm_arguments
from trident.engines.tensorrt_llm_sampling import sampling_arguments
from trident.manifest import DraftModel, EngineKind, Parallelism, PromptLookup
from trident.text.guides import Guide, GuideKind

FACTS = json.loads((DOUBLES / "tensorrt_llm" / "llm_args.json").read_text())
MORE = json.loads((DOUBLES / "tensorrt_llm" / "llm_api.json").read_text())
ARGUMENTS = {
    EngineKind.TENSORRT_LLM: FACTS["BaseLlmArgs"] | FACTS["TrtLlmArgs_adds"],
    EngineKind.TENSORRT_LLM_PYTORCH: FACTS["BaseLlmArgs"] | FACTS["TorchLlmArgs_adds"],
}
SECTION_FACTS = {
    "kv_cache_config": FACTS["KvCacheConfig"],
    "scheduler_config": FACTS["SchedulerConfig"],
    "peft_cache_config": FACTS["PeftCacheConfig"],
    "cuda_graph_config": MORE["CudaGraphConfig"],
    "lora_config": MORE["LoraConfig"],
}
SPECULATION_FACTS = {"NGram": MORE["NGramDecodingConfig"], "DraftTarget": MORE["DraftTargetDecodingConfig"]}
OPTIONS = {
    "kv_cache_config.enable_block_reuse": False,
    "kv_cache_config.host_cache_size": 1 << 30,
    "scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION",
    "scheduler_config.context_chunking_policy": "EQUAL_PROGRESS",
    "peft_cache_config.device_cache_percent": 0.05,
    "gather_generation_logits": True,
    "enable_chunked_prefill": False,
}


def check(given: dict[str, Any], facts: dict[str, Any]) -> None:
    """Every name is a fact's, and every value is one of its choices, or of its default's type."""
    for name, value in given.items():
        assert name in facts, name
        fact = facts[name]
        if isinstance(fact, dict) and "choices" in fact:
            assert value in fact["choices"], name
        elif fact is not None and not isinstance(fact, str):  # a text says more than a default: "REQUIRED", "0 -> 128"
            assert isinstance(value, type(fact)), name


def lora(directory: Path) -> dict[str, str]:
    (directory / "red").mkdir()
    (directory / "red" / "adapter_config.json").write_text('{"r": 16}')
    return {"red": "red"}


def used_arguments(kind: EngineKind, directory: Path) -> dict[str, Any]:
    """All arguments of `LLM` that the adapter ever uses, but those of speculation."""
    manifest = manifest_of(
        kind,
        options=OPTIONS,
        loras=lora(directory),
        parallelism=Parallelism(tp=2, pp=2),
        kv_cache_precision="fp8",
        kv_cache_fraction=0.8,
    )
    return llm_arguments(directory, manifest, max_beam_width=4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_of_an_engine_is_one_of_its_kind_s(kind, tmp_path):
    arguments = used_arguments(kind, tmp_path)
    for section in (*SECTIONS, "lora_config"):
        if section in arguments:
            check(arguments.pop(section), SECTION_FACTS[section])
    check(arguments, ARGUMENTS[kind])


@pytest.mark.parametrize(
    "speculation",
    [
        PromptLookup(kind="prompt_lookup", num_draft_tokens=4, max_ngram_tokens=3),
        DraftModel(kind="draft_model", path="draft", num_draft_tokens=3),
    ],
)
def test_every_argument_of_speculation_is_one_of_its_type_s(speculation, tmp_path):
    manifest = manifest_of(EngineKind.TENSORRT_LLM_PYTORCH, speculation=speculation)
    arguments = llm_arguments(tmp_path, manifest)
    config = arguments["speculative_config"]
    decoding_type = config.pop("decoding_type")
    assert decoding_type in FACTS["speculative_decoding_types"]
    check(config, SPECULATION_FACTS[decoding_type])
    assert config["max_draft_len"] == speculation.num_draft_tokens
    assert "disable_overlap_scheduler" in ARGUMENTS[manifest.kind]


TAG = """{"type": "structural_tag", "triggers": ["<f>"],
    "structures": [{"begin": "<f>", "schema": {"type": "object"}, "end": "</f>"}]}"""
REQUESTS = {
    "sampled": {"sampling": Sampling(0.7, 40, 0.9, 5, 1.1, 0.5, -0.5), "eos_ids": (2, 7)},
    "at least": {"min_tokens": 4, "eos_ids": (2, 7)},
    "log-probabilities": {"wants_log_probs": True, "top_logprobs": 3},
    "chosen log-probabilities": {"wants_log_probs": True},
    "beams": {"beam_width": 3, "length_penalty": 0.5},
    "forbidden": {"bad_words": ((11,), (12, 13)), "logit_bias": np.zeros(VOCAB_SIZE, np.float32)},
    "guided": {"guide": Guide(GuideKind.REGEX, "[ab]+"), "eos_ids": (2,)},
    "tagged": {"guide": Guide(GuideKind.STRUCTURAL_TAG, TAG)},
}


def used_sampling_arguments() -> set[str]:
    """The names of all arguments of `SamplingParams` that the adapter ever uses."""
    requests = [ask([5, 6], **parameters).request for parameters in REQUESTS.values()]
    return {name for kind in KINDS for request in requests for name in sampling_arguments(request, manifest_of(kind))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parameters", REQUESTS.values(), ids=REQUESTS)
def test_every_argument_of_a_request_is_one_of_sampling_params(kind, parameters):
    arguments = sampling_arguments(ask([5, 6], **parameters).request, manifest_of(kind))
    if guided := arguments.get("guided_decoding"):
        check(guided, FACTS["GuidedDecodingParams"])
    check(arguments, FACTS["SamplingParams"] | MORE["SamplingParams_private"])


def test_what_the_adapter_leaves_out_has_the_default_that_it_counts_on():
    """Where a default changes, a request that asks for nothing would be another one."""
    params = FACTS["SamplingParams"]
    assert {
        name: params[name] for name in ("top_p", "temperature", "repetition_penalty", "stop", "bad")
    } == dict.fromkeys(("top_p", "temperature", "repetition_penalty", "stop", "bad"))
    assert (params["n"], params["ignore_eos"], params["exclude_input_from_output"]) == (1, False, True)
    assert FACTS["KvCacheConfig"]["enable_block_reuse"] is True
    assert FACTS["SchedulerConfig"]["capacity_scheduler_policy"]["default"] == "GUARANTEED_NO_EVICT"
    assert ARGUMENTS[EngineKind.TENSORRT_LLM_PYTORCH]["enable_iter_perf_stats"] is False
    assert ARGUMENTS[EngineKind.TENSORRT_LLM]["normalize_log_probs"] is False
