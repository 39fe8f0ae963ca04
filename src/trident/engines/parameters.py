"""The engine model's inputs, as sent, to typed requests: every value checked, none ignored.

`capabilities.py` says what an engine of this kind takes, `conflicts.py` what does not go together; both refuse by name.
Long because all inputs are read here, each by its own rule.
"""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trident.admission import check_max_tokens, check_prompt
from trident.engines.base import EngineRequest, Sampling
from trident.engines.capabilities import check_range, check_supported, client_name
from trident.engines.conflicts import check_together
from trident.errors import InvalidRequestError
from trident.manifest import Manifest
from trident.text.guides import read_guide
from trident.text.prompt_template import quoted
from trident.text.text_options import TextOptions, read_text_options
from trident.text.word_lists import words_from_row

Tensors = Mapping[str, npt.NDArray[Any]]  # input name -> [batch, ...]
DEFAULT_PRIORITY = 3

# Inputs of the engine model that the ensemble does not have, so the table of capabilities does not either.
INTERNAL_INPUTS = frozenset({
    "input_ids", "input_lengths", "stop_words_list", "stop_texts", "stop", "decoder_input_lengths",
    "text_options", "report",
})  # fmt: skip


@dataclass(frozen=True)
class Generation:
    """One sequence to generate: what the engine gets, and what the engine model does around it."""

    engine_request: EngineRequest
    batch_index: int = 0  # row of the request
    sequence_index: int = 0  # of num_return_sequences
    is_alone: bool = True  # the only sequence of its request
    stop_strings: tuple[bytes, ...] = ()
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    is_streaming: bool = False
    exclude_input: bool = False
    wants_num_input_tokens: bool = False
    wants_num_output_tokens: bool = False
    wants_perf_metrics: bool = False
    text_options: TextOptions = field(default_factory=TextOptions)
    report: bytes = b""  # JSON object of preprocessing, to be handed on
    timeout_s: float | None = None
    priority: int = DEFAULT_PRIORITY


class _Row:
    """One row of the tensors of a request."""

    def __init__(self, tensors: Tensors, number: int) -> None:
        self._tensors = tensors
        self._number = number

    def array(self, name: str) -> npt.NDArray[Any] | None:
        tensor = self._tensors.get(name)
        return None if tensor is None else tensor[self._number]

    def scalar(self, name: str, default: Any = None) -> Any:
        array = self.array(name)
        if array is None:
            return default
        return array.reshape(-1)[0].item() if array.dtype != np.object_ else array.reshape(-1)[0]

    def number(self, name: str, default: float) -> Any:
        value = self.scalar(name)
        if value is None:
            return default
        check_range(client_name(name), value)
        return value

    def either(self, name: str, old_name: str) -> Any:
        value, old = self.scalar(name), self.scalar(old_name)
        if value is not None and old is not None and value != old:
            raise InvalidRequestError(f"{name} ({value}) and its old name {old_name} ({old}) disagree; send one")
        return old if value is None else value

    def asked(self) -> Iterator[tuple[str, Any]]:
        """Client's name and value of every parameter that asks for something."""
        for name in self._tensors:
            if name in INTERNAL_INPUTS:
                continue
            array = self.array(name)
            if array is None or array.size == 0 or (name == "bad_words_list" and not words_from_row(array)):
                continue
            value = self.scalar(name)
            if value not in (b"", ""):
                yield client_name(name), value


def _sampling(row: _Row) -> Sampling:
    temperature = row.number("temperature", math.nan)
    top_k = row.number("runtime_top_k", 0)
    top_p = row.number("runtime_top_p", 0.0)
    if math.isnan(temperature):  # not sent: sampling only when top_k or top_p asks for it, as upstream
        temperature = 1.0 if top_k > 1 or top_p > 0 else 0.0
    seed = row.either("seed", "random_seed")
    return Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p or 1.0,  # 0 means "off", as upstream
        seed=secrets.randbits(63) if seed is None else seed,
        repetition_penalty=row.number("repetition_penalty", 1.0),
        presence_penalty=row.number("presence_penalty", 0.0),
        frequency_penalty=row.number("frequency_penalty", 0.0),
    )


def _eos_ids(row: _Row, manifest: Manifest) -> tuple[int, ...]:
    """The ids that end the completion.

    The primary EOS id, or none sent, means every EOS id of the model; another id means that one alone; -1 means
    none, so that only max_tokens ends it.
    """
    end_id = row.scalar("end_id")
    if end_id is None or end_id == manifest.tokens.eos_ids[0]:
        return manifest.tokens.eos_ids
    if not -1 <= end_id < manifest.tokens.vocab_size:
        raise InvalidRequestError(f"end_id must be -1 (none) or in 0..{manifest.tokens.vocab_size - 1}, got {end_id}")
    return () if end_id == -1 else (end_id,)


def _input_ids(row: _Row, vocab_size: int) -> npt.NDArray[np.int32]:
    ids = row.array("input_ids")
    length = row.scalar("input_lengths")
    if ids is None or length is None:
        raise InvalidRequestError("input_ids and input_lengths are required")
    ids = ids.reshape(-1)
    if not 1 <= length <= ids.size:
        raise InvalidRequestError(f"input_lengths must be in 1..{ids.size} (the ids sent), got {length}")
    ids = ids[:length]
    if int(ids.min()) < 0 or int(ids.max()) >= vocab_size:
        raise InvalidRequestError(f"input_ids must be in 0..{vocab_size - 1}, got {int(ids.min())}..{int(ids.max())}")
    return np.ascontiguousarray(ids, dtype=np.int32)


