"""Tensors read into a prompt and its sampling: the inverse of what our own client writes, and strict."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.kserve_api.asked_tensors import is_stop, read_tensors
from trident.gateway.kserve_api.protobuf import read_message
from trident.gateway.kserve_api.tensors import Tensor
from trident_client.protobuf_format import to_message
from trident_client.request import TemplatePrompt, build_cancel, build_request
from trident_client.sampling import Sampling

TEXT = Tensor("text_input", "BYTES", (1, 1), ["Hello"])
MAX_TOKENS = Tensor("max_tokens", "INT32", (1, 1), [8])


def flag(name, value=True):
    return Tensor(name, "BOOL", (1, 1), [value])


def read(*tensors, outputs=()):
    return read_tensors([TEXT, MAX_TOKENS, *tensors], outputs)


PROMPTS = st.one_of(
    st.text(min_size=1),
    st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text()}), min_size=1),
    st.builds(TemplatePrompt, st.just("greet@1"), st.dictionaries(st.text(), st.text(), max_size=2)),
)
SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.integers(1, 2**31 - 1),
    temperature=st.none() | st.floats(0, 2, width=32),
    top_k=st.none() | st.integers(0, 100),
    seed=st.none() | st.integers(0, 2**64 - 1),
    min_tokens=st.none() | st.integers(0, 10),
    num_return_sequences=st.none() | st.integers(1, 4),
    stop_words=st.lists(st.text(), max_size=3).map(tuple),
    guided_decoding_guide=st.none() | st.text(min_size=1),
    return_log_probs=st.none() | st.booleans(),
    timeout_ms=st.none() | st.integers(1, 10**6),
)


@given(PROMPTS, SAMPLINGS, st.booleans())
def test_what_our_client_writes_is_read_as_it_was(prompt, sampling, is_streaming):
    """For every prompt and sampling, over the wire's own form."""
    message = to_message(build_request("id", "m", prompt, sampling, is_streaming=is_streaming))
    asked = read_tensors(read_message(message)[0])
    assert (asked.prompt, asked.sampling, asked.is_streaming) == (prompt, sampling, is_streaming)
    assert not asked.unwanted
    assert not asked.echo


def test_the_cancel_of_our_client_is_a_stop():
    """`stop=true`, whatever else its model requires."""
    assert is_stop(read_message(to_message(build_cancel("id", "tensorrt_llm")))[0])
    assert not is_stop([TEXT, MAX_TOKENS, flag("stop", False)])


def test_counts_are_asked_of_upstream_and_kept_from_a_client_that_did_not_ask():
    """Limits are settled by them; Triton shows them on request only."""
    asked = read()
    assert asked.sampling.return_num_output_tokens
    assert asked.sampling.return_num_input_tokens
    assert asked.unwanted == {"num_input_tokens", "num_cached_tokens", "num_output_tokens"}
    assert read(flag("return_num_output_tokens")).unwanted == {"num_input_tokens", "num_cached_tokens"}


def test_outputs_that_were_not_named_are_not_wanted():
    """As with any KServe server."""
    asked = read(outputs=["text_output", "finish_reason"])
    assert "batch_index" in asked.unwanted
    assert not {"text_output", "finish_reason"} & asked.unwanted


@pytest.mark.parametrize(
    ("more", "echo"),
    [
        ([], "Hello"),
        ([flag("exclude_input_in_output", False)], "Hello"),
        ([flag("exclude_input_in_output")], ""),
        ([flag("stream")], ""),
    ],
)
def test_a_plain_prompt_is_repeated_before_a_whole_answer_unless_it_is_excluded(more, echo):
    """As Triton's ensemble does, which the gateway asks for a stream whatever the client asks for."""
    assert read(*more).echo == echo


def test_old_names_are_read_as_the_new_ones():
    """Clients of TensorRT-LLM before 0.20."""
    sampling = read(Tensor("random_seed", "UINT64", (1, 1), [7]), Tensor("min_length", "INT32", (1, 1), [2])).sampling
    assert (sampling.seed, sampling.min_tokens) == (7, 2)


