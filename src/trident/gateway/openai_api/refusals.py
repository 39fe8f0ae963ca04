"""What a server refuses, told in the words of OpenAI's API: which field of the body it was.

Servers speak of the ensemble's inputs (`num_return_sequences`), clients of OpenAI's (`n`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from trident.errors import ContentBlockedError, InvalidRequestError, PromptTooLongError
from trident_client.openai_fields import RENAMED
from trident_client.openai_request import OpenAIRequest

_FIELDS = {
    **{ours: field for field, ours in RENAMED.items() if field != "max_completion_tokens"},
    "return_log_probs": "logprobs",
    "text_input": "prompt",
}
_GUIDES = ("guided_decoding_guide", "guided_decoding_guide_type")
_BEGINNING = re.compile(r"(?P<field>[a-z_]+)(?P<path>(?:\[\d+\]|\.[a-z_]+)*)(?==| |:)")
# Sentences may begin with words that are fields of no body.
_NO_FIELDS = frozenset({"the", "a", "send", "this", "no", "unknown", "prompt"})


@contextmanager
def in_openai_words(request: OpenAIRequest, prompt_field: str) -> Iterator[None]:
    """Refusals that leave name the field of the body. `prompt_field`: "messages" or "prompt"."""
    try:
        yield
    except InvalidRequestError as exc:
        if exc.param is None:
            _name(exc, request, prompt_field)
        raise


def _name(error: InvalidRequestError, request: OpenAIRequest, prompt_field: str) -> None:
    if isinstance(error, (PromptTooLongError, ContentBlockedError)):
        error.param = prompt_field
        return
    message = error.message
    found = _BEGINNING.match(message)
    if found is None or found["field"] in _NO_FIELDS:
        return
    field = found["field"]
    if field in _GUIDES:
        field = "response_format" if request.forced is None else "tools"
    field = _FIELDS.get(field, field)
    if field == "top_logprobs" and prompt_field == "prompt":
        field = "logprobs"
    error.param = field + found["path"]
    error.args = (field + message[found.end("field") :],)
