"""What came of one request: TensorRT-LLM's `RequestOutput`, which is the same object every time, to `Progress`.

It reads attributes only, and knows nothing of threads.
"""

from __future__ import annotations

from typing import Any

from trident.engines.base import Beam, Progress, Sequence
from trident.errors import EngineError, TridentError

_ENDS = frozenset({"stop", "length"})


class Answer:
    """Of one sequence; `read` is called whenever its output has grown."""

    def __init__(self, sequence: Sequence, kv_block_tokens: int | None) -> None:
        """`kv_block_tokens`: to count what was found in the prefix cache; None where the output says it itself."""
        self._sequence = sequence
        self._request = sequence.request
        self._kv_block_tokens = kv_block_tokens
        self._num_read = 0
        self._has_told_cached = False

    def read(self, output: Any) -> Progress:
        """What is new; perhaps nothing.

        Args:
            output: `outputs` with `token_ids` and `logprobs` from the beginning and a `finish_reason`, and `finished`.
        """
        if self._request.beam_width > 1:
            return self._read_beams(output)
        completion = output.outputs[0]
        new_ids = completion.token_ids[self._num_read :]
        end = _end(output, completion)
        token_ids = self._until_eos(new_ids)
        if len(token_ids) < len(new_ids) or (token_ids and self._is_end(token_ids, self._num_read)):
            end = "stop"
        log_probs, top = self._log_probs(completion, len(token_ids))
        self._num_read += len(token_ids)
        progress = Progress(self._sequence, token_ids, end, log_probs, top)
        progress.num_cached_tokens = self._num_cached(output, completion, is_end=end is not None)
        if end == "stop" and log_probs is None and self._lacks_eos(token_ids):
            token_ids.append(self._request.eos_ids[0])  # an engine keeps the end id to itself, the PyTorch backend not
        return progress

    def _read_beams(self, output: Any) -> Progress:
        end = _end(output, output.outputs[0])
        if end is None or isinstance(end, TridentError):
            return Progress(self._sequence, [], end)
        beams = tuple(Beam(list(one.token_ids), float(one.cumulative_logprob or 0.0)) for one in output.outputs)
        return Progress(self._sequence, [], end, beams=beams)

    def _until_eos(self, new_ids: list[int]) -> list[int]:
        """The ids up to the first that ends the answer. The engine itself knows of them all without `min_tokens`."""
        if self._request.min_tokens:
            for place in range(len(new_ids)):
                if self._is_end(new_ids[: place + 1], self._num_read):
                    return list(new_ids[: place + 1])
        return list(new_ids)

    def _is_end(self, token_ids: list[int], num_before: int) -> bool:
        num_tokens = num_before + len(token_ids)
        return num_tokens > self._request.min_tokens > 0 and token_ids[-1] in self._request.eos_ids

    def _lacks_eos(self, token_ids: list[int]) -> bool:
        return bool(self._request.eos_ids) and (not token_ids or token_ids[-1] not in self._request.eos_ids)

    def _log_probs(self, completion: Any, count: int) -> tuple[list[float] | None, list[dict[int, float]] | None]:
        """Of the next `count` ids. An engine's are numbers; all others a dictionary, id -> Logprob, at each place."""
        if not self._request.wants_log_probs:
            return None, None
        span = slice(self._num_read, self._num_read + count)
        ids, values = completion.token_ids[span], completion.logprobs[span]
        if values and isinstance(values[0], float):
            return list(values), None
        chosen = [value[token_id].logprob for token_id, value in zip(ids, values, strict=True)]
        if not self._request.top_logprobs:
            return chosen, None
        return chosen, [_most_probable(value, self._request.top_logprobs) for value in values]

    def _num_cached(self, output: Any, completion: Any, *, is_end: bool) -> int | None:
        """Tokens of the prompt in the prefix cache, once: with the first ids, or as whole blocks with the end."""
        if self._has_told_cached:
            return None
        if self._kv_block_tokens is None:
            num_cached = getattr(output, "cached_tokens", None)  # since 1.1
        else:
            metrics = getattr(completion, "request_perf_metrics", None) if is_end else None
            num_cached = None if metrics is None else metrics.kv_cache_metrics.num_reused_blocks * self._kv_block_tokens
        if num_cached is None:
            return None
        self._has_told_cached = True
        return min(int(num_cached), len(self._request.input_ids) - 1)


def _end(output: Any, completion: Any) -> str | TridentError | None:
    if not output.finished:
        return None
    reason = completion.finish_reason
    if reason in _ENDS:
        return str(reason)
    return EngineError(f"the engine gave the request up ({reason})")


def _most_probable(values: dict[int, Any], count: int) -> dict[int, float]:
    ranked = sorted(values.items(), key=lambda item: item[1].logprob, reverse=True)
    return {token_id: value.logprob for token_id, value in ranked[:count]}