def test_empty_strings_are_as_good_as_not_sent():
    """Clients fill required inputs with them; in lists they mean no word."""
    asked = read(Tensor("messages", "BYTES", (1, 1), [""]), Tensor("stop_words", "BYTES", (1, 1), [""]))
    assert asked.prompt == "Hello"
    assert asked.sampling.stop_words == ("",)


@pytest.mark.parametrize(
    ("tensor", "outputs"),
    [
        (Tensor("lora_task_id", "UINT64", (1, 1), [7]), ()),
        (Tensor("lora_weights", "FP16", (1, 1, 2), [0.5, 0.5]), ()),
        (Tensor("lora_config", "INT32", (1, 1, 3), [0, 0, 8]), ()),
        (Tensor("prompt_embedding_table", "FP16", (1, 1, 2), [0.5, 0.5]), ()),
        (flag("return_context_logits"), ()),
        (flag("return_generation_logits"), ()),
        (flag("return_context_logits", False), ("context_logits",)),
        (flag("return_generation_logits", False), ("text_output", "generation_logits")),
    ],
)
def test_no_weights_come_in_and_no_logits_go_out(tensor, outputs):
    """Weights would be loaded into what all tenants share, and logits would be held whole for each request."""
    name = outputs[-1] if outputs else tensor.name
    with pytest.raises(UnsupportedParameterError, match=f"the gateway takes no {name}: ") as refusal:
        read(tensor, outputs=outputs)
    assert refusal.value.param == name


def test_logits_that_are_not_wanted_may_be_said_so():
    """As NVIDIA's clients do in every request."""
    assert read(flag("return_context_logits", False)).sampling.return_context_logits is False


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("temprature", "FP32", (1, 1), [1.0]), "unexpected input 'temprature'; did you mean 'temperature'"),
        (MAX_TOKENS, "max_tokens is given twice"),
        (Tensor("random_seed", "UINT64", (1, 1), [1]), "random_seed is given twice"),
        (Tensor("top_k", "INT64", (1, 1), [1]), "top_k must be INT32, got INT64"),
        (Tensor("top_k", "INT32", (1,), [1]), r"top_k must have shape \[1, 1\], got \[1\]"),
        (Tensor("top_k", "INT32", (1, 2), [1, 2]), r"top_k must have shape \[1, 1\], got \[1, 2\]"),
        (Tensor("top_k", "INT32", (), [1]), r"top_k must have shape \[1, 1\], got \[\]"),
        (Tensor("top_k", "INT32", (1, 1), ["5"]), "top_k must be INT32, got '5'"),
        (Tensor("top_k", "INT32", (1, 1), [2**31]), "out of its range"),
        (Tensor("temperature", "FP32", (1, 1), [float("nan")]), "out of its range"),
        (flag("stream", 1), "stream must be BOOL"),
        (Tensor("num_return_sequences", "INT32", (1, 1), [0]), "num_return_sequences must be at least 1, got 0"),
        (Tensor("messages", "BYTES", (1, 1), ["[]"]), "send text_input or messages, not both"),
        (Tensor("prompt_variables", "BYTES", (1, 1), ["{}"]), "prompt_variables need prompt_template"),
    ],
)
def test_what_is_not_the_ensembles_is_refused_by_name(tensor, message):
    """With the value, and what to do."""
    more = [Tensor("seed", "UINT64", (1, 1), [1])] if tensor.name == "random_seed" else []
    with pytest.raises(InvalidRequestError, match=message):
        read(*more, tensor)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([TEXT], "max_tokens is missing"),
        ([TEXT, Tensor("max_tokens", "INT32", (1, 1), [0])], "max_tokens must be at least 1, got 0"),
        ([MAX_TOKENS], "there is no prompt; send text_input"),
        ([MAX_TOKENS, Tensor("text_input", "BYTES", (1, 1), [""])], "the prompt is empty"),
        ([MAX_TOKENS, Tensor("messages", "BYTES", (1, 1), ["{"])], "messages is not valid JSON"),
        ([MAX_TOKENS, Tensor("messages", "BYTES", (1, 1), ["{}"])], "messages must be JSON of a list"),
        ([MAX_TOKENS, Tensor("messages", "BYTES", (1, 1), ["[1]"])], r"messages\[0\] must be an object"),
    ],
)
def test_a_request_that_is_not_whole_is_refused(tensors, message):
    """Before anything is reserved or sent."""
    with pytest.raises(InvalidRequestError, match=message):
        read_tensors(tensors)


