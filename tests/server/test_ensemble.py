"""Promises of the served ensemble: batches, concurrency, text, and one line for every bad request."""

from __future__ import annotations

import asyncio
import json
import math
import time

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.server.wire import outputs, prompts, request, stream_infer, text_tensor
from trident_client import AsyncClient, Client

# Counting has no near ties: the greedy answer is the same alone and in any batch.
COUNTING = [f"{n}, {n + 1}, {n + 2}, {n + 3}, {n + 4}," for n in range(10, 74)]


def completions(answers) -> dict[int, str]:
    texts: dict[int, str] = {}
    for answer in answers:
        values = outputs(answer)
        row = values["batch_index"][0]
        texts[row] = texts.get(row, "") + values["text_output"][0]
    return texts


@pytest.mark.parametrize("is_streaming", [False, True])
def test_several_prompts_in_one_request_are_answered_row_by_row(server, is_streaming):
    rows = COUNTING[:3]
    streamed = {"stream": ("BOOL", [is_streaming] * 3), "exclude_input_in_output": ("BOOL", [True] * 3)}
    answers = stream_infer(server.grpc_url, prompts(*rows, **streamed))
    alone = [
        completions(stream_infer(server.grpc_url, prompts(row, exclude_input_in_output=("BOOL", [True]))))[0]
        for row in rows
    ]
    assert completions(answers) == dict(enumerate(alone))
    finals = [answer.parameters["triton_final_response"].bool_param for answer in answers]
    assert finals == [False] * (len(answers) - 1) + [True]
    if not is_streaming:
        assert len(answers) == 3


def test_64_streams_at_once_each_equal_their_own_sequential_answer(server):
    async def one(client, prompt):
        async with client.stream(prompt, max_tokens=8) as stream:
            return "".join([delta.text async for delta in stream])

    async def both():
        async with AsyncClient(server.grpc_url) as client:
            alone = [await one(client, prompt) for prompt in COUNTING]
            return alone, await asyncio.gather(*[one(client, prompt) for prompt in COUNTING])

    alone, together = asyncio.run(both())
    assert len(set(alone)) > 50  # the answers differ, so that a mix-up would show
    assert together == alone


@pytest.mark.parametrize(
    "text",
    [
        "👩‍🌾👩‍🌾👋🏽🇩🇪 👩‍🌾👩‍🌾👋🏽🇩🇪 👩‍🌾👩‍🌾",
        "東京、京都、大阪、東京、京都、大阪、東京、",
        "e\u0301 a\u0300 o\u0308 e\u0301 a\u0300 o\u0308 e\u0301",
        "Привет, мир! Привет, мир! Привет,",
    ],
)
def test_unicode_streams_equal_the_whole_answer(server, text):
    with Client(server.grpc_url) as client:
        whole = client.generate(text, max_tokens=40, end_id=-1).text
        with client.stream(text, max_tokens=40, end_id=-1) as stream:
            deltas = [delta.text for delta in stream]
    assert "".join(deltas) == whole
    assert any(ord(char) > 127 for char in whole)


def test_the_prompt_is_echoed_unless_excluded_as_upstream(server):
    (echoed,) = stream_infer(server.grpc_url, prompts(COUNTING[0]))
    assert outputs(echoed)["text_output"][0].startswith(COUNTING[0])


def test_stop_words_end_the_answer_and_do_not_leak(server):
    with Client(server.grpc_url) as client:
        free = client.generate("One, two, three,", max_tokens=40)
        assert " six," in free.text
        stopped = client.generate("One, two, three,", max_tokens=40, stop_words=["x, sev"])
        with client.stream("One, two, three,", max_tokens=40, stop_words=["x, sev"]) as stream:
            streamed = "".join(delta.text for delta in stream)
    assert stopped.finish_reason == "stop"
    assert stopped.text == streamed == free.text[: free.text.index("x, sev")]
    assert stopped.num_output_tokens < 40


