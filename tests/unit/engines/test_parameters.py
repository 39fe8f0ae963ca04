"""Every input of the engine model is taken, is neutral, or is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.manifests import MANIFEST
from trident.contract import ENGINE, ENSEMBLE
from trident.engines.capabilities import CAPABILITIES, KINDS, Support, client_name
from trident.engines.parameters import INTERNAL_INPUTS, read_generations
from trident.errors import InvalidRequestError, PromptTooLongError, UnsupportedParameterError
from trident.manifest import DraftModel, EngineKind, PromptLookup
from trident.text.text_options import TextOptions

_DTYPES = {
    "BOOL": np.bool_, "INT32": np.int32, "INT64": np.int64, "UINT64": np.uint64, "FP16": np.float16,
    "FP32": np.float32, "STRING": np.object_,
}  # fmt: skip
LOOKUP = PromptLookup(kind="prompt_lookup", num_draft_tokens=3, max_ngram_tokens=2)
DRAFT = DraftModel(kind="draft_model", path="draft", num_draft_tokens=3)
BASE = {
    "input_ids": np.array([[5, 6, 7, 0, 0]], np.int32),
    "input_lengths": np.array([[3]], np.int32),
    "request_output_len": np.array([[8]], np.int32),
}


def read(**scalars):
    return read_all(**scalars)[0]


def read_all(kind="openvino", speculation=None, **scalars):
    dtypes = {tensor.name: _DTYPES[tensor.dtype] for tensor in ENGINE.inputs}
    sent = {
        name: value if isinstance(value, np.ndarray) else np.array([[value]], dtypes[name])
        for name, value in scalars.items()
    }
    limits = MANIFEST.limits.model_copy(update={"kv_cache_tokens": 256})
    changes = {"kind": EngineKind(kind), "speculation": speculation, "limits": limits}
    return read_generations({**BASE, **sent}, MANIFEST.model_copy(update=changes))


def test_the_defaults_are_greedy_and_end_at_every_eos_id():
    generation = read()
    assert generation.engine_request.input_ids.tolist() == [5, 6, 7]
    assert generation.engine_request.sampling.is_greedy
    assert generation.engine_request.eos_ids == (2, 7)
    assert not generation.is_streaming


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("temperature", 0.5, "temperature", 0.5),
        ("runtime_top_k", 40, "top_k", 40),
        ("runtime_top_p", 0.25, "top_p", 0.25),
        ("seed", 2**63 + 5, "seed", 2**63 + 5),
        ("random_seed", 9, "seed", 9),
        ("repetition_penalty", 1.5, "repetition_penalty", 1.5),
        ("presence_penalty", -1.5, "presence_penalty", -1.5),
        ("frequency_penalty", 0.5, "frequency_penalty", 0.5),
    ],
)
def test_a_sampling_parameter_reaches_the_engine(name, value, field, expected):
    assert getattr(read(**{name: value}).engine_request.sampling, field) == expected


@pytest.mark.parametrize(
    ("sent", "is_greedy"),
    [
        ({}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": 0.7, "runtime_top_k": 1}, True),
        ({"runtime_top_k": 1, "runtime_top_p": 0.0}, True),
        ({"runtime_top_k": 5}, False),
        ({"runtime_top_p": 0.9}, False),
    ],
)
def test_when_sampling_is_asked_for(sent, is_greedy):
    assert read(**sent).engine_request.sampling.is_greedy is is_greedy


def test_without_a_seed_two_requests_differ():
    assert read(temperature=1.0).engine_request.sampling.seed != read(temperature=1.0).engine_request.sampling.seed


@pytest.mark.parametrize(("end_id", "eos_ids"), [(2, (2, 7)), (7, (7,)), (-1, ()), (11, (11,))])
def test_end_id(end_id, eos_ids):
    assert read(end_id=end_id).engine_request.eos_ids == eos_ids


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ({"request_output_len": 0}, r"max_tokens must be in 1\.\.16, got 0"),
        ({"request_output_len": 17}, r"max_tokens must be in 1\.\.16, got 17"),
        ({"temperature": float("nan")}, "temperature must be in 0..100, got nan"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"runtime_top_p": 1.5}, "top_p must be in 0..1, got 1.5"),
        ({"runtime_top_k": -1}, "top_k"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"min_tokens": 9}, r"min_tokens must be in 0\.\.max_tokens \(8\), got 9"),
        ({"min_tokens": 3, "min_length": 4}, "min_tokens .3. and its old name min_length .4. disagree"),
        ({"seed": 3, "random_seed": 4}, "disagree"),
        ({"end_id": 400}, "end_id"),
        ({"input_lengths": 6}, "input_lengths"),
        ({"input_ids": np.array([[5, 400, 7]], np.int32)}, "input_ids must be in 0..399"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_the_value(sent, complaint):
    with pytest.raises(InvalidRequestError, match=complaint):
        read(**sent)


def test_what_does_not_fit_is_refused_with_both_numbers():
    long = np.ones((1, 21), np.int32)
    with pytest.raises(PromptTooLongError, match="21 tokens, this engine takes at most 20"):
        read(input_ids=long, input_lengths=21)
    with pytest.raises(PromptTooLongError, match=r"prompt \(15 tokens\) and max_tokens \(16\) together exceed the 30"):
        read(input_ids=long[:, :15], input_lengths=15, request_output_len=16)


# A value that asks for something, for every input that some engine refuses.
ASKING = {
    "decoder_input_ids": np.array([[1]], np.int32),
    "bad_words_list": np.array([[[5], [1]]], np.int32),
    "embedding_bias": np.array([[0.5]], np.float32),
    "prompt_table_extra_ids": np.array([[1]], np.uint64),
    "beam_width": 2,
    "repetition_penalty": 1.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "min_tokens": 3,
    "min_length": 3,
    "return_log_probs": True,
    "top_logprobs": 2,
    "return_context_logits": True,
    "return_generation_logits": True,
    "prompt_embedding_table": np.ones((1, 1, 1), np.float16),
    "prompt_vocab_size": 1,
    "lora_name": b"x",
    "lora_task_id": 1,
    "lora_weights": np.ones((1, 1, 1), np.float16),
    "lora_config": np.ones((1, 1, 3), np.int32),
    "guided_decoding_guide_type": b"json",
    "guided_decoding_guide": b"{}",
    "cache_salt": b"tenant",
}


CHECKED = TextOptions(has_checks=True).to_json()


def test_every_input_of_the_engine_model_is_in_the_table_or_internal():
    for tensor in ENGINE.inputs:
        assert tensor.name in INTERNAL_INPUTS or client_name(tensor.name) in CAPABILITIES, tensor.name
    assert set(CAPABILITIES) == {tensor.name for tensor in ENSEMBLE.inputs}


REFUSED = [
    (kind, tensor.name)
    for kind in KINDS
    for tensor in ENGINE.inputs
    if tensor.name not in INTERNAL_INPUTS and CAPABILITIES[client_name(tensor.name)].of(kind) is Support.NO
]


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_what_the_table_refuses_is_refused_by_name(kind, name):
    with pytest.raises(UnsupportedParameterError, match=client_name(name)):
        read_all(kind, **{name: ASKING[name]})


def test_several_sequences_of_a_row_get_seeds_of_their_own_and_places():
    first, second = read_all(num_return_sequences=2, temperature=1.0, seed=5)
    assert (first.sequence_index, second.sequence_index) == (0, 1)
    assert (first.engine_request.sampling.seed, second.engine_request.sampling.seed) == (5, 6)
    assert not first.is_alone


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ({"num_return_sequences": 17}, "num_return_sequences must be in 1..16, got 17"),
        ({"beam_width": 9}, "beam_width must be in 1..8, got 9"),
        ({"beam_width": 2, "num_return_sequences": 2}, "not both"),
        ({"beam_width": 2, "temperature": 1.0}, "needs a greedy request"),
        ({"beam_width": 2, "stop_texts": np.array([[b"a"]], np.object_)}, "stop_words"),
        ({"beam_width": 2, "stop_words_list": np.array([[[5], [1]]], np.int32)}, "stop_words"),
        ({"beam_width": 2, "return_log_probs": True}, "beam_width above 1 does not go with return_log_probs"),
        ({"return_log_probs": True, "text_options": CHECKED}, "return_log_probs does not go with .* output checks"),
        ({"min_tokens": 2, "guided_decoding_guide_type": b"json"}, "min_tokens does not go with a guide"),
        (
            {"guided_decoding_guide_type": b"json", "text_options": TextOptions(tool_parser="hermes").to_json()},
            "a guide does not go with tool_parser",
        ),
        ({"timeout_ms": 0}, "timeout_ms must be in 1.."),
        ({"priority": 6}, "priority must be in 1..5, got 6"),
        ({"lora_name": b"poet"}, "lora_name 'poet' is not an adapter of this engine; it has: none"),
        ({"text_options": b"[1]"}, "text_options is not what preprocessing writes"),
        ({"report": b"[1]"}, "report is not what preprocessing writes"),
        ({"guided_decoding_guide_type": b"jsn"}, "guided_decoding_guide_type"),
    ],
)
def test_what_does_not_go_together_is_refused(sent, complaint):
    with pytest.raises(InvalidRequestError, match=complaint):
        read(**sent)


@pytest.mark.parametrize(
    ("speculation", "sent", "complaint"),
    [
        (None, {"beam_width": 2, "repetition_penalty": 1.5}, "does not go with repetition_penalty on this engine"),
        (None, {"beam_width": 2, "min_length": 3}, "does not go with min_tokens on this engine"),
        (LOOKUP, {"min_tokens": 3}, "min_tokens is not supported by this engine: it speculates"),
        (LOOKUP, {"beam_width": 2}, "beam_width above 1 is not supported by this engine: it speculates"),
        (DRAFT, {"temperature": 0.5}, "temperature above 0 is not supported by this engine"),
    ],
)
def test_what_this_engine_cannot_do_together_is_refused_by_name_before_it_is_admitted(speculation, sent, complaint):
    with pytest.raises(UnsupportedParameterError, match=complaint):
        read(speculation=speculation, **sent)


def test_beams_that_can_never_fit_into_the_kv_cache_are_refused_before_they_are_admitted():
    with pytest.raises(PromptTooLongError, match=r"beam_width=8 .* needs 544 tokens of KV cache, this engine has 256"):
        read(beam_width=8)


def test_beams_and_output_checks_do_not_go_together():
    with pytest.raises(UnsupportedParameterError, match="beam_width=2 does not go with the deployment's output checks"):
        read(beam_width=2, text_options=CHECKED)


def test_stop_words_that_are_none_go_with_beams():
    none = np.array([[[0], [-1]]], np.int32)
    assert read(beam_width=2, stop_words_list=none).engine_request.beam_width == 2


def test_what_a_caller_named_is_not_said_back_at_length():
    with pytest.raises(InvalidRequestError, match=r"lora_name 'x{100}' is not") as caught:
        read(lora_name=b"x" * 10_000)
    assert len(caught.value.message) < 250


def test_a_range_is_written_in_full():
    with pytest.raises(InvalidRequestError, match=r"top_k must be in 0\.\.1048576, got 1048577"):
        read(runtime_top_k=1_048_577)


def test_what_the_engine_is_told():
    beams = read(beam_width=2, len_penalty=0.5).engine_request
    assert (beams.beam_width, beams.length_penalty) == (2, 0.5)
    generation = read(timeout_ms=1500, priority=1, return_log_probs=True, return_perf_metrics=True)
    assert generation.engine_request.wants_log_probs
    assert generation.text_options.token_texts
    assert (generation.timeout_s, generation.priority, generation.wants_perf_metrics) == (1.5, 1, True)
    assert generation.text_options.num_echoed == 3


@pytest.mark.parametrize(
    "sent",
    [
        {"beam_width": 1, "num_return_sequences": 1, "len_penalty": 1.0},
        {"return_log_probs": False, "return_context_logits": False, "return_generation_logits": False},
        {"bad_words_list": np.array([[[0], [-1]]], np.int32), "embedding_bias": np.zeros((1, 0), np.float32)},
        {"stop_words_list": np.array([[[0], [-1]]], np.int32), "stop_texts": np.array([[b""]], np.object_)},
        {"pad_id": 5, "guided_decoding_guide_type": b""},
    ],
)
def test_values_that_ask_for_nothing_are_accepted(sent):
    assert read(**sent).stop_sequences == ()


def test_stop_words_come_as_ids_and_as_text():
    words = np.array([[[11, 12, 13, 0], [2, 3, -1, -1]]], np.int32)
    generation = read(stop_words_list=words, stop_texts=np.array([[b"a b", b""]], np.object_))
    assert generation.stop_sequences == ((11, 12), (13,))
    assert generation.stop_strings == (b"a b",)
