"""No declared input is ignored: each changes the answer, or is refused by name, or is a documented no-op."""

from __future__ import annotations

import json

import pytest

from tests.server.wire import outputs, request, stream_infer
from trident.contract import ENSEMBLE
from trident.engines.capabilities import CAPABILITIES, Support
from trident.manifest import EngineKind

TEXT = {"text_input": ("BYTES", [b"Once upon a time there was a small"]), "max_tokens": ("INT32", [12])}
SAMPLED = {**TEXT, "temperature": ("FP32", [1.5]), "seed": ("UINT64", [7])}
OLD_SEEDED = {**TEXT, "temperature": ("FP32", [1.5]), "random_seed": ("UINT64", [7])}
UNTOLD = {"max_tokens": ("INT32", [12])}
MESSAGES = json.dumps([{"role": "user", "content": "What is the capital of France?"}]).encode()
CHAT = {"messages": ("BYTES", [MESSAGES]), "max_tokens": ("INT32", [12])}
BEAMS = {**CHAT, "beam_width": ("INT32", [4]), "max_tokens": ("INT32", [40])}  # beams that end at different lengths
LONG = {"text_input": ("BYTES", [b"word " * 5000]), "max_tokens": ("INT32", [4])}
VARIABLES = b'{"text": "Bees make honey. Bees dance."}'
TEMPLATE = {"prompt_template": ("BYTES", [b"summarize@1"]), "max_tokens": ("INT32", [12])}
SPECIAL = {"text_input": ("BYTES", [b"<|im_start|>user\nHi<|im_end|>"]), "max_tokens": ("INT32", [4])}
CALL = {"text_input": ("BYTES", [b"x"]), "max_tokens": ("INT32", [12])}
WEIGHTS = b"\x00\x3c" * 4  # FP16 ones