def _stop_strings(row: _Row) -> tuple[bytes, ...]:
    strings = row.array("stop_texts")
    return () if strings is None else tuple(bytes(word) for word in strings.reshape(-1) if word)


def _text(row: _Row, name: str) -> str | None:
    value = row.scalar(name)
    if not value:
        return None
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"{name} is not valid UTF-8 (byte {exc.start})") from exc


def _report(row: _Row) -> bytes:
    report: bytes = row.scalar("report") or b""
    try:
        is_object = not report or isinstance(json.loads(report), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise InvalidRequestError("report is not what preprocessing writes; leave it out")
    return report


def _lora_name(row: _Row, manifest: Manifest) -> str | None:
    name = _text(row, "lora_name")
    if name is not None and name not in manifest.loras:
        known = ", ".join(sorted(manifest.loras)) or "none"
        raise InvalidRequestError(f"lora_name '{quoted(name)}' is not an adapter of this engine; it has: {known}")
    return name


def _engine_request(row: _Row, manifest: Manifest) -> EngineRequest:
    max_tokens = row.scalar("request_output_len")
    if max_tokens is None:
        raise InvalidRequestError("request_output_len is required")
    check_max_tokens(max_tokens, manifest.limits)
    input_ids = _input_ids(row, manifest.tokens.vocab_size)
    check_prompt(len(input_ids), max_tokens, manifest.limits)
    min_tokens = row.either("min_tokens", "min_length") or 0
    if not 0 <= min_tokens <= max_tokens:
        raise InvalidRequestError(f"min_tokens must be in 0..max_tokens ({max_tokens}), got {min_tokens}")
    bad_words = row.array("bad_words_list")
    bias = row.array("embedding_bias")
    return EngineRequest(
        input_ids,
        max_tokens,
        min_tokens,
        _eos_ids(row, manifest),
        _sampling(row),
        wants_log_probs=bool(row.scalar("return_log_probs", False)),
        top_logprobs=row.number("top_logprobs", 0),
        beam_width=row.number("beam_width", 1),
        length_penalty=row.number("len_penalty", 1.0),
        guide=read_guide(row.scalar("guided_decoding_guide_type"), row.scalar("guided_decoding_guide")),
        bad_words=() if bad_words is None else words_from_row(bad_words),
        logit_bias=bias.reshape(-1) if bias is not None and bias.size else None,
        lora_name=_lora_name(row, manifest),
        cache_salt=_text(row, "cache_salt"),
    )


def read_generations(tensors: Tensors, manifest: Manifest) -> list[Generation]:
    """Every sequence that a request's tensors ask for, checked against one engine: row by row, in order.

    Raises:
        InvalidRequestError: a value out of range, or two that do not go together.
        UnsupportedParameterError: something this engine cannot do was asked for.
        PromptTooLongError: it can never be served.
    """
    generations = [
        generation for number in range(len(tensors["input_ids"])) for generation in _read_row(tensors, number, manifest)
    ]
    if len(generations) == 1:
        return generations
    return [dataclasses.replace(generation, is_alone=False) for generation in generations]


def _read_row(tensors: Tensors, number: int, manifest: Manifest) -> Iterator[Generation]:
    row = _Row(tensors, number)
    check_supported(manifest.kind, row.asked())
    num_sequences = row.number("num_return_sequences", 1)
    request = _engine_request(row, manifest)
    text = read_text_options(row.scalar("text_options"))
    stop_words = row.array("stop_words_list")
    stop_sequences = () if stop_words is None else words_from_row(stop_words)
    stop_strings = _stop_strings(row)
    check_together(request, num_sequences, text, bool(stop_strings or stop_sequences), manifest)
    report = _report(row)
    timeout_ms = row.number("timeout_ms", 0)
    is_streaming = bool(row.scalar("streaming", False))
    exclude_input = bool(row.scalar("exclude_input_in_output", False))
    options = dataclasses.replace(
        text,
        token_texts=request.wants_log_probs,
        num_echoed=0 if is_streaming or exclude_input else len(request.input_ids),
    )
    for index in range(num_sequences):
        sampling = dataclasses.replace(request.sampling, seed=(request.sampling.seed + index) % (1 << 63))
        yield Generation(
            engine_request=dataclasses.replace(request, sampling=sampling) if index else request,
            batch_index=number,
            sequence_index=index,
            stop_strings=stop_strings,
            stop_sequences=stop_sequences,
            is_streaming=is_streaming,
            exclude_input=exclude_input,
            wants_num_input_tokens=bool(row.scalar("return_num_input_tokens", False)),
            wants_num_output_tokens=bool(row.scalar("return_num_output_tokens", False)),
            wants_perf_metrics=bool(row.scalar("return_perf_metrics", False)),
            text_options=dataclasses.replace(options, id_seed=f"{options.id_seed}.{number}.{index}"),
            report=report,
            timeout_s=timeout_ms / 1000 if timeout_ms else None,
            priority=row.number("priority", DEFAULT_PRIORITY),
        )
