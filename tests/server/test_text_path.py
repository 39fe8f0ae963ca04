"""Promises of what a request may ask of its text, beside the text itself: whole or streamed, over gRPC or HTTP, alike.

One file for all of it, because every feature is asked for in the same four ways. A small model repeats what it was
shown four times, so a prompt decides what it answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.server.wire import http_infer, outputs, prompts, stream_infer
from trident import prompts as prompt_files
from trident.errors import ContentBlockedError, DeadlineExceededError, PromptTooLongError
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_client import Client, TemplatePrompt
from trident_client.completion import Delta, assemble

COUNTING = "10, 11, 12, 13, 14,"  # no near ties
DAYS = "Monday, Tuesday, Wednesday,"
CHAT = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
END_OF_TURN = "<|im_end|>"
LONG = {"max_tokens": 1500, "end_id": -1}  # would run for ten seconds and more
ADDRESS = "ann.lee@example.com"
POLICY = """
[deny_list]
mode = "enforce"
words = ["Saturday"]

[pii]
mode = "enforce"
on = ["output"]
entities = ["EMAIL_ADDRESS"]
"""


def shown(answer: str) -> dict:
    """A prompt that is answered with `answer`, and the stop word behind it."""
    return {"prompt": f"Q: weather?\nA: {answer}\n" * 4 + "Q: weather?\nA:", "stop_words": ["\nQ:"], "max_tokens": 120}


def call(arguments: str = "arguments", city: str = "Paris") -> str:
    return json.dumps({"name": "get_weather", arguments: {"city": city}})


CALLS = {
    "hermes": f"<tool_call>\n{call()}\n</tool_call>",
    "llama3_json": call("parameters"),
    "mistral": f"[TOOL_CALLS] [{call()}]",
}
THOUGHT = "<think>\nI look out.\n</think>\nSunny"


@pytest.fixture(params=["grpc", "http"])
def protocol(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def is_streaming(request):
    return request.param


@pytest.fixture(scope="module")
def checked_server(deployment, tmp_path_factory):
    """A server of its own, with enforced checks."""
    path = tmp_path_factory.mktemp("checks") / "policy.toml"
    path.write_text(POLICY)
    with running_server(deployment.model_copy(update={"checks": path, **free_ports()})) as running:
        yield running


def deltas_of(server, protocol, is_streaming, prompt, **parameters):
    """Every delta of one completion; of a whole answer the one."""
    with Client(getattr(server, f"{protocol}_url"), protocol) as client:
        if not is_streaming:
            whole = client.generate(prompt, **parameters)
            return [
                Delta(**{each.name: getattr(whole, each.name) for each in fields(Delta) if hasattr(whole, each.name)})
            ]
        with client.stream(prompt, **parameters) as stream:
            return list(stream)


@pytest.fixture
def deltas(server, protocol, is_streaming):
    return lambda prompt, **parameters: deltas_of(server, protocol, is_streaming, prompt, **parameters)


@pytest.fixture
def complete(deltas):
    """The same completion, asked for in each of the four ways."""
    return lambda prompt, **parameters: assemble("", deltas(prompt, **parameters))


@pytest.fixture
def checked(checked_server, protocol, is_streaming):
    return lambda prompt, **parameters: deltas_of(checked_server, protocol, is_streaming, prompt, **parameters)


def infer(server, protocol, is_streaming, **tensors):
    """Every answer on the wire as outputs by name, or an error's text; for what the client does not ask for."""
    tensors = {**tensors, "stream": ("BOOL", is_streaming), "exclude_input_in_output": ("BOOL", True)}
    if protocol == "http":
        body = {name: value for name, (_, value) in tensors.items()}
        return http_infer(server.http_url, "generate_stream", text_input=COUNTING, **body)
    message = prompts(COUNTING, **{name: (dtype, [value]) for name, (dtype, value) in tensors.items()})
    return [answer if isinstance(answer, str) else outputs(answer) for answer in stream_infer(server.grpc_url, message)]


# Log-probabilities


def test_every_token_has_its_log_probability_and_its_text(complete):
    answer = complete(COUNTING, max_tokens=16, return_log_probs=True)
    assert len(answer.log_probs) == len(answer.token_texts) == answer.num_output_tokens == 16
    assert b"".join(answer.token_texts).decode() == answer.text
    assert answer.text.startswith(" 15, 16,")
    assert all(-5 < log_prob <= 0 for log_prob in answer.log_probs)
    assert answer.cum_log_prob == pytest.approx(sum(answer.log_probs), abs=1e-4)


