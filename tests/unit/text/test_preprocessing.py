"""Promises of preprocessing: rows keep their order, chats render as transformers renders them, options are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.manifests import LIMITS, MANIFEST
from tests.unit.text import tokenizers_under_test as under_test
from tests.unit.text.preprocessing_under_test import (
    BACKEND,
    CHATML,
    ROOMY,
    TOOLS,
    USER,
    chat,
    encode,
    preprocessing,
)
from trident.errors import InvalidRequestError, PromptTooLongError
from trident.manifest import EngineKind
from trident.safety.chain import InputChain
from trident.safety.policy import read_policy
from trident.tensors import prompt_arrays, read_prompts
from trident.text.chat_template import ChatTemplate
from trident.text.guides import GuideKind
from trident.text.preprocessing import Preprocessing
from trident.text.prompt import Prompt
from trident.text.prompt_templates import read_prompt_templates
from trident.text.tokenizer import Tokenizer
from trident.text.word_lists import pack_words, words_from_row


def test_text_is_encoded_as_it_is_and_rows_keep_their_order():
    texts = [" leading space", "Bees make honey!", "x"]
    rows = preprocessing().encode([Prompt(max_tokens=4, text=text.encode()) for text in texts])
    assert [BACKEND.decode(row.input_ids) for row in rows] == texts
    assert [row.end_id for row in rows] == [2, 2, 2]


def test_texts_and_chats_may_be_mixed_in_one_request():
    rows = preprocessing().encode(
        [
            Prompt(max_tokens=4, messages=chat({"role": "user", "content": "a"})),
            Prompt(max_tokens=4, text=b"b"),
            Prompt(max_tokens=4, messages=chat({"role": "user", "content": [{"type": "text", "text": "c"}]})),
        ]
    )
    decoded = [BACKEND.decode(row.input_ids, skip_special_tokens=False) for row in rows]
    assert decoded == ["<s>user\na</s>\n<s>assistant\n", "b", "<s>user\nc</s>\n<s>assistant\n"]
    assert [row.exclude_input for row in rows] == [True, False, True]


def test_template_variables_and_tools_reach_the_template():
    template = "{{ tools[0].name }} {{ thinking }} {{ messages[0].content | tojson }}"
    row = preprocessing(template).encode(
        [
            Prompt(
                max_tokens=1,
                messages=chat({"role": "user", "content": "<é>"}),
                tools=b'[{"name": "f"}]',
                chat_template_kwargs=b'{"thinking": true}',
            )
        ]
    )[0]
    assert BACKEND.decode(row.input_ids) == 'f True "<é>"'


def test_stop_words_are_encoded_with_and_without_a_leading_space():
    row = encode(Prompt(max_tokens=4, text=b"x", stop_words=(b"fox", b"")))
    assert sorted(BACKEND.decode(ids) for ids in row.stop_word_ids) == [" fox", "fox"]


def test_word_lists_survive_packing():
    rows = [[[1, 2], [3]], [], [[4]]]
    packed = pack_words(rows)
    assert packed.shape == (3, 2, 3)
    assert [words_from_row(row) for row in packed] == [((1, 2), (3,)), (), ((4,),)]


def test_prompts_of_a_batch_are_padded_and_their_lengths_kept():
    rows = preprocessing().encode([Prompt(max_tokens=3, text=b"x"), Prompt(max_tokens=5, text=b"Bees make honey!")])
    arrays = prompt_arrays(rows, 400)
    lengths = arrays["REQUEST_INPUT_LEN"][:, 0]
    assert arrays["INPUT_ID"].shape == (2, lengths.max())
    assert arrays["INPUT_ID"][0, : lengths[0]].tolist() == rows[0].input_ids
    assert arrays["REQUEST_OUTPUT_LEN"].tolist() == [[3], [5]]
    assert "STOP_WORDS_IDS" not in arrays


@pytest.mark.parametrize(
    ("side", "kept"), [(b"left", slice(-20 + 4, None)), (b"right", slice(None, 20 - 4))], ids=["left", "right"]
)
def test_a_long_prompt_is_cut_only_when_asked_and_says_so(side, kept):
    limits = LIMITS.model_copy(update={"max_seq_tokens": 20})
    text = b"honey fox bees jump teacher " * 12
    ids = BACKEND.encode(text.decode()).ids
    row = preprocessing(limits=limits).encode([Prompt(max_tokens=4, text=text, truncate=side)])[0]
    assert row.input_ids == ids[kept]
    assert row.report == {"truncated_tokens": len(ids) - 16}
    with pytest.raises(PromptTooLongError):
        preprocessing(limits=limits).encode([Prompt(max_tokens=4, text=text, truncate=b"error")])


def test_a_short_prompt_is_not_cut():
    row = encode(Prompt(max_tokens=4, text=b"honey", truncate=b"left"))
    assert (row.input_ids, row.report) == (BACKEND.encode("honey").ids, {})


def test_a_named_template_is_rendered_through_the_chat_template_and_reported():
    row = encode(
        Prompt(max_tokens=4, prompt_template=b"summarize@1", prompt_variables=b'{"text": "Bees {{ make }} honey."}')
    )
    text = BACKEND.decode(row.input_ids, skip_special_tokens=False)
    assert "Bees {{ make }} honey." in text
    assert text.endswith("<s>assistant\n")
    assert row.report["prompt_template"] == "summarize@1"
    assert len(row.report["prompt_template_sha256"]) == 64
    assert row.exclude_input


@pytest.mark.parametrize(
    ("template", "more", "tool_parser", "reasoning_parser", "starts"),
    [
        (CHATML, {}, None, None, False),
        (TOOLS, {}, None, None, False),
        (TOOLS, {"tools": b'[{"name": "f"}]'}, "hermes", None, False),
        (TOOLS, {"tools": b'[{"name": "f"}]', "tool_parser": b"none"}, None, None, False),
        (TOOLS, {"tool_parser": b"mistral"}, "mistral", None, False),
        (TOOLS + "{# </think> #}", {}, None, "think", True),
        (TOOLS + "{# </think> #}", {"reasoning_parser": b"none"}, None, None, False),
        (CHATML, {"reasoning_parser": b"think"}, None, "think", False),
    ],
)
def test_parsers_are_chosen_by_the_template_or_by_name(template, more, tool_parser, reasoning_parser, starts):
    prompt = Prompt(max_tokens=4, messages=chat({"role": "user", "content": "x"}), **more)
    options = preprocessing(template).encode([prompt])[0].text_options
    assert (options.tool_parser, options.reasoning_parser, options.starts_in_reasoning) == (
        tool_parser, reasoning_parser, starts,
    )  # fmt: skip
    assert options.skip_special_tokens is (tool_parser != "mistral")


def test_a_guide_goes_to_postprocessing_too():
    options = encode(Prompt(max_tokens=4, text=b"x", guide_type=b"regex", guide=b"[ab]+")).text_options
    assert (options.guide.kind, options.guide.text) == (GuideKind.REGEX, "[ab]+")


def test_every_encoding_of_a_biased_word_gets_its_weight_and_weights_add_up():
    row = encode(Prompt(max_tokens=4, text=b"x", bias_words=(b"fox", b"fox", b""), bias_weights=(1.5, -0.5, 9.0)))
    ids = {token_id for text in ("fox", " fox") for token_id in BACKEND.encode(text).ids}
    assert row.logit_bias == dict.fromkeys(ids, 1.0)
    bias = prompt_arrays([row], 400)["EMBEDDING_BIAS"]
    assert bias.shape == (1, 400)
    assert {int(place) for place in np.flatnonzero(bias[0])} == ids


def adding_bos(limits=ROOMY, template="<s>{{ messages[0].content }}") -> Preprocessing:
    tokens = MANIFEST.tokens.model_copy(update={"bos_id": 0})
    tokenizer = Tokenizer(under_test.byte_level_bpe_adding_bos(), ChatTemplate(template, {}))
    return Preprocessing(tokenizer, limits, tokens, read_prompt_templates(None), InputChain(read_policy(None)))


def test_a_prompt_begins_with_one_bos():
    rows = adding_bos().encode([Prompt(max_tokens=4, text=text) for text in (b"<s>honey", b"honey")])
    assert rows[0].input_ids == rows[1].input_ids
    assert rows[0].input_ids.count(0) == 1


def test_a_chat_that_is_cut_on_the_left_keeps_its_bos():
    long = {"role": "user", "content": "honey fox bees " * 20}
    model = adding_bos(LIMITS.model_copy(update={"max_seq_tokens": 20}))
    row = model.encode([Prompt(max_tokens=4, messages=chat(long), truncate=b"left")])[0]
    assert (row.input_ids[0], len(row.input_ids)) == (0, 16)


def sent(**inputs):
    rows = {name: np.array([[value] for value in values], np.object_) for name, values in inputs.items()}
    count = len(next(iter(rows.values())))
    return read_prompts({**rows, "REQUEST_OUTPUT_LEN": np.full((count, 1), 4, np.int32)}, EngineKind.OPENVINO)


def test_an_empty_input_is_none_so_that_rows_may_differ():
    prompts = sent(
        QUERY=[b"b", b"", b""],
        MESSAGES=[b"", chat(USER), b""],
        PROMPT_TEMPLATE=[b"", b"", b"summarize@1"],
        PROMPT_VARIABLES=[b"", b"", b'{"text": "honey"}'],
        TOOLS=[b""] * 3,
        GUIDE=[b""] * 3,
    )
    assert [row.exclude_input for row in preprocessing().encode(prompts)] == [False, True, True]


def test_an_empty_text_alone_is_said_to_be_empty():
    with pytest.raises(InvalidRequestError, match="the prompt is empty"):
        preprocessing().encode(sent(QUERY=[b""], MESSAGES=[b""]))
