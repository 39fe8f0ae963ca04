"""One request as a row of the ledger: pure functions of its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trident.gateway.asked import Outcome
from trident.gateway.comparison import Comparison
from trident.gateway.config import Deployment
from trident.gateway.prompt_text import whole_text

Json = dict[str, Any]


def row_of(outcome: Outcome, deployment: Deployment | None, version: str = "") -> Json:
    """The columns of `tables.requests` without what was said.

    Args:
        outcome: what became of it.
        deployment: that answered, as the file has it now.
        version: of what runs there.
    """
    asked, decision = outcome.asked, outcome.decision
    price_per_s = None if deployment is None else deployment.price_per_s
    return {
        "request_id": asked.request_id,
        "ended_at": outcome.started_at + outcome.duration_s,
        "tenant": asked.identity.tenant,
        "key_id": asked.identity.key_id,
        "api": asked.api,
        "operation": asked.operation,
        "asked_model": asked.model,
        "model": "" if decision is None else decision.model,
        "deployment": outcome.deployment,
        "version": version,
        "finish_reason": _finish_reason(outcome),
        "error": "" if outcome.error is None else type(outcome.error).__name__,
        "num_input_tokens": outcome.num_input_tokens,
        "num_output_tokens": outcome.num_output_tokens,
        "num_cached_tokens": outcome.num_cached_tokens,
        "ttft_s": outcome.ttft_s,
        "duration_s": outcome.duration_s,
        "engine_s": outcome.engine_s,
        "price": outcome.cost,
        "cost": outcome.engine_s * (price_per_s or 0.0),
        "cache": outcome.cache,
    }


def content_of(outcome: Outcome) -> tuple[str, str]:
    """What was asked and what was answered, as text."""
    completion = outcome.completion
    answers = [] if completion is None else [completion.text, *(other.text for other in completion.others)]
    return _storable(whole_text(outcome.asked.prompt)), _storable("\n".join(answers))


def _storable(text: str) -> str:
    """As every database takes it: no unpaired surrogates, and no NUL, which PostgreSQL refuses."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _finish_reason(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "error"
    if outcome.is_cancelled:
        return "cancelled"
    return "" if outcome.completion is None else outcome.completion.finish_reason


def failure_rows_of(outcome: Outcome, version_at: Callable[[str], str]) -> list[Json]:
    """The deployments that were asked in vain, as rows of `tables.failures`; `version_at`: of what runs at one."""
    return [
        {
            "request_id": outcome.asked.request_id,
            "deployment": name,
            "ended_at": outcome.started_at + outcome.duration_s,
            "model": "" if outcome.decision is None else outcome.decision.model,
            "version": version_at(name),
            "error": type(error).__name__,
        }
        for name, error in outcome.failures.items()
    ]


def comparison_row_of(
    outcome: Outcome, shadow: str, comparison: Comparison | None, version_at: Callable[[str], str]
) -> Json:
    """A row of `tables.comparisons`; None: no copy was sent."""
    return {
        "request_id": outcome.asked.request_id,
        "ended_at": outcome.started_at + outcome.duration_s,
        "model": "" if outcome.decision is None else outcome.decision.model,
        "deployment": outcome.deployment,
        "version": version_at(outcome.deployment),
        "shadow": shadow,
        "shadow_version": version_at(shadow),
        "result": "left out" if comparison is None else comparison.result,
        "winner": "" if comparison is None else comparison.winner,
        "added_latency_s": None if comparison is None else comparison.added_latency_s,
        "added_chars": None if comparison is None else comparison.added_chars,
    }
