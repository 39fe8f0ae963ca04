"""What comes back: the deltas of a stream, and the completion that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class PerfMetrics:
    """What the engine counted and timed of one sequence, named as its tensors; None where it does not know.

    Times are nanoseconds of the server's clock; only their differences mean something here.
    """

    arrival_time_ns: int | None = None
    first_scheduled_time_ns: int | None = None
    first_token_time_ns: int | None = None
    last_token_time_ns: int | None = None
    kv_cache_alloc_new_blocks: int | None = None
    kv_cache_reused_blocks: int | None = None
    kv_cache_alloc_total_blocks: int | None = None
    acceptance_rate: float | None = None  # of draft tokens
    total_accepted_draft_tokens: int | None = None
    total_draft_tokens: int | None = None


PERF_METRICS = tuple(each.name for each in fields(PerfMetrics))


@dataclass(frozen=True, slots=True)
class Beam:
    """One result of a beam search."""

    text: str
    cum_log_prob: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """One response: what came since the one before, and on the last how it ended."""

    text: str
    finish_reason: str = ""  # empty until the last; then "stop", "length", "tool_calls", "content_filter", "cancelled"
    num_input_tokens: int | None = None  # on the last, if asked for, as the next two
    num_output_tokens: int | None = None
    num_cached_tokens: int | None = None  # of the prompt, where the engine knows
    batch_index: int = 0
    sequence_index: int = 0
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()  # as in the OpenAI API, each whole
    log_probs: tuple[float, ...] = ()  # of each new token, if asked for, as the next four
    cum_log_prob: float | None = None
    token_texts: tuple[bytes, ...] = ()
    top_ids: tuple[tuple[int, ...], ...] = ()  # of each new token, the likeliest first; `top_logprobs` of them
    top_log_probs: tuple[tuple[float, ...], ...] = ()
    beams: tuple[Beam, ...] = ()  # of a beam search, the best first, which `text` is too
    perf_metrics: PerfMetrics | None = None  # on the last, if asked for
    context_logits: Any = None  # numpy array [prompt tokens, vocabulary], if asked for
    generation_logits: Any = None  # numpy array [beams, tokens, vocabulary], if asked for
    report: Mapping[str, Any] = field(default_factory=dict)  # on the last: template, truncation, checks


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer to one prompt; fields as in `Delta`."""

    request_id: str
    text: str
    finish_reason: str
    num_input_tokens: int | None
    num_output_tokens: int | None
    num_cached_tokens: int | None = None
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    log_probs: tuple[float, ...] = ()
    cum_log_prob: float | None = None
    token_texts: tuple[bytes, ...] = ()
    top_ids: tuple[tuple[int, ...], ...] = ()
    top_log_probs: tuple[tuple[float, ...], ...] = ()
    beams: tuple[Beam, ...] = ()
    perf_metrics: PerfMetrics | None = None
    context_logits: Any = None
    generation_logits: Any = None
    report: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Completion, ...] = ()  # the second sequence and those after it, of `num_return_sequences`


_SHARED = tuple(each.name for each in fields(Delta) if each.name in {other.name for other in fields(Completion)})


def assemble(request_id: str, deltas: Iterable[Delta]) -> Completion:
    """The completion that the deltas of one request, each sequence's in order, make."""
    sequences: dict[int, list[Delta]] = {}
    for delta in deltas:
        sequences.setdefault(delta.sequence_index, []).append(delta)
    first, *others = [_joined(request_id, sequences[index]) for index in sorted(sequences)] or [
        _joined(request_id, [Delta("")])
    ]
    return replace(first, others=tuple(others)) if others else first


def as_deltas(completion: Completion) -> list[Delta]:
    """A whole answer as one delta for each of its sequences, of which `assemble` makes it again."""
    return [
        Delta(sequence_index=index, **{name: getattr(each, name) for name in _SHARED})
        for index, each in enumerate((completion, *completion.others))
    ]


def _joined(request_id: str, deltas: list[Delta]) -> Completion:
    last = deltas[-1]
    return Completion(
        request_id,
        "".join(delta.text for delta in deltas),
        last.finish_reason,
        last.num_input_tokens,
        last.num_output_tokens,
        last.num_cached_tokens,
        "".join(delta.reasoning for delta in deltas),
        tuple(call for delta in deltas for call in delta.tool_calls),
        tuple(value for delta in deltas for value in delta.log_probs),
        last.cum_log_prob,
        tuple(text for delta in deltas for text in delta.token_texts),
        tuple(ids for delta in deltas for ids in delta.top_ids),
        tuple(values for delta in deltas for values in delta.top_log_probs),
        last.beams,
        last.perf_metrics,
        last.context_logits,
        last.generation_logits,
        last.report,
    )
