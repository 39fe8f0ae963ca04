"""Requests to the text models, and what their answers mean."""

import pytest

from trident.contract import POSTPROCESSING, PREPROCESSING
from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident_client.tokenization import (
    build_detokenize,
    build_length_probe,
    build_special_probe,
    build_tokenize,
    read_max_output_tokens,
    read_special_tokens,
    read_texts,
    read_token_ids,
)


@pytest.mark.parametrize(
    "request_",
    [
        build_tokenize("r", "text"),
        build_tokenize("r", [{"role": "user", "content": "x"}], tools=[{}], chat_template_kwargs={"a": 1}),
        build_special_probe("r"),
        build_length_probe("r"),
        build_detokenize("r", (1, 2, 3)),
    ],
)
def test_a_request_has_inputs_of_the_contract(request_):
    model = {each.name: each for each in (PREPROCESSING, POSTPROCESSING)}[request_.model]
    known = {tensor.name: tensor for tensor in model.inputs}
    sent = {tensor.name: tensor for tensor in request_.inputs}
    assert {name: tensor.dtype for name, tensor in sent.items()} == {name: known[name].dtype for name in sent}
    assert {name for name, tensor in known.items() if not tensor.optional} <= set(sent)


def test_ids_are_those_before_the_padding():
    assert read_token_ids({"INPUT_ID": (5, 6, 0, 0), "REQUEST_INPUT_LEN": (2,)}) == (5, 6)


@pytest.mark.parametrize(
    ("ids", "around"), [((7,), (0, 0)), ((1, 7), (1, 0)), ((1, 7, 2), (1, 1)), ((7, 2, 3), (0, 2))]
)
def test_special_tokens_are_what_a_stop_word_has_not(ids, around):
    # row 0: the ids of both ways of writing the word, row 1: where each ends
    words = (7, 8, 9, 1, 3, -1)
    outputs = {"INPUT_ID": ids, "REQUEST_INPUT_LEN": (len(ids),), "STOP_WORDS_IDS": words}
    assert read_special_tokens(outputs) == around


def test_an_id_without_text_is_none_of_the_model_s():
    outputs = {"OUTPUT": (b"a",), "TOKEN_TEXTS": (b"a", b"")}
    with pytest.raises(InvalidRequestError, match="999"):
        read_texts((5, 999), outputs)
    with pytest.raises(UnsupportedParameterError, match="TOKEN_TEXTS"):
        read_texts((5,), {"OUTPUT": (b"a",)})


def test_a_refusal_says_how_long_a_completion_may_be_or_nothing():
    assert read_max_output_tokens(InvalidRequestError("max_tokens must be in 1..2048, got 2147483647")) == 2048
    assert read_max_output_tokens(InvalidRequestError("something else")) is None