@pytest.fixture(scope="module")
def free(server):
    """A whole greedy answer that nothing stops, with its log-probabilities."""
    return deltas_of(server, "grpc", False, COUNTING, max_tokens=24, return_log_probs=True)[0]


def test_each_response_brings_the_log_probabilities_of_its_own_tokens(server, protocol, free):
    parts = deltas_of(server, protocol, True, COUNTING, max_tokens=24, return_log_probs=True)
    assert len(parts) > 1
    assert [len(part.log_probs) for part in parts] == [len(part.token_texts) for part in parts]
    assert assemble("", parts).log_probs == pytest.approx(free.log_probs, abs=1e-3)
    assert parts[-1].cum_log_prob == pytest.approx(free.cum_log_prob, abs=1e-2)


@pytest.mark.parametrize("word", [" 17", "6, 1", "7"])
def test_a_stop_word_takes_its_log_probabilities_with_it(complete, free, word):
    stopped = complete(COUNTING, max_tokens=24, return_log_probs=True, stop_words=[word])
    assert (stopped.text, stopped.finish_reason) == (free.text.partition(word)[0], "stop")
    assert len(stopped.log_probs) == len(stopped.token_texts) < stopped.num_output_tokens
    assert b"".join(stopped.token_texts).decode() == stopped.text
    assert stopped.log_probs == pytest.approx(free.log_probs[: len(stopped.log_probs)], abs=1e-3)
    assert stopped.cum_log_prob == pytest.approx(sum(stopped.log_probs), abs=1e-4)


# Several sequences, and beams

SAMPLED = {
    "max_tokens": ("INT32", 12),
    "num_return_sequences": ("INT32", 3),
    "temperature": ("FP32", 1.5),
    "seed": ("UINT64", 1),
}


def texts_by_sequence(answers) -> dict[int, str]:
    texts: dict[int, str] = {}
    for answer in answers:
        (row,), (sequence,) = answer["batch_index"], answer["sequence_index"]
        assert row == 0
        texts[sequence] = texts.get(sequence, "") + answer["text_output"][0]
    return texts


def test_three_sequences_differ_and_a_seed_repeats_each(server, protocol, is_streaming):
    answers = infer(server, protocol, is_streaming, **SAMPLED)
    texts = texts_by_sequence(answers)
    assert sorted(texts) == [0, 1, 2]
    assert len(set(texts.values())) == 3
    ended = [answer["sequence_index"][0] for answer in answers if answer.get("finish_reason", [""])[0]]
    assert sorted(ended) == [0, 1, 2]
    assert (len(answers) == 3) == (not is_streaming)
    assert texts_by_sequence(infer(server, protocol, not is_streaming, **SAMPLED)) == texts
    other = {**SAMPLED, "seed": ("UINT64", 2)}
    assert texts_by_sequence(infer(server, protocol, is_streaming, **other)) != texts


def test_triton_has_one_response_at_most_for_generate(server):
    """So that several sequences over HTTP need `generate_stream`; Triton's refusal says so."""
    body = {name: value for name, (_, value) in SAMPLED.items()}
    (error,) = http_infer(server.http_url, "generate", text_input=COUNTING, **body)
    assert "use generate stream" in error


def test_beams_come_as_one_response_the_best_first(server, protocol, is_streaming):
    (answer,) = infer(server, protocol, is_streaming, max_tokens=("INT32", 12), beam_width=("INT32", 3))
    texts, scores = answer["text_output"], answer["cum_log_probs"]
    assert texts[0] == " 15, 16, 17,"
    assert len(set(texts)) == len(texts) == len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0


# Reports, counts and times


