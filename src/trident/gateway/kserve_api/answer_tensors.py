"""Deltas as tensors of the contract's ensemble: what Triton would have answered. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import orjson

from trident.gateway.kserve_api.asked_tensors import OUTPUTS, AskedTensors
from trident.gateway.kserve_api.tensors import Tensor
from trident_client.completion import PERF_METRICS, Delta

_DATATYPES = {name: "BYTES" if tensor.dtype == "STRING" else tensor.dtype for name, tensor in OUTPUTS.items()}
_NUMBERS = ("num_input_tokens", "num_output_tokens", "num_cached_tokens")


def with_echo(delta: Delta, asked: AskedTensors) -> Delta:
    """A whole answer behind its prompt, where the client wants to see that too."""
    if not asked.echo:
        return delta
    beams = tuple(replace(beam, text=asked.echo + beam.text) for beam in delta.beams)
    return replace(delta, text=asked.echo + delta.text, beams=beams)


def tensors_of(delta: Delta, asked: AskedTensors) -> list[Tensor]:
    """The outputs that the client is to see.

    They leave out the two indices until a lone sequence ends, and what there is nothing of, as Triton's do.
    """
    unwanted = asked.unwanted
    if not delta.finish_reason and asked.num_sequences == 1 and not delta.log_probs:  # nearly all that are streamed
        found = [] if "text_output" in unwanted else [_text(delta)]
        if delta.reasoning or delta.tool_calls or delta.report:
            found += [tensor for tensor in _parsed(delta) if tensor.name not in unwanted]
        return found
    every = chain((_text(delta),), _end(delta), _parsed(delta), _log_probs(delta))
    return [tensor for tensor in every if tensor.name not in unwanted]


def _text(delta: Delta) -> Tensor:
    texts = [beam.text for beam in delta.beams] if delta.beams else [delta.text]
    return Tensor("text_output", "BYTES", (len(texts),), texts)


def _scalar(name: str, value: Any) -> Tensor:
    return Tensor(name, _DATATYPES[name], (1, 1), (value,))


def _end(delta: Delta) -> Iterator[Tensor]:
    yield _scalar("batch_index", delta.batch_index)
    yield _scalar("sequence_index", delta.sequence_index)
    if delta.finish_reason:
        yield _scalar("finish_reason", delta.finish_reason)
    for name in _NUMBERS:
        if (number := getattr(delta, name)) is not None:
            yield _scalar(name, number)
    if delta.perf_metrics is not None:
        for name in PERF_METRICS:
            if (value := getattr(delta.perf_metrics, name)) is not None:
                yield _scalar(name, value)


def _parsed(delta: Delta) -> Iterator[Tensor]:
    if delta.reasoning:
        yield _scalar("reasoning_output", delta.reasoning)
    if delta.tool_calls:
        yield _scalar("tool_calls", orjson.dumps(delta.tool_calls).decode())
    if delta.report:
        yield _scalar("report", orjson.dumps(dict(delta.report)).decode())


def _log_probs(delta: Delta) -> Iterator[Tensor]:
    if delta.beams and delta.beams[0].cum_log_prob is not None:
        yield Tensor("cum_log_probs", "FP32", (1, len(delta.beams)), [beam.cum_log_prob for beam in delta.beams])
    elif delta.cum_log_prob is not None:
        yield Tensor("cum_log_probs", "FP32", (1, 1), (delta.cum_log_prob,))
    if delta.log_probs:
        yield Tensor("output_log_probs", "FP32", (1, 1, len(delta.log_probs)), delta.log_probs)
    if delta.token_texts:
        yield Tensor("token_texts", "BYTES", (1, len(delta.token_texts)), delta.token_texts)
    for name, rows in (("top_ids", delta.top_ids), ("top_log_probs", delta.top_log_probs)):
        if rows:
            yield Tensor(name, _DATATYPES[name], (1, len(rows), len(rows[0])), tuple(chain.from_iterable(rows)))
