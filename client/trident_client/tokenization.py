"""Prompts to token ids and back, by the two text models of the repository: their requests, and what they answer.

Preprocessing and postprocessing are asked as the ensemble asks them, so that a text is tokenized here exactly as it is
for a generation. Pure functions; `AsyncClient.infer` sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trident.contract import POSTPROCESSING, PREPROCESSING
from trident.errors import InvalidRequestError, TridentError, UnsupportedParameterError
from trident_client.request import Messages, Request
from trident_client.sampling import to_json
from trident_client.tensor import Input, dtypes_of
from trident_client.transport import Outputs

_INPUTS = {model.name: dtypes_of(model) for model in (PREPROCESSING, POSTPROCESSING)}
_PROBE = "a"  # a word of which every tokenizer makes the same alone and within the special tokens
_TOO_MANY_TOKENS = 2**31 - 1
_MOST = re.compile(r"max_tokens must be in 1\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class TokenTexts:
    """The text of token ids, special ones included, and the bytes that each adds to it."""

    text: str
    pieces: tuple[bytes, ...]


def build_tokenize(
    request_id: str,
    prompt: str | Messages,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    max_tokens: int = 1,
) -> Request:
    """The request for the ids of a prompt, with the special tokens that the tokenizer adds, or of a chat.

    It is refused as too long where a completion of `max_tokens` would be.
    """
    values: dict[str, Any] = {"REQUEST_OUTPUT_LEN": max_tokens}
    if isinstance(prompt, str):
        values["QUERY"] = prompt
    else:
        values["MESSAGES"] = to_json("messages", list(prompt))
    if tools:
        values["TOOLS"] = to_json("tools", list(tools))
    if chat_template_kwargs:
        values["CHAT_TEMPLATE_KWARGS"] = to_json("chat_template_kwargs", dict(chat_template_kwargs))
    return _request(request_id, PREPROCESSING.name, values)


def read_token_ids(outputs: Outputs) -> tuple[int, ...]:
    """The answer to `build_tokenize`; UnsupportedParameterError, as below, where the server is none of Trident's."""
    return _output(outputs, "INPUT_ID")[: _output(outputs, "REQUEST_INPUT_LEN")[0]]


def build_special_probe(request_id: str) -> Request:
    """The request whose answer says which special tokens the tokenizer puts around a prompt: stop words get none."""
    values = {"REQUEST_OUTPUT_LEN": 1, "QUERY": _PROBE, "STOP_WORDS_DICT": _PROBE}
    return _request(request_id, PREPROCESSING.name, values)


def read_special_tokens(outputs: Outputs) -> tuple[int, int]:
    """The answer to `build_special_probe`: how many ids stand before a prompt's own, and behind."""
    ids, words = read_token_ids(outputs), _output(outputs, "STOP_WORDS_IDS")
    num_own = words[len(words) // 2]  # where the first way of writing the word ends
    own = words[:num_own]
    starts = (at for at in range(len(ids) - num_own + 1) if ids[at : at + num_own] == own)
    before = next(starts, 0)
    return before, len(ids) - num_own - before


def build_detokenize(request_id: str, token_ids: Sequence[int]) -> Request:
    """The request for the text of ids."""
    options = json.dumps({"skip_special_tokens": False, "token_texts": True})
    request = _request(
        request_id,
        POSTPROCESSING.name,
        {"SEQUENCE_LENGTH": len(token_ids), "FINISH_REASON": "length", "TEXT_OPTIONS": options},
    )
    ids = Input("TOKENS_BATCH", "INT32", tuple(token_ids), (1, len(token_ids)))
    return Request(request_id, request.model, (ids, Input("CONTEXT_IDS", "INT32", ()), *request.inputs), False)


def read_texts(token_ids: Sequence[int], outputs: Outputs) -> TokenTexts:
    """The answer to `build_detokenize` for these ids.

    Raises:
        InvalidRequestError: an id that is none of the model's.
    """
    pieces = read_pieces(outputs)
    for token_id, piece in zip(token_ids, pieces, strict=True):
        if not piece:
            raise InvalidRequestError(f"the token id {token_id} has no text in this model's vocabulary")
    return TokenTexts(_output(outputs, "OUTPUT")[0].decode("utf-8", "replace"), pieces)


def read_pieces(outputs: Outputs) -> tuple[bytes, ...]:
    """Likewise, of each id alone; empty where the model has no such id."""
    return _output(outputs, "TOKEN_TEXTS")


def build_length_probe(request_id: str) -> Request:
    """A request that is refused: the refusal says how long a completion may be."""
    return _request(request_id, PREPROCESSING.name, {"REQUEST_OUTPUT_LEN": _TOO_MANY_TOKENS, "QUERY": _PROBE})


def read_max_output_tokens(refusal: TridentError) -> int | None:
    """What the answer to `build_length_probe` says; None: nothing, as of a server that is not Trident's."""
    found = _MOST.search(refusal.message)
    return int(found[1]) if found else None


def _output(outputs: Outputs, name: str) -> tuple[Any, ...]:
    if name not in outputs:
        raise UnsupportedParameterError(f"the server's text models give no {name}, as Trident's do")
    return outputs[name]


def _request(request_id: str, model: str, values: Mapping[str, Any]) -> Request:
    return Request(
        request_id,
        model,
        tuple(Input(name, _INPUTS[model][name], (value,)) for name, value in values.items()),
        is_streaming=False,
    )