def test_an_answer_names_its_prompt_template_and_the_hash_of_its_file(complete):
    report = complete(TemplatePrompt("summarize@1", {"text": "Bees make honey.", "sentences": 1}), max_tokens=4).report
    file = Path(*prompt_files.__path__) / "summarize" / "1.toml"
    assert report == {
        "prompt_template": "summarize@1",
        "prompt_template_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize(("side", "has_end"), [("left", True), ("right", False)])
def test_a_truncated_prompt_says_how_much_was_cut_and_keeps_the_other_end(server, protocol, side, has_end):
    words, end = " word" * 4500, " the end"  # what is kept begins with the same tokens, so that the second is cached
    asked = {"max_tokens": 1, "exclude_input_in_output": False}
    with Client(getattr(server, f"{protocol}_url"), protocol) as client:
        with pytest.raises(PromptTooLongError, match="takes at most 4096") as caught:
            client.generate(words + end, **asked, truncate="error")
        answer = client.generate(words + end, **asked, truncate=side)
    num_tokens = int(re.findall(r"(\d+) tokens", str(caught.value))[0])
    assert (answer.report, answer.num_input_tokens) == ({"truncated_tokens": num_tokens - 4096}, 4096)
    assert (end in answer.text) == has_end
    assert answer.text.startswith(words[:1000])


@pytest.mark.parametrize(("max_tokens", "said"), [(40, "kept"), (2, "cut")])
def test_a_guided_answer_says_whether_it_keeps_its_guide(complete, max_tokens, said):
    guide = {"guided_decoding_guide_type": "regex", "guided_decoding_guide": "[0-9]{4}-[0-9]{2}"}
    answer = complete("A month of the last century:", max_tokens=max_tokens, **guide)
    assert answer.report == {"guide": said}
    assert (re.fullmatch("[0-9]{4}-[0-9]{2}", answer.text) is not None) == (said == "kept")


def test_an_answer_to_a_plain_request_reports_nothing(complete):
    assert complete(COUNTING, max_tokens=4).report == {}


def test_the_last_response_tells_the_times_in_order_and_the_counts(server, protocol, is_streaming):
    flags = ("return_perf_metrics", "return_num_input_tokens", "return_num_output_tokens")
    asked = dict.fromkeys(flags, ("BOOL", True))
    *others, last = infer(server, protocol, is_streaming, max_tokens=("INT32", 8), **asked)
    names = ["arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns"]
    times = [last[name][0] for name in names]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1]
    assert (last["num_input_tokens"], last["num_output_tokens"]) == ([19], [8])
    assert bool(others) == is_streaming
    assert not any(name in other for other in others for name in (*names, "num_output_tokens"))


def test_special_tokens_are_hidden_unless_asked_for(complete):
    asked = {"max_tokens": 30, "end_id": -1}  # goes on behind the end of its turn
    hidden, visible = complete(CHAT, **asked), complete(CHAT, **asked, skip_special_tokens=False)
    said, _, behind = visible.text.partition(END_OF_TURN)
    assert behind  # what it says there has near ties, so only the turn itself is the same twice
    assert hidden.text.startswith(said)
    assert END_OF_TURN not in hidden.text


# Tool calls and reasoning


@pytest.mark.parametrize("family", CALLS)
def test_a_tool_call_is_taken_out_of_the_text(deltas, family):
    parts = deltas(**shown(CALLS[family]), tool_parser=family)
    (found,) = [found for part in parts for found in part.tool_calls]
    answer = assemble("", parts)
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert (found["index"], found["type"], found["function"]["name"]) == (0, "function", "get_weather")
    assert json.loads(found["function"]["arguments"]) == {"city": "Paris"}
    assert re.fullmatch("[a-z0-9]{9}" if family == "mistral" else "call_[0-9a-f]{24}", found["id"])


def test_several_calls_are_numbered(complete):
    both = "\n".join(f"<tool_call>\n{call(city=city)}\n</tool_call>" for city in ("Paris", "Rome"))
    calls = complete(**shown(f"Let me see. {both}"), tool_parser="hermes").tool_calls
    assert [found["index"] for found in calls] == [0, 1]
    assert [json.loads(found["function"]["arguments"])["city"] for found in calls] == ["Paris", "Rome"]
    assert len({found["id"] for found in calls}) == 2


def test_text_before_a_call_is_content_and_a_call_is_text_where_no_parser_is_asked_for(complete):
    asked = shown(f"Let me see. {CALLS['hermes']}")
    assert complete(**asked).text == f" Let me see. {CALLS['hermes']}"
    parsed = complete(**asked, tool_parser="hermes")
    assert (parsed.text, len(parsed.tool_calls)) == (" Let me see.", 1)


def test_a_call_that_is_cut_comes_back_as_content(complete):
    answer = complete(**{**shown(CALLS["hermes"]), "max_tokens": 16}, tool_parser="hermes")
    assert (answer.tool_calls, answer.finish_reason) == ((), "length")
    assert answer.text.strip()
    assert CALLS["hermes"].startswith(answer.text.strip())


def test_reasoning_is_parted_from_the_answer(complete):
    answer = complete(**shown(THOUGHT), reasoning_parser="think")
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("I look out.", "Sunny", "stop")


def test_reasoning_that_the_prompt_began_is_reasoning_from_the_start(complete):
    asked = shown(THOUGHT)
    answer = complete(**{**asked, "prompt": asked["prompt"] + " <think>"}, reasoning_parser="think")
    assert (answer.reasoning.strip(), answer.text) == ("I look out.", "Sunny")


