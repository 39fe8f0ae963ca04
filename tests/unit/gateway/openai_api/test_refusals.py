"""What a server refuses names the field that the client sent, whatever the server calls it."""

import pytest

from trident.errors import ContentBlockedError, InvalidRequestError, PromptTooLongError, QueueFullError
from trident.errors import UnsupportedParameterError as Unsupported
from trident.gateway.openai_api.refusals import in_openai_words
from trident_client.openai_request import OpenAIRequest
from trident_client.openai_tools import ForcedCalls
from trident_client.sampling import Sampling


def told(error, forced=None):
    with (
        pytest.raises(type(error)) as caught,
        in_openai_words(OpenAIRequest(("x",), Sampling(), forced=forced), "messages"),
    ):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "param", "message"),
    [
        (InvalidRequestError("num_return_sequences must be 1"), "n", "n must be 1"),
        (InvalidRequestError("stop_words has 99 entries"), "stop", "stop has 99 entries"),
        (Unsupported("return_log_probs=True is not"), "logprobs", "logprobs=True is not"),
        (InvalidRequestError("top_k must be in 0..9"), "top_k", "top_k must be in 0..9"),
        (InvalidRequestError("messages[2].role must be"), "messages[2].role", "messages[2].role must be"),
        (InvalidRequestError("messages[0].content[1] must"), "messages[0].content[1]", "messages[0].content[1] must"),
        (InvalidRequestError("guided_decoding_guide: 'not' at $"), "response_format", "response_format: 'not' at $"),
        (InvalidRequestError("the model's chat template refuses"), None, "the model's chat template refuses"),
        (InvalidRequestError("send one"), None, "send one"),
        (InvalidRequestError("seed is wrong", param="there"), "there", "seed is wrong"),
        (PromptTooLongError("the prompt has 9 tokens"), "messages", "the prompt has 9 tokens"),
        (ContentBlockedError("the check 'pii' refuses"), "messages", "the check 'pii' refuses"),
        (QueueFullError("seed is full"), None, "seed is full"),
    ],
)
def test_a_refusal_is_told_in_openai_s_words(error, param, message):
    found = told(error)
    assert (found.param, found.message) == (param, message)


def test_the_guide_of_a_forced_call_was_made_from_tools():
    assert told(InvalidRequestError("guided_decoding_guide: 'not' at $"), ForcedCalls()).param == "tools"
