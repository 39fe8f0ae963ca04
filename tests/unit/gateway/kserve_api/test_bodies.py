"""The bodies of infer, generate and the plain form: what each takes, refuses by name and answers."""

import json
import struct

import pytest

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.kserve_api.asked_tensors import read_tensors
from trident.gateway.kserve_api.generate_body import generate_answer, read_generate_body
from trident.gateway.kserve_api.infer_body import infer_answer, read_infer_body
from trident.gateway.kserve_api.plain_body import (
    NewTokensForm,
    Texts,
    VllmForm,
    new_tokens_answer,
    read_plain_body,
    vllm_answer,
)
from trident.gateway.kserve_api.tensors import Tensor
from trident_client.completion import Completion
from trident_client.json_format import to_body
from trident_client.request import build_request
from trident_client.sampling import Sampling

TEXT = {"name": "text_input", "shape": [1, 1], "datatype": "BYTES", "data": [["Hello"]]}
TOKENS = {"name": "max_tokens", "shape": [1, 1], "datatype": "INT32", "data": [5]}
OUT = [Tensor("text_output", "BYTES", (1,), ["hi"]), Tensor("batch_index", "INT32", (1, 1), (0,))]


def infer(*, binary=b"", header=True, **members):
    """As if it had come over HTTP."""
    head = json.dumps({"inputs": [TEXT, TOKENS], **members}).encode()
    return read_infer_body(head + binary, str(len(head)) if binary and header else None)


def test_json_and_binary_tensors_are_read_alike():
    """Triton's binary data extension, and nested or flat JSON."""
    text = b"\x05\x00\x00\x00Hello"
    tensors = [
        {"name": "text_input", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(text)}},
        {"name": "max_tokens", "shape": [1, 1], "datatype": "INT32", "parameters": {"binary_data_size": 4}},
    ]
    in_binary = infer(inputs=tensors, binary=text + struct.pack("<i", 5), id="x")
    in_json = infer(id="x")
    assert read_tensors(in_binary.tensors) == read_tensors(in_json.tensors)
    assert in_binary.id == in_json.id == "x"


@pytest.mark.parametrize(
    ("members", "is_binary"),
    [
        ({}, {"text_output": False, "batch_index": False}),
        ({"parameters": {"binary_data_output": True}}, {"text_output": True, "batch_index": True}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "text_output", "parameters": {"binary_data": False}}, {"name": "batch_index"}],
            },
            {"text_output": False, "batch_index": True},
        ),
        (
            {"outputs": [{"name": "batch_index", "parameters": {"binary_data": True}}]},
            {"text_output": False, "batch_index": True},
        ),
    ],
)  # fmt: skip
def test_each_output_is_written_as_it_was_asked_for(members, is_binary):
    """As JSON, or behind it, in the order of the outputs."""
    content, headers = infer_answer("m", infer(**members), OUT)
    size = int(headers.get("inference-header-content-length", len(content)))
    outputs = {each["name"]: each for each in json.loads(content[:size])["outputs"]}
    assert {name: "data" not in each for name, each in outputs.items()} == is_binary
    raw = {"text_output": b"\x02\x00\x00\x00hi", "batch_index": struct.pack("<i", 0)}
    assert content[size:] == b"".join(raw[name] for name in outputs if is_binary[name])
    assert outputs["text_output"].get("data", ["hi"]) == ["hi"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"inputs": {}}, "inputs must be a list"),
        ({"inputs": [1]}, r"inputs\[0\] must be a JSON object"),
        ({"inputs": [{**TEXT, "shape": [1, True]}]}, r"inputs\[0\].shape must be a list of integers"),
        ({"inputs": [{**TEXT, "shape": [1, 2]}]}, "text_input has 1 values"),
        ({"inputs": [{**TEXT, "name": 5}]}, r"inputs\[0\] has no 'name' that is a string"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES"}]}, "neither data nor binary_data_size"),
        ({"inputs": [{**TEXT, "parameters": {"binary_data_size": 4}}]}, "data and binary_data_size"),
        ({"inputs": [{**TEXT, "parameters": {"shared_memory_region": "r"}}]}, "parameter 'shared_memory_region'"),
        ({"outputs": [{"name": "text_output", "parameters": {"classification": 3}}]}, "parameter 'classification'"),
        ({"parameters": {"sequence_id": 3}}, "parameter 'sequence_id' of the body"),
        ({"imputs": []}, "unknown member 'imputs'; did you mean 'inputs'"),
        ({"id": 5}, "no 'id' that is a string"),
    ],
)
def test_an_infer_body_that_is_wrong_is_refused_by_name(members, message):
    """Shared memory and everything else that is Triton's own."""
    with pytest.raises(InvalidRequestError, match=message):
        infer(**members)


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (b"{", None, "the body is not JSON"),
        (b"[]", None, "the body must be a JSON object"),
        (b"{}", "9", "inference-header-content-length is 9, and the body has 2 bytes"),
        (b"{}", "-1", "must be a number"),
        (b"{}rest", "2", "4 bytes are left behind"),
    ],
)
def test_a_body_that_is_not_whole_is_refused(body, length, message):
    """Whatever its header says."""
    with pytest.raises(InvalidRequestError, match=message):
        read_infer_body(body, length)