def test_an_unknown_output_is_refused():
    """With the nearest name."""
    with pytest.raises(InvalidRequestError, match="unexpected output 'text_outptu'; did you mean 'text_output'"):
        read(outputs=["text_outptu"])


def test_several_prompts_in_one_request_are_refused_with_what_to_do():
    """Each is a generation, with limits and a route of its own."""
    rows = Tensor("text_input", "BYTES", (2, 1), ["one", "two"])
    with pytest.raises(UnsupportedParameterError, match=r"text_input has 2 rows; .* send each as its own"):
        read_tensors([rows, MAX_TOKENS])


def test_an_echo_that_the_gateway_cannot_know_is_refused():
    """What a chat's template makes of messages only the server sees."""
    messages = Tensor("messages", "BYTES", (1, 1), ['[{"role": "user", "content": "Hi"}]'])
    with pytest.raises(UnsupportedParameterError, match="exclude_input_in_output must be true with messages"):
        read_tensors([messages, MAX_TOKENS, flag("exclude_input_in_output", False)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda message: message.raw_input_contents.pop(), "inputs have .* raw contents"),
        (lambda message: message.raw_input_contents.__setitem__(0, b"\x09\x00\x00\x00Hi"), "does not hold 1 strings"),
        (lambda message: message.raw_input_contents.__setitem__(0, b"\x01\x00\x00\x00\xff"), "is not UTF-8 at byte 0"),
        (lambda message: message.raw_input_contents.__setitem__(-1, b""), "has 0 bytes, which shape"),
        (lambda message: message.inputs[-1].shape.append(2**62), "bytes, which shape"),
        (lambda message: message.inputs[-1].shape.append(-1), "a dimension is not negative"),
        (lambda message: setattr(message.inputs[-1], "datatype", "FP8"), "the datatype 'FP8', which there is not"),
        (
            lambda message: setattr(message.parameters["sequence_id"], "int64_param", 1),
            "does not take the parameter 'sequence_id'",
        ),
        (
            lambda message: setattr(message.inputs[0].parameters["shared_memory_region"], "string_param", "region"),
            "does not take the parameter 'text_input.shared_memory_region'",
        ),
    ],
)  # fmt: skip
def test_a_message_that_does_not_hold_what_it_says_is_refused(change, message):
    """Shared memory is somebody else's memory, and a parameter that is not known is not ignored."""
    wire = to_message(build_request("id", "m", "Hello", Sampling(), is_streaming=True))
    change(wire)
    with pytest.raises(InvalidRequestError, match=message):
        read_message(wire)


def test_typed_contents_are_read_as_raw_ones():
    """Both forms are KServe's."""
    wire = to_message(build_request("id", "m", "Hello", Sampling(max_tokens=5), is_streaming=True))
    raw = list(wire.raw_input_contents)
    del wire.raw_input_contents[:]
    for tensor, content in zip(wire.inputs, raw, strict=True):
        if tensor.datatype == "BYTES":
            tensor.contents.bytes_contents.append(content[4:])
        elif tensor.datatype == "BOOL":
            tensor.contents.bool_contents.append(content == b"\x01")
        else:
            tensor.contents.int_contents.append(struct.unpack("<i", content)[0])
    asked = read_tensors(read_message(wire)[0])
    assert (asked.prompt, asked.sampling, asked.is_streaming) == ("Hello", Sampling(max_tokens=5), True)