def test_the_model_s_own_eos_ends_a_chat_and_end_id_minus_one_does_not_let_it(server):
    messages = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    with Client(server.grpc_url) as client:
        chat = client.generate(messages, max_tokens=60)
        endless = client.generate(messages, max_tokens=60, end_id=-1)
    assert chat.finish_reason == "stop"
    assert "Paris" in chat.text
    assert "<|im_end|>" not in chat.text
    assert (endless.finish_reason, endless.num_output_tokens) == ("length", 60)


def test_sampling_parameters_change_the_answer_and_a_seed_repeats_it(server):
    with Client(server.grpc_url) as client:

        def ask(**parameters):
            return client.generate("Once upon a time", max_tokens=24, **parameters).text

        greedy = ask()
        assert ask(temperature=0.0) == greedy == ask(temperature=1.5, top_k=1)
        seeded = ask(temperature=1.5, seed=1)
        assert ask(temperature=1.5, seed=1) == seeded != ask(temperature=1.5, seed=2)
        assert ask(temperature=1.5) != ask(temperature=1.5)
        assert ask(temperature=1.5, seed=1, top_p=0.1) != seeded
        assert ask(repetition_penalty=1.8) != greedy
        assert ask(frequency_penalty=2.0) != greedy
        assert ask(presence_penalty=2.0) != greedy
        assert client.generate("Bye", max_tokens=40, min_tokens=40).num_output_tokens == 40


BAD = [
    ({"text_input": ("BYTES", [b"ab\xff"])}, "text_input is not valid UTF-8 (byte 2)"),
    ({"text_input": ("BYTES", [b""])}, "the prompt is empty"),
    ({"max_tokens": ("INT32", [0])}, "max_tokens must be in 1..2048, got 0"),
    ({"max_tokens": ("INT32", [-5])}, "max_tokens must be in 1..2048, got -5"),
    ({"max_tokens": ("INT32", [2049])}, "max_tokens must be in 1..2048, got 2049"),
    ({"text_input": ("BYTES", [b"word " * 5000])}, "tokens, this engine takes at most 4096"),
    ({"temperature": ("FP32", [math.nan])}, "temperature must be in 0..100, got nan"),
    ({"top_p": ("FP32", [1.5])}, "top_p must be in 0..1, got 1.5"),
    ({"top_k": ("INT32", [-1])}, "top_k must be in 0.."),
    ({"min_tokens": ("INT32", [13])}, "min_tokens must be in 0..max_tokens (12), got 13"),
    ({"end_id": ("INT32", [10**6])}, "end_id must be -1 (none) or in 0.."),
    ({"beam_width": ("INT32", [9])}, "beam_width must be in 1..8, got 9"),
    ({"num_return_sequences": ("INT32", [17])}, "num_return_sequences must be in 1..16, got 17"),
    ({"timeout_ms": ("INT32", [0])}, "timeout_ms must be in 1.."),
    ({"truncate": ("BYTES", [b"middle"])}, "truncate must be one of left, right, error, got 'middle'"),
    ({"prompt_template": ("BYTES", [b"summarise@1"])}, "not both"),
    ({"lora_name": ("BYTES", [b"poet"])}, "lora_name 'poet' is not an adapter of this engine"),
    ({"guided_decoding_guide_type": ("BYTES", [b"jsn"])}, "guided_decoding_guide_type"),
    ({"bad_words": ("BYTES", [b"x"])}, "bad_words is not supported"),
    ({"decoder_text_input": ("BYTES", [b"x"])}, "decoder_text_input is not supported"),
    ({"messages": ("BYTES", [b"[]"])}, "not both"),
    ({"tools": ("BYTES", [b"[]"])}, "need messages"),
    ({"stop_words": ("BYTES", [b"\xff"])}, "stop_words is not valid UTF-8"),
    ({"max_tokens": ("FP32", [5.0])}, "max_tokens"),  # a wrong dtype: Triton's own words
    ({"nonsense": ("INT32", [5])}, "nonsense"),  # an unknown tensor
    (
        {"text_input": ("BYTES", [1, 1], b"\xff\xff\xff\x7fabc")},
        "incomplete string data",
    ),  # a string that says it has 2 GiB
]