def test_generate_reads_what_our_client_writes():
    """The same request as over gRPC."""
    request = build_request("r", "m", "Hello", Sampling(max_tokens=3, stop_words=["a", "b"]), is_streaming=True)
    client_id, tensors = read_generate_body(to_body(request))
    asked = read_tensors(tensors)
    assert (client_id, asked.prompt, asked.is_streaming) == ("r", "Hello", True)
    assert asked.sampling == Sampling(max_tokens=3, stop_words=("a", "b"))


def test_generate_takes_inputs_in_parameters_too():
    """As the extension's document has them."""
    _, tensors = read_generate_body(b'{"text_input": "Hello", "parameters": {"max_tokens": 3, "stream": false}}')
    assert read_tensors(tensors).sampling.max_tokens == 3


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b'{"text_inputs": "x"}', InvalidRequestError, "unexpected input 'text_inputs'; did you mean 'text_input'"),
        (b'{"lora_config": [[1, 2, 3]]}', UnsupportedParameterError, "the gateway takes no lora_config"),
        (b'{"id": 4}', InvalidRequestError, "id must be a string"),
        (b'{"parameters": []}', InvalidRequestError, "parameters must be a JSON object"),
        (b'"text"', InvalidRequestError, "must be a JSON object"),
    ],
)
def test_a_generate_body_that_is_wrong_is_refused_by_name(body, kind, message):
    """No member is ignored."""
    with pytest.raises(kind, match=message):
        read_generate_body(body)


def test_generate_answers_one_value_plain_and_several_as_a_list():
    """As Triton does; bytes that are no text do not break the JSON."""
    answer = json.loads(generate_answer("m", "r", [*OUT, Tensor("token_texts", "BYTES", (1, 2), (b"a", b"\xff"))]))
    assert answer == {
        "model_name": "m", "model_version": "1", "id": "r", "text_output": "hi", "batch_index": 0,
        "token_texts": ["a", "\N{REPLACEMENT CHARACTER}"],
    }  # fmt: skip


def test_vllms_form_has_vllms_defaults():
    """16 tokens at a temperature of 1."""
    form = read_plain_body(b'{"prompt": "Hello"}')
    assert isinstance(form, VllmForm)
    assert form.sampling() == Sampling(max_tokens=16, temperature=1.0, stop_words=[])


def test_vllms_form_is_read_whole():
    """One stop word or several."""
    form = read_plain_body(
        b'{"prompt": "x", "max_tokens": 4, "temperature": 0.5, "top_p": 0.9, "stop": "a", "n": 2, "stream": true}'
    )
    assert isinstance(form, VllmForm)
    assert form.sampling() == Sampling(4, temperature=0.5, top_p=0.9, stop_words=["a"], num_return_sequences=2)
    assert form.stream


def test_the_form_with_max_new_tokens_is_greedy_by_default():
    """And knows three parameters."""
    form = read_plain_body(b'{"prompt": "x", "max_new_tokens": 4}')
    assert isinstance(form, NewTokensForm)
    assert form.sampling() == Sampling(4, temperature=0.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"prompt": "x", "max_tokens": 1, "max_new_tokens": 1}',
            "'max_tokens' and max_new_tokens do not go together",
        ),
        (b'{"prompt": "x", "max_new_tokens": 1, "top_p": 0.5}', "'top_p' and max_new_tokens do not go together"),
        (b'{"prompt": "x", "max_token": 1}', "unknown parameter 'max_token'; did you mean 'max_tokens'"),
        (b'{"max_tokens": 1}', "'prompt' is required"),
        (b'{"prompt": 5}', "'prompt': "),
        (b'{"prompt": "x", "max_tokens": 0}', "'max_tokens': "),
        (b'{"prompt": "x", "temperature": -1}', "'temperature': "),
        (b'{"prompt": "x", "stream": "yes"}', "'stream': "),
        (b"[]", "the body must be a JSON object"),
        (b"", "the body is not JSON"),
    ],
)
def test_a_plain_body_that_is_wrong_is_refused_by_name(body, message):
    """Members of both forms, of neither, and values out of range."""
    with pytest.raises(InvalidRequestError, match=message):
        read_plain_body(body)


def test_vllms_answer_repeats_the_prompt_and_each_line_the_text_so_far():
    """As its demonstration server does."""
    texts = Texts("1 ", ["", ""])
    texts.add(0, "2")
    texts.add(0, " 3")
    assert json.loads(texts.line()) == {"text": ["1 2 3", "1 "]}
    assert texts.line().endswith(b"\n")
    assert json.loads(vllm_answer("a", ["b"])) == {"text": ["ab"]}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [('{"a": [1]}', {"a": [1]}), (" [1, 2]\n", [1, 2]), ("12", None), ('{"a": ', None), ("Sure: {}", None)],
)
def test_an_answer_that_is_json_is_given_parsed_too(text, parsed):
    """An object or a list, the whole of the text."""
    answer = json.loads(new_tokens_answer(Completion("r", text, "stop", 3, 5), 0.25))
    assert answer["parsed_json"] == parsed
    assert (answer["status"], answer["generated_text"], answer["prompt_tokens"], answer["generated_tokens"]) == (
        "success", text, 3, 5,
    )  # fmt: skip
    assert answer["latency_ms"] == 250
