"""The fields of OpenAI's bodies that are one number, or that mean nothing here: the tables that bodies are read by.

https://platform.openai.com/docs/api-reference: `/v1/chat/completions` and `/v1/completions`. What is read together
with other fields is in `openai_request.py` and `openai_tools.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trident_client.sampling import PARAMETERS

MAX_STOPS = 4
MAX_CHOICES = 128
MAX_PROMPTS = 128  # of one completion; each is a request of its own


class Range(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float


NUMBERS: dict[str, Range] = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
}
INTEGERS: dict[str, Range] = {
    "n": Range(1, MAX_CHOICES),
    "max_tokens": Range(1, 2**31 - 1),
    "max_completion_tokens": Range(1, 2**31 - 1),
    "seed": Range(-(2**63), 2**63 - 1),
    "top_logprobs": Range(0, 20),
}
MOST_COMPLETION_LOGPROBS = 5
RENAMED = {"n": "num_return_sequences", "stop": "stop_words", "max_completion_tokens": "max_tokens"}
# They change nothing in the answer.
WITHOUT_EFFECT = frozenset({
    "model", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store",
    "user",
})  # fmt: skip
# What a field may say when Trident cannot do more than that.
ONLY: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),  # engines bias words, not ids
    "modalities": (["text"],),
    "reasoning_effort": ("medium",),  # the default; a model's own switches are chat_template_kwargs
    "suffix": ("",),
    "verbosity": ("medium",),
}
# Of OpenAI's, and min_p of vLLM's, with nothing behind them here.
UNSUPPORTED = frozenset({"audio", "function_call", "functions", "min_p", "prediction", "web_search_options"})
# Parameters of `Sampling` that have a name of OpenAI's, whose effect an answer of OpenAI's cannot show, or that JSON
# cannot hold.
_NOT_EXTRA = frozenset({
    *RENAMED.values(), *NUMBERS, *INTEGERS, "tools", "exclude_input_in_output",
    "return_num_input_tokens", "return_num_output_tokens", "return_log_probs", "return_perf_metrics",
    "return_context_logits", "return_generation_logits", "lora_task_id", "lora_weights", "lora_config",
    "decoder_text_input", "prompt_embedding_table", "prompt_vocab_size", "prompt_table_extra_id",
})  # fmt: skip
# Beside OpenAI's fields, as vLLM's users give them: by their own names.
EXTRAS = tuple(name for name in PARAMETERS if name not in _NOT_EXTRA)
