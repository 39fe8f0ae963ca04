"""What preprocessing refuses, in one line that names it: bad input, long prompts, what a template will not take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.manifests import LIMITS
from tests.unit.text.preprocessing_under_test import TOOLS, USER, chat, encode, preprocessing
from trident.errors import InvalidRequestError, ManifestError, PromptTooLongError, UnsupportedParameterError
from trident.manifest import EngineKind
from trident.tensors import read_prompts
from trident.text.chat_template import ChatTemplate
from trident.text.guides import GuideKind
from trident.text.prompt import Prompt


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        (Prompt(max_tokens=4), "neither"),
        (Prompt(max_tokens=4, text=b""), "empty"),
        (Prompt(max_tokens=4, text=b"x", messages=b"[]"), "not both"),
        (Prompt(max_tokens=4, text=b"ab\xffc"), r"text_input is not valid UTF-8 \(byte 2\)"),
        (Prompt(max_tokens=0, text=b"x"), "max_tokens"),
        (Prompt(max_tokens=17, text=b"x"), "max_tokens must be in 1..16, got 17"),
        (Prompt(max_tokens=4, text=b"x", end_id=400), "end_id"),
        (Prompt(max_tokens=4, text=b"x", tools=b"[]"), "need messages"),
        (Prompt(max_tokens=4, messages=b"[{"), "messages is not valid JSON"),
        (Prompt(max_tokens=4, messages=b"[" * 10_000), "messages is not valid JSON"),
        (Prompt(max_tokens=4, messages=b"{}"), "JSON list"),
        (Prompt(max_tokens=4, messages=b"[" + b"9" * 5000 + b"]"), "messages is not valid JSON"),
        (Prompt(max_tokens=4, messages=b'[{"role": "user", "content": "\\ud800"}]'), "half of a surrogate pair"),
        (
            Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}), tools=b'[{"a": 1}]'),
            "tools are not supported",
        ),
        (
            Prompt(
                max_tokens=4, messages=chat({"role": "user", "content": "x"}), chat_template_kwargs=b'{"mesages": 1}'
            ),
            "no variable 'mesages'",
        ),
        (Prompt(max_tokens=None, text=b"x"), r"max_tokens is missing; send 1\.\.16"),
        (Prompt(max_tokens=4, messages=b"[]"), "at least one"),
        (Prompt(max_tokens=4, messages=b'[{"role": "boss", "content": "x"}]'), "role must be one of"),
        (Prompt(max_tokens=4, messages=b'[{"role": "user"}]'), r"messages\[0\].content is missing"),
        (Prompt(max_tokens=4, messages=b'[{"role": "user", "content": 5}]'), r"messages\[0\].content must be a string"),
        (Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}), tools=b"{}"), "tools must be"),
        (Prompt(max_tokens=4, text=b"x", stop_words=(b"\xff",)), "stop_words is not valid UTF-8"),
        (Prompt(max_tokens=4, text=b"x", prompt_template=b"summarize@1"), "text_input or prompt_template, not both"),
        (Prompt(max_tokens=4, text=b"x", prompt_variables=b"{}"), "prompt_variables need prompt_template"),
        (Prompt(max_tokens=4, prompt_template=b"sumarize@1"), "did you mean 'summarize@1'"),
        (Prompt(max_tokens=4, prompt_template=b"summarize@1", prompt_variables=b"["), "prompt_variables is not valid"),
        (Prompt(max_tokens=4, prompt_template=b"summarize@1", prompt_variables=b'{"txt": ""}'), "summarize@1"),
        (Prompt(max_tokens=4, text=b"x", truncate=b"lft"), "truncate must be one of left, right, error, got 'lft'"),
        (Prompt(max_tokens=4, text=b"x", tool_parser=b"herms"), "tool_parser must be one of .* did you mean 'hermes'"),
        (Prompt(max_tokens=4, text=b"x", reasoning_parser=b"x"), "reasoning_parser must be one of think, none"),
        (Prompt(max_tokens=4, text=b"x", guide_type=b"jsn"), "guided_decoding_guide_type"),
        (Prompt(max_tokens=4, text=b"x", bias_words=(b"a",)), "1 entries and embedding_bias_weights 0"),
        (Prompt(max_tokens=4, text=b"x", bias_words=(b"a",), bias_weights=(float("nan"),)), "finite"),
        (Prompt(max_tokens=4, text=b"x", stop_words=(b"y",) * 65), "stop_words has 65 entries"),
        (Prompt(max_tokens=4, text=b"x", stop_words=(b"y" * 2000,)), "2000 bytes"),
    ],
)
def test_bad_input_is_refused_in_one_line(prompt, complaint):
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        encode(prompt)
    assert "\n" not in caught.value.message


def test_the_bad_row_of_several_is_named():
    with pytest.raises(InvalidRequestError, match="prompt 1: the prompt is empty"):
        preprocessing().encode([Prompt(max_tokens=4, text=b"x"), Prompt(max_tokens=4, text=b"")])


def test_a_prompt_beyond_the_limit_says_both_numbers():
    with pytest.raises(PromptTooLongError, match=r"the prompt has \d+ tokens, this engine takes at most 20"):
        preprocessing(limits=LIMITS).encode([Prompt(max_tokens=4, text=b"honey " * 50)])


def test_a_huge_text_is_refused_before_it_is_tokenized():
    with pytest.raises(PromptTooLongError, match="text_input has 10000000 bytes, this engine takes at most 12800"):
        encode(Prompt(max_tokens=4, text=b"x" * 10_000_000))


def test_messages_without_a_template_are_refused():
    with pytest.raises(InvalidRequestError, match="no chat template"):
        preprocessing(None).encode([Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}))])


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no such role') }}", "{{ messages[0].a.b.c }}", "{{ 1 / 0 }}"]
)
def test_what_a_template_refuses_is_one_line(template):
    with pytest.raises(InvalidRequestError, match="chat template"):
        preprocessing(template).encode([Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}))])


def test_a_template_cannot_reach_out_of_its_sandbox():
    with pytest.raises(InvalidRequestError):
        preprocessing("{{ ''.__class__.__mro__[1].__subclasses__() }}").encode(
            [Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}))]
        )


def test_a_broken_template_is_the_engine_s_fault():
    with pytest.raises(ManifestError, match="line 1"):
        ChatTemplate("{% if %}", {})


def test_inputs_of_other_kinds_of_engine_are_refused_unless_empty():
    sent = {"REQUEST_OUTPUT_LEN": np.array([[4]], np.int32), "QUERY": np.array([[b"x"]], np.object_)}
    kind = EngineKind.OPENVINO
    assert read_prompts({**sent, "DECODER_QUERY": np.array([[b""]], np.object_)}, kind)[0].text == b"x"
    with pytest.raises(UnsupportedParameterError, match="decoder_text_input"):
        read_prompts({**sent, "DECODER_QUERY": np.array([[b"y"]], np.object_)}, kind)


def test_a_chat_may_not_rename_special_tokens():
    prompt = Prompt(max_tokens=4, messages=chat(USER), chat_template_kwargs=b'{"bos_token": "x"}')
    with pytest.raises(InvalidRequestError, match="chat_template_kwargs may not set bos_token"):
        preprocessing("{{ bos_token }}{{ messages[0].content }}").encode([prompt])


def test_messages_that_nest_too_deep_are_refused():
    deep = b"[" * 480 + b"]" * 480
    with pytest.raises(InvalidRequestError):
        encode(Prompt(max_tokens=4, messages=b'[{"role": "user", "content": "x", "more": ' + deep + b"}]"))


def test_a_request_without_inputs_is_refused():
    with pytest.raises(InvalidRequestError, match="the request has no inputs"):
        read_prompts({}, EngineKind.OPENVINO)


def test_a_guide_turns_off_the_parsers_of_the_template_and_refuses_others():
    prompt = Prompt(max_tokens=4, messages=chat(USER), tools=b'[{"name": "f"}]', guide_type=b"json")
    options = preprocessing(TOOLS + "{# </think> #}").encode([prompt])[0].text_options
    assert (options.tool_parser, options.reasoning_parser, options.guide.kind) == (None, None, GuideKind.JSON)
    for more in ({"tool_parser": b"hermes"}, {"reasoning_parser": b"think"}):
        with pytest.raises(InvalidRequestError, match="a guide does not go with tool_parser or reasoning_parser"):
            encode(replace(prompt, tools=None, **more))
    assert encode(replace(prompt, tools=None, tool_parser=b"none", reasoning_parser=b"none"))


def test_what_a_caller_named_is_not_said_back_at_length():
    with pytest.raises(InvalidRequestError, match="truncate must be one of") as caught:
        encode(Prompt(max_tokens=4, text=b"x", truncate=b"x" * 5000))
    assert len(caught.value.message) < 200