@pytest.mark.parametrize(("tensors", "complaint"), BAD, ids=[complaint[:40] for _, complaint in BAD])
def test_a_bad_request_is_one_clear_line_and_harms_nobody(server, tensors, complaint):
    (error,) = stream_infer(server.grpc_url, prompts("Hello", **tensors))
    assert complaint in error
    _assert_plain(error)
    assert len(stream_infer(server.grpc_url, prompts("Hello"))) == 1  # it still serves


def _assert_plain(error: str) -> None:
    assert "\n" not in error.strip()
    assert "Traceback" not in error
    assert ".py" not in error
    assert "/" not in error.replace("text/", "")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"text_input": "x", "max_tokens": 2**40}, "max_tokens must be in 1..2048, got 0"),  # wraps in Triton
        ({"text_input": "x", "max_tokens": 5, "temprature": 1}, "unknown parameter 'temprature'; did you mean"),
        ({"max_tokens": 5}, "neither"),
        ({"text_input": "x"}, "max_tokens is missing"),
        ({"messages": "[{", "max_tokens": 5}, "messages is not valid JSON"),
    ],
)
@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_a_bad_request_over_http_is_refused_with_400(server, path, body, complaint):
    answer = httpx.post(f"http://{server.http_url}/v2/models/ensemble/{path}", json=body, timeout=60)
    assert answer.status_code == 400
    error = json.loads(answer.text.removeprefix("data: "))["error"]
    assert complaint in error
    _assert_plain(error)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"text_input": "x", "max_tokens": "five"}', b"\xff\xff", b"[" * 5000]
)
@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_what_triton_itself_cannot_read_is_refused_too(server, path, body):
    answer = httpx.post(f"http://{server.http_url}/v2/models/ensemble/{path}", content=body, timeout=60)
    assert answer.status_code in (400, 500)
    assert "Traceback" not in answer.text
    assert httpx.get(f"http://{server.http_url}/v2/health/ready").status_code == 200


def num_cancelled(server) -> float:
    """Sequences that ended as cancelled, as /metrics has it."""
    lines = httpx.get(f"http://{server.metrics_url}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("trident_requests_total{") and '="cancelled"' in line]
    return sum(float(line.split()[-1]) for line in counts)


def test_a_direct_cancel_of_the_engine_model_frees_it(server):
    """The engine model sees a client that leaves; the next request with the same id is then taken again."""
    ids = {
        "input_ids": ("INT32", [1, 3], b"\x05\0\0\0\x06\0\0\0\x07\0\0\0"),
        "input_lengths": ("INT32", [3]),
        "request_output_len": ("INT32", [2000]),
        "end_id": ("INT32", [-1]),
        "streaming": ("BOOL", [True]),
    }
    before = num_cancelled(server)
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelStreamInfer(iter([request("tensorrt_llm", "direct", **ids)]))
        next(call)
        call.cancel()
    deadline = time.monotonic() + 30
    while num_cancelled(server) == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again = request("tensorrt_llm", "direct", **{**ids, "request_output_len": ("INT32", [2])})
    while isinstance((answers := stream_infer(server.grpc_url, again))[0], str):
        assert "a live request has the id 'direct'" in answers[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert outputs(answers[-1])["finish_reason"] == ["length"]


def test_stop_without_an_id_is_refused(server):
    tensors = {"input_ids": ("INT32", [5]), "input_lengths": ("INT32", [1]), "request_output_len": ("INT32", [1])}
    (error,) = stream_infer(server.grpc_url, request("tensorrt_llm", **tensors, stop=("BOOL", [True])))
    assert "stop needs the id" in error


def test_several_texts_have_the_wire_form_that_triton_expects():
    assert text_tensor(b"a", b"bc") == b"\x01\0\0\0a\x02\0\0\0bc"