# input -> the request without it, and the value that asks for something
CASES = {
    "text_input": (UNTOLD, ("BYTES", [b"One, two,"])),
    "messages": (UNTOLD, ("BYTES", [MESSAGES])),
    "max_tokens": (TEXT, ("INT32", [3])),
    "stop_words": (TEXT, ("BYTES", [b" "])),
    "bad_words": (TEXT, ("BYTES", [b" girl"])),
    "embedding_bias_words": (
        {**TEXT, "embedding_bias_weights": ("FP32", [5.0])},
        ("BYTES", [b" girl"]),
    ),
    "embedding_bias_weights": (TEXT, ("FP32", [5.0])),
    "top_k": (SAMPLED, ("INT32", [1])),
    "top_p": (SAMPLED, ("FP32", [0.01])),
    "temperature": ({**TEXT, "seed": ("UINT64", [7])}, ("FP32", [5.0])),
    "seed": (SAMPLED, ("UINT64", [8])),
    "random_seed": (OLD_SEEDED, ("UINT64", [8])),
    "repetition_penalty": (TEXT | {"max_tokens": ("INT32", [60])}, ("FP32", [5.0])),
    "presence_penalty": (TEXT | {"max_tokens": ("INT32", [60])}, ("FP32", [2.0])),
    "frequency_penalty": (TEXT | {"max_tokens": ("INT32", [60])}, ("FP32", [2.0])),
    "min_tokens": (CHAT | {"max_tokens": ("INT32", [60])}, ("INT32", [60])),
    "min_length": (CHAT | {"max_tokens": ("INT32", [60])}, ("INT32", [60])),
    "end_id": (CHAT | {"max_tokens": ("INT32", [60])}, ("INT32", [-1])),
    "pad_id": (TEXT, ("INT32", [5])),
    "stream": (TEXT, ("BOOL", [True])),
    "exclude_input_in_output": (TEXT, ("BOOL", [True])),
    "return_num_input_tokens": (TEXT, ("BOOL", [True])),
    "return_num_output_tokens": (TEXT, ("BOOL", [True])),
    "return_perf_metrics": (TEXT, ("BOOL", [True])),
    "return_log_probs": (TEXT, ("BOOL", [True])),
    "top_logprobs": (TEXT | {"return_log_probs": ("BOOL", [True])}, ("INT32", [2])),
    "return_context_logits": (TEXT, ("BOOL", [True])),
    "return_generation_logits": (TEXT, ("BOOL", [True])),
    "num_return_sequences": (TEXT, ("INT32", [2])),
    "beam_width": (TEXT, ("INT32", [2])),
    "length_penalty": (BEAMS, ("FP32", [-9.0])),
    "guided_decoding_guide_type": (TEXT, ("BYTES", [b"json"])),
    "guided_decoding_guide": (TEXT | {"guided_decoding_guide_type": ("BYTES", [b"regex"])}, ("BYTES", [b"[0-9]{4}"])),
    "truncate": (LONG, ("BYTES", [b"left"])),
    "skip_special_tokens": (SPECIAL, ("BOOL", [False])),
    "tools": (CHAT, ("BYTES", [b'[{"type": "function", "function": {"name": "f"}}]'])),
    "chat_template_kwargs": (CHAT, ("BYTES", [b'{"add_generation_prompt": false}'])),
    "prompt_template": (UNTOLD | {"prompt_variables": ("BYTES", [VARIABLES])}, ("BYTES", [b"summarize@1"])),
    "prompt_variables": (TEMPLATE, ("BYTES", [VARIABLES])),
    "tool_parser": (CALL, ("BYTES", [b"nobody"])),
    "reasoning_parser": (CALL, ("BYTES", [b"nobody"])),
    "lora_name": (TEXT, ("BYTES", [b"poet"])),
    "cache_salt": (TEXT, ("BYTES", [b"tenant"])),
    "timeout_ms": (TEXT | {"max_tokens": ("INT32", [300]), "end_id": ("INT32", [-1])}, ("INT32", [100])),
    "priority": (TEXT, ("INT32", [9])),
    "decoder_text_input": (TEXT, ("BYTES", [b"x"])),
    "prompt_table_extra_id": (TEXT, ("UINT64", [1])),
    "prompt_embedding_table": (TEXT, ("FP16", [1, 2, 2], WEIGHTS)),
    "prompt_vocab_size": (TEXT, ("INT32", [1])),
    "lora_task_id": (TEXT, ("UINT64", [1])),
    "lora_weights": (TEXT, ("FP16", [1, 2, 2], WEIGHTS)),
    "lora_config": (TEXT, ("INT32", [1, 1, 3], b"\0" * 12)),
}
# What this model and engine have no use for, or a value that would take long to show: the refusal of a bad one shows
# that it is read. tests/server/test_text_path.py has the others.
SHOWN_BY_A_REFUSAL = {"tools", "tool_parser", "reasoning_parser", "lora_name", "timeout_ms", "priority"}
VOLATILE = {"arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns"}


def test_every_input_has_a_case():
    assert set(CASES) == {tensor.name for tensor in ENSEMBLE.inputs} == set(CAPABILITIES)


def said(server, tensors) -> list:
    """Every answer as outputs by name, or an error's text."""
    answers = stream_infer(server.grpc_url, request(**tensors))
    return [
        answer if isinstance(answer, str) else {
            name: None if name in VOLATILE else values for name, values in outputs(answer).items()
        }
        for answer in answers
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_input_changes_the_answer_or_is_refused_by_name_or_is_a_documented_no_op(server, name):
    base, value = CASES[name]
    without = said(server, base)
    with_it = said(server, {**base, name: value})
    support = CAPABILITIES[name].of(EngineKind.OPENVINO)
    if support is Support.NO:
        ((error),) = with_it
        assert isinstance(error, str)
        assert name in error
    elif support is Support.NO_OP:
        assert with_it == without
    else:
        assert with_it != without
        is_refused = any(isinstance(answer, str) for answer in with_it)
        assert is_refused == (name in SHOWN_BY_A_REFUSAL), with_it