def test_a_call_after_reasoning_is_found(complete):
    answer = complete(
        **shown(f"<think>\nI look out.\n</think>\n{CALLS['hermes']}"), reasoning_parser="think", tool_parser="hermes"
    )
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("I look out.", "", "tool_calls")
    assert len(answer.tool_calls) == 1


# Enforced checks


@pytest.mark.parametrize("prompt", ["What do you do on Saturday?", [{"role": "user", "content": "saturday!"}]])
def test_a_prompt_that_a_check_refuses_is_one_line_that_does_not_repeat_it(checked, prompt):
    with pytest.raises(ContentBlockedError, match="the check 'deny_list' of this deployment's policy") as caught:
        checked(prompt)
    assert "\n" not in str(caught.value)
    assert "saturday" not in str(caught.value).lower()


def test_an_address_never_leaves_wherever_the_stream_is_cut(checked):
    parts = checked(**shown(f"Write to {ADDRESS} please."))
    assert not any("@" in part.text or "ann" in part.text or "example" in part.text for part in parts)
    answer = assemble("", parts)
    assert answer.text == " Write to <EMAIL_ADDRESS> please."
    assert answer.finish_reason == "stop"
    (found,) = answer.report["checks"]
    assert (found["check"], found["action"]) == ("pii", "redact")


@pytest.mark.parametrize(
    ("answer", "more", "expected"),
    [
        (f"Write to {ADDRESS} please.", {"beam_width": 2}, "does not go with the deployment's output checks"),
        (f"Write to {ADDRESS} please.", {"return_log_probs": True}, "does not go with the deployment's output checks"),
        (f"Write to {ADDRESS} please.", {"num_return_sequences": 2}, "Write to <EMAIL_ADDRESS> please"),
        (f"<tool_call>\n{call(city=ADDRESS)}\n</tool_call>", {"tool_parser": "hermes"}, "content_filter"),
        (f"<think>\nI ask {ADDRESS} now.\n</think>\nDone", {"reasoning_parser": "think"}, "I ask <EMAIL_ADDRESS> now"),
    ],
    ids=["beams", "log_probs", "sequences", "tool_call", "reasoning"],
)
def test_an_address_leaves_by_no_other_output_either(checked_server, answer, more, expected):
    asked = shown(answer)
    stop_words = {} if "beam_width" in more else {"stop_words": asked["stop_words"]}
    answers = http_infer(
        checked_server.http_url, "generate_stream", text_input=asked["prompt"], max_tokens=60,
        exclude_input_in_output=True, **stop_words, **more,
    )  # fmt: skip
    assert answers
    for said in answers:
        assert ADDRESS not in json.dumps(said)
        assert expected in json.dumps(said)


def test_an_answer_that_a_check_blocks_ends_before_what_is_blocked(checked):
    answer = assemble("", checked(DAYS, max_tokens=24))
    assert (answer.text.strip(), answer.finish_reason) == ("Thursday, Friday,", "content_filter")
    (found,) = answer.report["checks"]
    assert (found["check"], found["action"]) == ("deny_list", "block")


def test_an_answer_that_no_check_minds_is_as_without_checks(checked, complete):
    assert assemble("", checked(COUNTING, max_tokens=16)) == complete(COUNTING, max_tokens=16)


# Deadlines


def test_a_passed_deadline_ends_the_request_with_its_error(complete):
    with pytest.raises(DeadlineExceededError, match=r"the request's 0\.3 s are over"):
        complete(COUNTING, timeout_ms=300, **LONG)


def test_a_deadline_that_holds_changes_nothing(complete):
    assert complete(COUNTING, max_tokens=4, timeout_ms=60_000).text == " 15,"


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_triton_s_own_timeout_over_http_is_a_deadline(server, verb):
    is_streaming = verb == "generate_stream"
    *_, error = http_infer(server.http_url, verb, text_input=COUNTING, stream=is_streaming, timeout=300_000, **LONG)
    assert "deadline exceeded: the request's 0.3 s are over" in error


def test_triton_s_own_timeout_over_grpc_is_a_deadline(server, is_streaming):
    long = {"max_tokens": ("INT32", [LONG["max_tokens"]]), "end_id": ("INT32", [LONG["end_id"]])}
    message = prompts(COUNTING, **long, stream=("BOOL", [is_streaming]))
    message.parameters["timeout"].int64_param = 300_000
    *_, error = stream_infer(server.grpc_url, message)
    assert "deadline exceeded: the request's 0.3 s are over" in error
